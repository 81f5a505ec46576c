"""Two ways to a process for a cell: a fresh one, or a fork of a warm one that has already imported torch.

Either way the process leads a session of its own (Ctrl-C at the terminal reaches the parent, which then decides), its
standard output brings events, its standard error goes to the cell's log, and its standard input is the parent's hand:
when that closes, however the parent ended, the process ends with all that was started below it. Imports no torch.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver  # type: ignore[attr-defined]
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from pdebench.files.disk import append_plain
from pdebench.system.descendants import MARK

# What a cell imports, most of it late: the server imports it once. Nothing here touches a device or starts a thread,
# neither of which a fork would survive.
PRELOADED = (
    "pdebench.run.local.warm_server",
    "pdebench.run.cell",
    "pdebench.tasks.generation.learner",
    "pdebench.system.machine",
    "pdebench.metrics.features",
    "safetensors.torch",
    "pandas",
    "pyarrow.parquet",
    "PIL.Image",
)
LOST = 255  # what multiprocessing says of a child whose server is gone


class Process(Protocol):
    """A process of a cell, as its parent holds it."""

    pid: int
    events: int
    """File descriptor of its standard output; reading does not block."""
    ended: int | None
    """File descriptor that can be read when it is over, whoever holds its output; None where the system has none."""

    def over(self) -> bool:
        """Whether it has ended."""

    def wait(self, seconds: float | None = None) -> int:
        """Its exit status, negative for a signal; the pipes are closed then.

        Raises:
            TimeoutError: it has not ended after so many seconds.
        """

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it; nothing where it is over."""

    def let_go(self) -> None:
        """Have it end, now, with all that was started below it."""


class Fresh:
    """A new process of `command`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        with append_plain(log) as errors:
            self._process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=errors, start_new_session=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        self.pid, self.events = self._process.pid, self._process.stdout.fileno()
        os.set_blocking(self.events, False)
        self.ended = _end_of(self.pid)

    def over(self) -> bool:
        return self._process.poll() is not None

    def wait(self, seconds: float | None = None) -> int:
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        self.let_go()  # not before: it ends itself when the hand is gone
        if self._process.stdout is not None:
            self._process.stdout.close()
        _close(self.ended)
        return code

    def signal(self, number: signal.Signals) -> None:
        if not self.over():
            _send(self.pid, number)

    def let_go(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


class Forked:
    """A fork of this program's warm server, which the first one starts; it does `worker.main(*arguments)`."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["__main__", *PRELOADED])
        theirs, self._hand = context.Pipe(duplex=False)
        self._events, events = context.Pipe(duplex=False)
        self._process = context.Process(target=_main, args=(theirs, events, str(log), dict(environment), *arguments))
        shared = {name: value for name, value in environment.items() if name != MARK}  # the server is no cell's
        with _started_with(shared):  # threads and allocator take their settings at a process' start only
            forkserver.ensure_running()
        self._process.start()
        theirs.close()
        events.close()
        assert self._process.pid is not None
        self.pid, self.events = self._process.pid, self._events.fileno()
        os.set_blocking(self.events, False)
        self.ended = _end_of(self.pid)

    def over(self) -> bool:
        return self._process.exitcode is not None

    def wait(self, seconds: float | None = None) -> int:
        self._process.join(seconds)
        if self._process.exitcode is None:
            raise TimeoutError
        self._hand.close()
        self._events.close()
        _close(self.ended)
        return -signal.SIGKILL if self._process.exitcode == LOST else self._process.exitcode

    def signal(self, number: signal.Signals) -> None:
        if not self.over():
            _send(self.pid, number)

    def let_go(self) -> None:
        self._hand.close()


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _end_of(pid: int) -> int | None:
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):  # an old kernel, or it is over already
            return os.pidfd_open(pid)
    return None


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


@contextmanager
def _started_with(more: Mapping[str, str]) -> Iterator[None]:
    """This process' environment with more in it: what starts inside begins with that."""
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _main(hand: Connection, events: Connection, log: str, environment: Mapping[str, str], *arguments: str) -> None:
    """In the fork: take the place of a process that was started with these pipes, and do what it would."""
    sys.excepthook = sys.__excepthook__  # the server's own says less
    os.setsid()
    with append_plain(Path(log)) as errors:
        for descriptor, place in ((hand.fileno(), 0), (events.fileno(), 1), (errors.fileno(), 2)):
            os.dup2(descriptor, place)
    hand.close()
    events.close()
    os.environ.update(environment)  # the slot's devices: torch looks when it first touches one
    from pdebench.run import worker

    worker.main(*arguments)
