"""One cell, one holder: whoever is alive has it, whoever is gone has not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pdebench.execute import lease
from pdebench.execute.lease import Leases, held_elsewhere, read

HOLD = """
import sys, time
from pathlib import Path
from pdebench.execute.lease import Leases
print(Leases(Path(sys.argv[1])).claim(Path(sys.argv[1]) / "cell"), flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cell").mkdir()
    return tmp_path


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "True"
    return process


def test_a_lease_is_one_runs_until_it_is_given_back(folder: Path) -> None:
    first, second, cell = Leases(folder), Leases(folder), folder / "cell"
    assert first.claim(cell)
    assert first.claim(cell)
    assert not second.claim(cell)
    assert first.still_held(cell)
    first.release(cell)
    assert not (cell / "lease").exists()
    assert second.claim(cell)
    first.release(cell)  # what is another's now stays
    assert second.still_held(cell)


def test_a_dead_holder_on_this_host_loses_it_at_once(folder: Path) -> None:
    process = holder(folder)
    try:
        assert not Leases(folder).claim(folder / "cell")
        assert held_elsewhere(folder / "cell") is not None
    finally:
        process.kill()
        process.wait()
    assert held_elsewhere(folder / "cell") is None
    assert Leases(folder).claim(folder / "cell")


def test_what_the_dead_left_is_swept_and_what_the_living_hold_is_not(folder: Path) -> None:
    (folder / "other").mkdir()
    process, mine = holder(folder), Leases(folder)
    assert mine.claim(folder / "other")
    cells = [folder / "cell", folder / "other", folder / "without"]
    try:
        Leases(folder).sweep(cells)
        assert held_elsewhere(folder / "cell") is not None
    finally:
        process.kill()
        process.wait()
    Leases(folder).sweep(cells)
    assert not (folder / "cell" / "lease").exists()
    assert mine.still_held(folder / "other")


def test_a_number_of_a_process_that_is_used_again_holds_nothing(folder: Path) -> None:
    other = Leases(folder)
    assert other.claim(folder / "cell")
    written = json.loads((folder / "cell" / "lease").read_text())
    (folder / "cell" / "lease").write_text(json.dumps(written | {"born": written["born"] - 1000, "token": "other"}))
    assert Leases(folder).claim(folder / "cell")


def test_a_holder_on_another_host_is_gone_when_its_heart_has_stopped(folder: Path) -> None:
    path = folder / "cell" / "lease"
    path.write_text(json.dumps({"host": "elsewhere", "pid": os.getpid(), "born": 1.0, "token": "other"}))
    assert not Leases(folder).claim(folder / "cell")
    past = time.time() - lease.STALE - 1
    os.utime(path, (past, past))
    ours = Leases(folder)
    assert ours.claim(folder / "cell")
    os.utime(path, (past, past))
    ours.beat()
    assert time.time() - path.stat().st_mtime < lease.STALE


def test_a_damaged_lease_is_nobodys(folder: Path) -> None:
    path = folder / "cell" / "lease"
    for text in ("", "{", "[1]", '{"host": 3}'):
        path.write_text(text)
        assert read(path) is None
    assert Leases(folder).claim(folder / "cell")


def test_of_many_that_claim_at_once_one_wins(folder: Path) -> None:
    """Eight processes rush for the lease of a holder that has just died."""
    dead = holder(folder)
    dead.kill()
    dead.wait()
    code = HOLD.replace("time.sleep(600)", "time.sleep(3)")
    rush = [
        subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    won = [process.communicate()[0].strip() for process in rush]
    assert sorted(won) == ["False"] * 7 + ["True"]
