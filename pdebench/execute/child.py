"""The process of one cell, as the parent sees it. Imports no torch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from pdebench.config import Cell
from pdebench.execute.conditions import Conditions
from pdebench.execute.endings import kernel_kills
from pdebench.execute.slots import Slot

GRACE = 30.0  # seconds between asking a process to end and ending it


class Child:
    """A fresh process that runs one cell in one slot.

    Its standard output brings events, one JSON object a line. Its standard input is the parent's hand: when it
    closes, however the parent ended, so does the process.
    """

    def __init__(self, cell: Cell, folder: Path, slot: Slot, conditions: Conditions) -> None:
        self.cell, self.folder, self.slot, self.limit = cell, folder, slot, conditions.seconds
        self.began, self.cpu_began = time.monotonic(), time.process_time()
        self.kills = kernel_kills()
        self.closed = False  # it has let go of its output: it is over, or about to be
        self.timed_out = self.asked = False
        self._deadline = None if self.limit is None else self.began + self.limit
        self._text = b""
        environment = {**os.environ, **slot.environment}
        here = replace(conditions, cores=slot.cores).to_json()
        command = [sys.executable, "-m", "pdebench.execute.worker", str(folder), here]
        with (folder / "log.txt").open("a") as log:
            self.log_began = log.tell()  # what an earlier process of the cell left stays before it
            # a session of its own: Ctrl-C at the terminal reaches the parent, which then decides
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), False)

    def fileno(self) -> int:
        """What to wait on: readable when events came or the process let go."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

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
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process and what it started, now."""
        self._deadline = None
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Close the pipes and give the exit status, negative for a signal."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
        try:
            return self.process.wait(timeout=GRACE)
        except subprocess.TimeoutExpired:  # it closed its output and lives on
            self.kill()
            return self.process.wait()
