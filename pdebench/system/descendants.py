"""Processes that a process started, and those that they started: found, counted and ended. Imports no torch.

On Linux a process can be made the one that orphans below it fall to (`adopt_orphans`): then all that was started there
is found below it, whatever sessions, groups and environments it went through. Elsewhere orphans that left their group
are not found.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil

MARK = "PDEBENCH_CELL"  # a variable that tells a cell's processes from all others; its control group has the name too
PATIENCE = 0.5  # seconds that processes have to end by themselves, when what they were started for is over
UNKILLABLE = 5.0  # seconds after which a killed process is left to the kernel, which waits for a device
_SET_CHILD_SUBREAPER, _SET_PDEATHSIG = 36, 1


def adopt_orphans() -> None:
    """Let processes below this one fall to it when their parents end; nothing where the system cannot."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def with_its_parent() -> Callable[[], None]:
    """A `preexec_fn`: the kernel ends the new process when the thread that starts it ends; nothing but on Linux."""
    parent = os.getpid()

    def tie() -> None:
        _prctl(_SET_PDEATHSIG, signal.SIGKILL)
        if sys.platform == "linux" and os.getppid() != parent:  # it ended before that
            os._exit(1)

    return tie


def _load() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


_libc = _load()  # before any fork: nothing may be loaded between a fork and its exec


def _prctl(option: int, value: int) -> None:
    if _libc is not None:
        _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0)


def descendants() -> list[psutil.Process]:
    """Those of this process that live."""
    return [process for process in psutil.Process().children(recursive=True) if _lives(process)]


def end_descendants(at_once: Callable[[], None] = lambda: None) -> None:
    """End all that this process started: asked first, then killed in rounds until none is left.

    `at_once` kills what it can in one blow, before each round: a process that forks and ends, again and again, would be
    gone before it is found. What is over is waited for, here and not by whoever started it.
    """
    began = time.monotonic()
    asked: set[psutil.Process] = set()
    while (left := descendants()) and (lasts := time.monotonic() - began) < PATIENCE + UNKILLABLE:
        if lasts < PATIENCE:
            _signal([process for process in left if process not in asked], signal.SIGTERM)
            asked.update(left)
        else:
            at_once()
            _signal(left, signal.SIGKILL)
        reap()
        time.sleep(0.01)


def end_session(leader: int, mark: str) -> None:
    """End what is left of a cell whose first process was killed: its session, what has its mark, and all below those.

    Args:
        leader: of the session.
        mark: the value of MARK in the cell's environment.
    """
    began = time.monotonic()
    while (left := list(_of_session(leader, mark))) and time.monotonic() - began < UNKILLABLE:
        _signal(left, signal.SIGKILL)
        time.sleep(0.01)


def _of_session(leader: int, mark: str) -> Iterable[psutil.Process]:
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader or process.environ().get(MARK) == mark:
                yield from (one for one in [*process.children(recursive=True), process] if _lives(one))


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    return False


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def reap() -> dict[int, int]:
    """Wait for children that are over, adopted ones too: their numbers and exit statuses, negative for a signal."""
    over = {}
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            over[found[0]] = os.waitstatus_to_exitcode(found[1])
    return over


def memory_beyond(limit: int) -> str | None:
    """What the descendants of this process hold together, in words, where that is more than `limit` bytes; else None.

    What counts is what no file backs, in memory or swapped out; what several share counts once. None too where the
    system has no `/proc`.
    """
    everyone = [process.pid for process in descendants()]
    most = sum(_sum_of(f"/proc/{pid}/status", ("RssAnon", "RssShmem", "VmSwap")) for pid in everyone)
    if most <= limit:  # what is shared counted as often as it is held: an upper bound, and cheap
        return None
    held = sum(_sum_of(f"/proc/{pid}/smaps_rollup", ("Pss_Anon", "Pss_Shmem", "SwapPss")) for pid in everyone)
    return f"{len(everyone)} processes hold {held / 1e9:.2f} GB together" if held > limit else None


def _sum_of(file: str, fields: tuple[str, ...]) -> int:
    """Of lines such as `RssAnon:  123 kB`, in bytes; 0 of a process that is gone."""
    with suppress(OSError):
        lines = (line.split() for line in Path(file).read_text().splitlines())
        return sum(int(words[1]) * 1024 for words in lines if words[0].rstrip(":") in fields)
    return 0
