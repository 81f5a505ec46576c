"""What the end of a process is taken to mean."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pdebench.execute.endings import TAIL, log_tail, meaning


@pytest.mark.parametrize(
    ("code", "status", "says"),
    [
        (1, "error", "ended with status 1"),
        (-signal.SIGSEGV, "error", "crashed with SIGSEGV"),
        (-signal.SIGABRT, "error", "crashed with SIGABRT"),
        (-signal.SIGKILL, "killed", "SIGKILL"),
        (-signal.SIGTERM, "killed", "SIGTERM"),
        (-99, "killed", "signal 99"),
    ],
)
def test_a_signal_or_a_status_has_one_meaning(code: int, status: str, says: str) -> None:
    assert meaning(code, 3, 3)[0] == status
    assert says in meaning(code, 3, 3)[1]


def test_a_kill_by_the_kernel_for_want_of_memory_is_told_from_one_by_somebody() -> None:
    assert meaning(-signal.SIGKILL, 3, 4)[0] == "oom"
    assert meaning(-signal.SIGSEGV, 3, 4)[0] == "error"


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert log_tail(log) is None
    log.write_text("")
    assert log_tail(log) is None
    log.write_bytes(b"\xff\n" + b"".join(b"line %d\n" % i for i in range(20_000)))
    tail = log_tail(log)
    assert tail is not None
    assert tail.splitlines() == [f"line {i}" for i in range(20_000 - TAIL, 20_000)]
