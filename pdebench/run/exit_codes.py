"""What the end of a cell's process means, where it left no record of its own. Imports no torch."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from pdebench.files.disk import NotPlain, open_plain

TAIL = 20  # lines of the log that a record of a failure holds
CRASH = "Fatal Python error"  # how faulthandler begins; every thread's stack may follow
INTERRUPTED = 76  # exit status of a process that was asked to end and has saved its state
OVER_MEMORY = 78  # exit status of a process whose cell's processes together held more than its limit
FAILED = 77  # exit status of one of a cell's processes that failed, and has left the cell's record
ABANDONED = 75  # exit status of a process whose parent is gone
TAKEN = 79  # exit status of a process whose cell another run has taken over


def kernel_kills() -> int:
    """How many processes the kernel has killed for want of memory, on this machine or in this container."""
    for line in _lines("/sys/fs/cgroup/memory.events"):
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return next((int(line.split()[1]) for line in _lines("/proc/vmstat") if line.startswith("oom_kill ")), 0)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


def meaning(code: int, kills_before: int, kills_now: int) -> tuple[str, str]:
    """Status and message of a process that ended with `code` (negative: by that signal) and left no record.

    `kills_before` and `kills_now` are `kernel_kills()` at its start and at its end.
    """
    if code == OVER_MEMORY:
        return "oom", "all processes of the cell together took more than its limit of memory; its log.txt says how much"
    if code >= 0:
        return "error", f"the cell's process ended with status {code}; its log.txt says more"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    if name == "SIGKILL" and kills_now > kills_before:
        return "oom", "the kernel ended the cell's process because the machine's memory ran out"
    if name == "SIGKILL":
        return "killed", "the cell's process was ended by SIGKILL: somebody sent it, or a scheduler did"
    if name in ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT"):
        return "error", f"the cell's process crashed with {name}; its log.txt has the place"
    return "killed", f"the cell's process was ended by {name}"


def log_tail(log: Path, begin: int = 0) -> str | None:
    """The last lines of a log, and what a crash began with if that is further up; None where there is none.

    What stands before byte `begin` is of an earlier process.
    """
    try:
        with open_plain(log) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(begin, size - 64 * 1024))
            lines = file.read(64 * 1024).decode(errors="replace").splitlines()
    except (OSError, NotPlain):
        return None
    tail = lines[-TAIL:]
    crash = next((at for at in range(len(lines) - 1, -1, -1) if lines[at].startswith(CRASH)), len(lines))
    if crash < len(lines) - TAIL:
        tail = [*lines[crash : crash + TAIL // 2], "...", *lines[-TAIL // 2 :]]
    return "\n".join(tail) or None
