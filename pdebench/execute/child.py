"""The process of one cell, as the parent sees it. Imports no torch."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pdebench.config import Cell
from pdebench.execute.conditions import Conditions
from pdebench.execute.endings import kernel_kills
from pdebench.execute.process import Forked, Fresh, Process
from pdebench.execute.slots import Slot, shared_out

GRACE = 30.0  # seconds between asking a process to end and ending it


class Child:
    """A process that runs one cell in one slot; its standard output brings events, one JSON object a line.

    On several devices it is the first of a process for each, all of them fresh where other cells are forks.
    """

    def __init__(self, cell: Cell, folder: Path, slot: Slot, conditions: Conditions) -> None:
        self.cell, self.folder, self.slot, self.limit = cell, folder, slot, conditions.seconds
        self.memory = conditions.memory
        self.began, self.cpu_began = time.monotonic(), time.process_time()
        self.kills = kernel_kills()
        self.closed = False  # it has let go of its output: it is over, or about to be
        self.timed_out = self.asked = False
        self._deadline = None if self.limit is None else self.began + self.limit
        self._text = b""
        log = folder / "log.txt"
        if log.is_symlink():  # of a folder that came from elsewhere: what it points to is not ours to write
            log.unlink()
        self.log_began = log.stat().st_size if log.exists() else 0  # what stands there is of an earlier process
        devices = cell.train.devices
        warm = conditions.warm and devices == 1  # its processes would be one fork and the rest fresh
        arguments = (str(folder), replace(conditions, cores=slot.cores, warm=warm).to_json())
        environment = shared_out(slot.environment, devices)
        self._record_before = _number(folder / "record.json")
        self.process: Process
        if warm:
            self.process = Forked(arguments, environment, log)
        else:
            self.process = Fresh(_command(arguments), environment, log)

    def fileno(self) -> int:
        """What to wait on: readable when events came or the process let go."""
        return self.process.events

    def events(self) -> Iterator[dict[str, Any]]:
        """The events that came since the last call."""
        with suppress(BlockingIOError):
            while chunk := os.read(self.fileno(), 65536):
                self._text += chunk
            self.closed = True
        *lines, self._text = self._text.split(b"\n")  # a killed process may leave half a line
        for line in lines:
            with suppress(ValueError):
                yield json.loads(line)

    def wrote_record(self) -> bool:
        """Whether there is a record that was not there when the process began."""
        return _number(self.folder / "record.json") not in (None, self._record_before)

    def deadline(self) -> float | None:
        """When, by the monotonic clock, `enforce` has something to do."""
        return self._deadline

    def enforce(self) -> None:
        """Ask a process beyond its time to end; end one that was asked and did not."""
        if self._deadline is None or time.monotonic() < self._deadline:
            return
        if self.asked:
            self.kill()
        else:
            self.timed_out = True
            self.ask()

    def ask(self) -> None:
        """Ask the process to save its state and end."""
        self.asked, self._deadline = True, time.monotonic() + GRACE
        self.process.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process and what it started, now."""
        self._deadline = None
        self.process.signal(signal.SIGKILL, group=True)

    def wait(self) -> int:
        """Let go of the process and give its exit status, negative for a signal."""
        try:
            return self.process.wait(GRACE)
        except TimeoutError:  # it closed its output and lives on
            self.kill()
            return self.process.wait()


def _number(file: Path) -> int | None:
    """What tells a file from another that took its name; a file that is replaced lives until the other is there."""
    try:
        return file.stat().st_ino
    except OSError:
        return None


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "pdebench.execute.worker", *arguments]
