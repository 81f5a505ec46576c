"""The process of one cell: `python -m pdebench.execute.worker CELL_FOLDER CONDITIONS`.

Reads `config.yaml`, leaves a record whatever happens short of being ended from outside, and tells the parent of its
progress in lines of JSON on standard output. Standard input is the parent's hand: when it lets go, however it ended, so
does this. TERM and USR2 ask it to save its state and end without a record: the next run goes on from there.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pdebench.config import Cell
from pdebench.errors import Diverged, Interrupted, out_of_memory
from pdebench.execute.conditions import Conditions
from pdebench.execute.endings import ABANDONED, INTERRUPTED
from pdebench.record import without_timings
from pdebench.store import TEMPORARY, write_json


def main(cell_folder: str, conditions_json: str) -> None:
    """Run the cell in a folder and write its record."""
    folder, conditions = Path(cell_folder), Conditions.from_json(conditions_json)
    _take_place(conditions)
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever prints goes to the log
    faulthandler.enable()
    threading.Thread(target=_follow_parent, daemon=True).start()
    for leftover in [*folder.glob(f".*{TEMPORARY}"), *folder.glob(f"state/.*{TEMPORARY}")]:
        leftover.unlink()
    cell = Cell.from_yaml((folder / "config.yaml").read_text(), file=str(folder / "config.yaml"))

    def watch(event: dict[str, Any]) -> None:
        if "mixer_implementation" in event:
            print(f"{cell.model.family}: token mixer: {event['mixer_implementation']}", flush=True)
        events.write(json.dumps(event) + "\n")

    started, clock = datetime.now(UTC), time.monotonic()
    try:
        row, status, message = _run(cell, folder, conditions, watch)
    except Interrupted as error:
        print(error, flush=True)
        os._exit(INTERRUPTED)
    record = {
        "suite": cell.suite,
        "cell": cell.id,
        "status": status,
        "message": message,
        **cell.flat(),
        "started_at": started.isoformat(timespec="seconds"),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds_total": round(time.monotonic() - clock, 3),
        **row,
    }
    for asks in (signal.SIGTERM, signal.SIGUSR2):  # too late to ask: all is done but the record
        signal.signal(asks, signal.SIG_IGN)
    write_json(folder / "record.json", record)
    if status in ("done", "diverged"):  # neither has anything to go on with
        from pdebench.training_state import Snapshots

        Snapshots(folder / "state").clear()


def _take_place(conditions: Conditions) -> None:
    """Keep to the slot's cores and to the memory limit; before torch starts a thread."""
    if conditions.cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, conditions.cores)
    if conditions.memory is not None:  # of what is allocated: of address space a GPU's driver maps any amount
        resource.setrlimit(resource.RLIMIT_DATA, (conditions.memory, conditions.memory))


def _run(cell: Cell, folder: Path, conditions: Conditions, watch: Any) -> tuple[dict[str, Any], str, str | None]:
    """The measured columns, the status and a message."""
    watch({"stage": "start"})
    row: dict[str, Any] = {}
    try:
        import torch

        from pdebench.cell import run_cell
        from pdebench.measure.machine import describe
        from pdebench.training_state import Snapshots

        if threads := os.environ.get("OMP_NUM_THREADS"):
            torch.set_num_threads(int(threads))
        snapshots = Snapshots(folder / "state", seconds=conditions.checkpoint_seconds)
        for asks in (signal.SIGTERM, signal.SIGUSR2):
            signal.signal(asks, lambda *_: snapshots.end())
        row = describe()
        row |= {
            "timing": "shared" if conditions.shared else "alone",
            "isolation": "warm" if conditions.warm else "fresh",
        }
        row |= run_cell(cell, folder, watch, snapshots)
        return without_timings(row) if conditions.shared else row, "done", None
    except Interrupted:
        raise
    except Diverged as error:
        return row, "diverged", str(error)
    except Exception as error:  # the boundary: whatever a cell does, the sweep gets a record of it
        traceback.print_exc()
        text = str(error).strip().splitlines()
        message = f"{type(error).__name__}: {text[0] if text else 'no message'}"
        return row, "oom" if out_of_memory(error) else "error", message


def _follow_parent() -> None:
    """End this process when standard input closes."""
    while os.read(0, 1024):
        pass
    os._exit(ABANDONED)


if __name__ == "__main__":
    main(*sys.argv[1:])
