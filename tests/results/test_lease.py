"""One cell, one holder: whoever is alive has it, whoever is gone has not."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from runs import wait_for

from pdebench.errors import ResultsError
from pdebench.results import lease
from pdebench.results.lease import Leases, held_elsewhere, read
from pdebench.system import locks

HOLD = """
import sys, time
from pathlib import Path
from pdebench.results.lease import Leases
print(Leases(Path(sys.argv[1])).claim(Path(sys.argv[1]) / "cell"), flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cell").mkdir()
    return tmp_path


def holder(folder: Path) -> subprocess.Popen[str]:
    process = started([sys.executable, "-c", HOLD, str(folder)])
    assert said(process) == "True"
    return process


def started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


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


@pytest.mark.parametrize("seconds", [-1.0, 1.0, -3600.0])
def test_a_clock_that_is_set_takes_no_live_lease_away(
    folder: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """The start of a process by the wall clock moves with the clock: it is counted from the boot, whose time is set."""
    process = holder(folder)
    try:
        created, now = psutil.Process.create_time, time.time
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: created(self) + seconds)
        monkeypatch.setattr(time, "time", lambda: now() + seconds)
        assert not Leases(folder).claim(folder / "cell")
        assert held_elsewhere(folder / "cell") is not None
        Leases(folder).sweep([folder / "cell"])
        assert (folder / "cell" / "lease").exists()
    finally:
        process.kill()
        process.wait()


def in_a_container(*command: str) -> list[str]:
    """A command among processes of its own, on a machine of this name, as containers of one image are."""
    apart = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]
    try:
        works = subprocess.run([*apart, "true"], capture_output=True, timeout=30).returncode == 0
    except OSError:
        works = False
    if not works:
        pytest.skip("needs namespaces of processes, which this user cannot have")
    return [*apart, *command]


def test_two_containers_with_one_host_name_share_and_do_not_steal(folder: Path) -> None:
    process = started(in_a_container(sys.executable, "-c", HOLD, str(folder)))
    try:
        assert said(process) == "True"
        assert not Leases(folder).claim(folder / "cell")
        assert held_elsewhere(folder / "cell") is not None
        other = in_a_container(sys.executable, "-c", HOLD.replace("time.sleep(600)", ""), str(folder))
        assert subprocess.run(other, capture_output=True, text=True).stdout.strip() == "False"
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: Leases(folder).claim(folder / "cell"), 10)  # at once: it is this machine's kernel that knows


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(lease, "SETTLED", 0.0)


LOCKLESS = f"""
import fcntl
def refuse(file, how):
    raise OSError({errno.ENOLCK}, "no locks")
fcntl.flock = refuse
"""


@pytest.mark.usefixtures("without_locks")
def test_without_locks_the_start_of_a_process_tells(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = started([sys.executable, "-c", LOCKLESS + HOLD, str(folder)])
    assert said(process) == "True"
    try:
        created = psutil.Process.create_time
        monkeypatch.setattr(psutil.Process, "create_time", lambda self: created(self) + 1)
        assert not Leases(folder).claim(folder / "cell")
        silence(folder / "cell" / "lease")  # it is seen to live
        assert not Leases(folder).claim(folder / "cell")
    finally:
        process.kill()
        wait_for(lambda: held_elsewhere(folder / "cell") is None)  # though nobody has asked for its status
        process.wait()
    assert held_elsewhere(folder / "cell") is None
    ours = Leases(folder)
    assert ours.claim(folder / "cell")
    ours.release(folder / "cell")
    assert not (folder / "cell" / "lease").exists()


@pytest.mark.usefixtures("without_locks")
def test_a_number_of_a_process_that_is_used_again_holds_nothing(folder: Path) -> None:
    other = Leases(folder)
    assert other.claim(folder / "cell")
    written = json.loads((folder / "cell" / "lease").read_text())
    (folder / "cell" / "lease").write_text(json.dumps(written | {"started": written["started"] - 1, "token": "other"}))
    assert Leases(folder).claim(folder / "cell")


@pytest.mark.usefixtures("without_locks")
def test_without_locks_another_container_is_listened_to(folder: Path) -> None:
    other = Leases(folder)
    assert other.claim(folder / "cell")
    path = folder / "cell" / "lease"
    written = json.loads(path.read_text())
    path.write_text(json.dumps(written | {"space": "pid:[1]", "pid": 2**31 - 2, "token": "other"}))
    assert not Leases(folder).claim(folder / "cell")
    assert held_elsewhere(folder / "cell") is not None
    silence(path)
    assert held_elsewhere(folder / "cell") is None
    assert Leases(folder).claim(folder / "cell")


@pytest.mark.usefixtures("without_locks")
def test_without_locks_the_last_of_two_that_claim_at_once_has_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Leases(folder), Leases(folder)
    taken: list[bool] = []

    def meanwhile(seconds: float) -> None:
        monkeypatch.setattr(time, "sleep", lambda seconds: None)
        (folder / "cell" / "lease").unlink()  # the second looked before the first wrote
        taken.append(second.claim(folder / "cell"))

    monkeypatch.setattr(time, "sleep", meanwhile)
    assert not first.claim(folder / "cell")
    assert taken == [True]


def elsewhere(folder: Path, **more: object) -> Path:
    """The lease of a process on another machine, with our name."""
    path = folder / "cell" / "lease"
    about = {"host": socket.gethostname(), "pid": os.getpid(), "token": "other", "boot": "another", "locked": True}
    path.write_text(json.dumps(about | more))
    return path


def silence(path: Path, seconds: float = -lease.STALE - 1) -> None:
    """Its last heartbeat was so long ago, or is dated ahead."""
    at = time.time() + seconds
    os.utime(path, (at, at))


@pytest.mark.parametrize("ahead", [10.0, 3600.0, 10 * 365 * 86400.0])
def test_a_lease_that_is_dated_ahead_ends_after_it_was_listened_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    path, ours, clock = elsewhere(folder), Leases(folder), [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    silence(path, ahead)
    assert not ours.claim(folder / "cell")
    clock[0] += lease.STALE - 1
    assert not ours.claim(folder / "cell")
    assert "silent" in ours.others[folder / "cell"]
    clock[0] += 2
    assert ours.claim(folder / "cell")


def test_a_heart_that_beats_is_heard_whatever_the_clocks_say(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, ours, clock = elsewhere(folder), Leases(folder), [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for beat in range(20):
        silence(path, 3600 + beat * lease.BEAT)
        assert not ours.claim(folder / "cell")
        clock[0] += lease.BEAT


def test_the_age_of_a_heartbeat_is_told_by_the_file_servers_clock(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = folder / "cells" / "0123456789ab"
    cell.mkdir(parents=True)
    (folder / ".lock").touch()
    elsewhere(folder).rename(cell / "lease")
    now = time.time
    for seconds in (-600, 600):
        monkeypatch.setattr(time, "time", lambda: now() + seconds)  # noqa: B023
        assert held_elsewhere(cell) is not None
        assert not Leases(folder).claim(cell)


def test_a_lease_of_an_older_pdebench_is_listened_to(folder: Path) -> None:
    """It names a process by the wall clock, which may have been set since."""
    path = folder / "cell" / "lease"
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "born": 1.0, "token": "other"}))
    assert not Leases(folder).claim(folder / "cell")
    assert held_elsewhere(folder / "cell") is not None
    silence(path)
    assert Leases(folder).claim(folder / "cell")


def test_looking_on_takes_nothing_from_anybody(folder: Path) -> None:
    ours = Leases(folder)
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            held_elsewhere(folder / "cell")

    with ThreadPoolExecutor(2) as pool:
        looking = [pool.submit(look) for _ in range(2)]
        for _ in range(30):
            assert ours.claim(folder / "cell")
            assert json.loads((folder / "cell" / "lease").read_text())["locked"]
            assert not Leases(folder).claim(folder / "cell")
            ours.release(folder / "cell")
        over.set()
        for one in looking:
            one.result()


def test_a_beat_is_for_the_lease_that_is_ours(folder: Path) -> None:
    asleep = Leases(folder)
    assert asleep.claim(folder / "cell")
    (folder / "cell" / "lease").unlink()
    path = elsewhere(folder)
    silence(path)
    asleep.beat()
    assert held_elsewhere(folder / "cell") is None


def test_a_lease_of_any_size_costs_little(folder: Path) -> None:
    path = folder / "cell" / "lease"
    path.write_text(json.dumps({"host": "h" * 2**20, "pid": 1, "token": "t"}))
    assert read(path) is None
    path.write_text(json.dumps({"host": "h" * 1000, "pid": 1, "token": "t"}))
    assert read(path) is None
    assert Leases(folder).claim(folder / "cell")


@pytest.mark.parametrize("what", ["link", "fifo"])
def test_what_is_no_lease_is_neither_followed_nor_waited_for(folder: Path, what: str) -> None:
    path, target = folder / "cell" / "lease", folder / "target"
    target.write_text("mine")
    path.symlink_to(target) if what == "link" else os.mkfifo(path)
    assert held_elsewhere(folder / "cell") is None
    assert Leases(folder).claim(folder / "cell")
    assert target.read_text() == "mine"
    assert path.is_file()
    assert not path.is_symlink()


@pytest.mark.parametrize("what", ["link", "fifo"])
def test_a_lock_that_is_none_is_refused(folder: Path, what: str) -> None:
    path, target = folder / ".lock", folder / "target"
    path.symlink_to(target) if what == "link" else os.mkfifo(path)
    with pytest.raises(ResultsError, match=r"\.lock: it is .*; remove it"):
        Leases(folder).claim(folder / "cell")
    assert not target.exists()


def test_whoever_does_not_let_go_of_the_folder_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.05)
    told: list[str] = []
    inside = threading.Event()

    def hang() -> None:
        with locks.alone(folder / ".lock"):
            inside.set()
            wait_for(lambda: told)

    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(hang)
        inside.wait()
        assert Leases(folder, told.append).claim(folder / "cell")
        hanging.result()
    assert len(told) == 1
    assert f"process {os.getpid()} on {socket.gethostname()} holds {folder}/.lock" in told[0]


def test_a_lock_that_somebody_removed_keeps_out_no_less(folder: Path) -> None:
    with locks.alone(folder / ".lock") as first:
        (folder / ".lock").unlink()
        with locks.alone(folder / ".lock") as second:
            assert os.fstat(first.fileno()).st_ino != os.fstat(second.fileno()).st_ino
            third = os.open(folder / ".lock", os.O_RDWR)
            assert locks.take(third, fcntl.LOCK_EX) is False
            os.close(third)
