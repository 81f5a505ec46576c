"""What the end of a process is taken to mean."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from pdebench.run.exit_codes import TAIL, log_tail, meaning


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


def test_the_tail_of_a_crash_has_its_cause_however_many_threads_were_printed_after_it(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.write_text(
        "Fatal Python error: an older one\nFatal Python error: Segmentation fault\n" + "  File\n" * 200 + "end\n"
    )
    tail = log_tail(log)
    assert tail is not None
    assert tail.startswith("Fatal Python error: Segmentation fault")
    assert tail.endswith("end")
    assert len(tail.splitlines()) <= TAIL + 1
    began = log.stat().st_size
    with log.open("a") as later:
        later.write("stopped at its limit\n")
    assert log_tail(log, began) == "stopped at its limit"
