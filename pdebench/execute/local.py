"""Run cells on this machine, one at a time, each in a fresh process. Imports no torch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from pdebench.config import Cell
from pdebench.store import Results, write_atomic, write_json

# A record with one of these ends a cell until somebody asks for it again; any other is run again by the next run.
FAILED = ("diverged", "oom", "error")
SETTLED = ("done", *FAILED)


class Watcher(Protocol):
    """Somebody who is told how a run goes."""

    def started(self, cell: Cell) -> None:
        """A cell's process has been started."""

    def progress(self, cell: Cell, event: dict[str, Any]) -> None:
        """A cell reached a stage, or moved on in it."""

    def ended(self, cell: Cell, record: dict[str, Any]) -> None:
        """A cell has its record."""


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_variables() -> dict[str, str]:
    """What a CPU process should be started with: one thread a core, and memory that is kept, not returned.

    glibc gives freed pages back and faults them in again at every step; keeping them makes training faster and its
    timings quieter.
    """
    return {
        "OMP_NUM_THREADS": str(usable_cores()),
        "MKL_NUM_THREADS": str(usable_cores()),
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": "100000000000",
        "MALLOC_TOP_PAD_": "268435456",
    }


def cpu_environment() -> dict[str, str]:
    """The variables that a CPU process is started with beside the user's, which stay."""
    return {name: value for name, value in cpu_variables().items() if name not in os.environ}


def pending(cells: Iterable[Cell], results: Results, *, retry_failed: bool = False) -> list[Cell]:
    """The cells that have no record, or one that does not settle them."""
    settled = ("done",) if retry_failed else SETTLED
    return [cell for cell in cells if (results.record(cell.id) or {}).get("status") not in settled]


def run_cells(cells: Iterable[Cell], results: Results, watcher: Watcher) -> None:
    """Run cells one after another; a cell that fails leaves a record that says so, and the next one runs.

    KeyboardInterrupt ends the running cell's process, without a record, and passes on.
    """
    for cell in cells:
        folder = results.cell(cell.id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "record.json").unlink(missing_ok=True)
        write_atomic(folder / "config.yaml", cell.to_yaml())
        watcher.started(cell)
        code = None
        with _worker(folder) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.endswith("\n"):  # a killed process may leave half a line
                    watcher.progress(cell, json.loads(line))
            code = process.wait()
        record = results.record(cell.id)
        if record is None:  # it was not given the time to write one
            record = _without_record(cell, code)
            write_json(folder / "record.json", record)
        watcher.ended(cell, record)


@contextmanager
def _worker(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The process of the cell in `folder`, ended when the block is left early."""
    environment = os.environ if _has_gpu() else os.environ | cpu_environment()
    command = [sys.executable, "-m", "pdebench.execute.worker", str(folder)]
    with (folder / "log.txt").open("w") as log:
        # a session of its own: Ctrl-C at the terminal reaches this process, which then decides
        process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()
        process.wait()


def _has_gpu() -> bool:
    return Path("/proc/driver/nvidia/version").exists()


def _without_record(cell: Cell, code: int) -> dict[str, Any]:
    """The record of a process that ended without leaving one."""
    if code < 0:
        name = signal.Signals(-code).name
        status, message = "killed", f"the cell's process was ended by {name}"
        if name == "SIGKILL":
            message += "; the kernel sends it when memory runs out"
    else:
        status, message = "error", f"the cell's process ended with status {code}; its log.txt says more"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    about = {"suite": cell.suite, "cell": cell.id, "status": status, "message": message}
    return {**about, **cell.flat(), "finished_at": now}
