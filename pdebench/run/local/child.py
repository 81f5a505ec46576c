"""The process of one cell, as the parent sees it. Imports no torch."""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pdebench.run.exit_codes import kernel_kills
from pdebench.run.limits import CellLimits
from pdebench.run.local.process import Forked, Fresh, Process
from pdebench.suite.config import Cell
from pdebench.system import control_group
from pdebench.system.descendants import MARK, end_session
from pdebench.system.slots import Slot, shared_out

GRACE = 30.0  # seconds between asking a process to end and ending it
LATE = 3.0  # the same for one whose time is over; what it started is asked too, and all is over within 5
LET_GO = 3.0  # seconds in which a process that was let go ends, with what it started


class Child:
    """A process that runs one cell in one slot; its standard output brings events, one JSON object a line.

    On several devices it is the first of a process for each, all of them fresh where other cells are forks.
    """

    def __init__(self, cell: Cell, folder: Path, slot: Slot, limits: CellLimits) -> None:
        self.cell, self.folder, self.slot, self.limit = cell, folder, slot, limits.seconds
        self.memory = limits.memory
        self.began, self.cpu_began = time.monotonic(), time.process_time()
        self.kills = kernel_kills()
        self.closed = False  # its output is closed, or it is over: who started it reads no further
        self.timed_out = self.asked = self._let_go = False
        self._deadline = None if self.limit is None else self.began + self.limit
        self._text = b""
        log = folder / "log.txt"
        self.log_began = log.stat().st_size if log.exists() else 0  # what stands there is of an earlier process
        devices = cell.train.devices
        warm = limits.warm and cell.train.processes == 1  # its processes would be one fork and the rest fresh
        arguments = (str(folder), replace(limits, cores=slot.cores, warm=warm).to_json())
        self._mark = f"{control_group.PREFIX}{uuid.uuid4().hex}"
        environment = {**shared_out(slot.environment, devices), MARK: self._mark}
        self._record_before = _number(folder / "record.json")
        self.process: Process
        if warm:
            self.process = Forked(arguments, environment, log)
        else:
            self.process = Fresh(_command(arguments), environment, log)

    def sources(self) -> list[int]:
        """File descriptors to wait on: one can be read when events came or the process is over."""
        return [source for source in (self.process.events, self.process.ended) if source is not None]

    def events(self) -> Iterator[dict[str, Any]]:
        """The events that came since the last call."""
        self.closed = self.process.over()  # before what it said is read; a killed one may leave its output open
        with suppress(BlockingIOError):
            while chunk := os.read(self.process.events, 65536):
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
        now = time.monotonic()
        late = math.inf if self.limit is None else max(now, self.began + self.limit) + LATE
        self.asked, self._deadline = True, min(now + GRACE, late)
        self.process.signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process and what it started, now."""
        if self._let_go:  # it did not: it was stopped, say
            self.process.signal(signal.SIGKILL)
        self._let_go, self._deadline = True, time.monotonic() + LET_GO
        self.process.let_go()

    def wait(self) -> int:
        """Let go of the process and give its exit status, negative for a signal; nothing of it is left then."""
        while True:
            try:
                code = self.process.wait(LET_GO)
                break
            except TimeoutError:  # it closed its output and lives on
                self.kill()
        if code < 0:  # it may not have come to ending what it started
            control_group.end(self._mark)
            end_session(self.process.pid, self._mark)
        return code


def _number(file: Path) -> int | None:
    """What tells a file from another that took its name; a file that is replaced lives until the other is there."""
    try:
        return file.stat().st_ino
    except OSError:
        return None


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "pdebench.run.worker", *arguments]
