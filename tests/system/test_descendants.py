"""Cells that start processes: these end with their cell, however it ends, and are counted with its memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from runs import wait_for, without_report, workers
from unruly import Unruly

import pdebench

pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes under /proc")
SOON = 240  # seconds: what is left alone sleeps for 600


def command(unruly: Unruly, results: Path, *options: str) -> list[str]:
    return without_report("run", unruly.suite, "--results", results, *options)


def run(unruly: Unruly, results: Path, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    arguments = command(unruly, results, *options)
    environment = {**unruly.environment, **more}
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=SOON)


def begin(unruly: Unruly, results: Path, *options: str, first: str = "") -> subprocess.Popen[bytes]:
    """A run whose cell has started all that it will; `first` is code that the run begins with."""
    python, flag, code, *arguments = command(unruly, results, *options)
    asked = [python, flag, f"{first}\n{code}", *arguments]
    process = subprocess.Popen(asked, env=unruly.environment, stdout=subprocess.DEVNULL)
    wait_for(lambda: len(unruly.started()) >= 4, SOON)
    return process


@pytest.mark.parametrize("isolation", ["fresh", pytest.param("warm", marks=pytest.mark.exhaustive)])
def test_what_a_cell_starts_ends_with_it(tmp_path: Path, isolation: str) -> None:
    """A fork that holds the cell's pipes and hears no TERM, a program, and a daemon without the cell's environment."""
    unruly = Unruly(tmp_path, "Forks", "Starts", "Daemon")
    done = run(unruly, tmp_path / "out", "--set", f"execution.isolation={isolation}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(unruly.started()) == 3
    assert not unruly.alive()
    assert list(pdebench.load_results(tmp_path / "out")["status"]) == ["done"] * 3


def test_a_cell_beyond_its_limit_ends_with_all_that_it_started(tmp_path: Path) -> None:
    unruly = Unruly(tmp_path, "Busy", "None-DiT")
    done = run(unruly, tmp_path / "out", "--set", "limits.seconds=20")
    assert done.returncode == 4, done.stdout + done.stderr
    assert list(pdebench.load_results(tmp_path / "out")["status"]) == ["timeout", "done"]
    assert len(unruly.started()) == 4
    assert not unruly.alive()


@pytest.mark.exhaustive
def test_a_deaf_cell_ends_soon_after_its_limit(tmp_path: Path) -> None:
    unruly = Unruly(tmp_path, "Busy")
    done = run(unruly, tmp_path / "out", "--set", "limits.seconds=20", DEAF="yes")
    assert done.returncode == 4, done.stdout + done.stderr
    table = pdebench.load_results(tmp_path / "out")
    assert table["status"][0] == "timeout"
    assert "deaf" in next(tmp_path.glob("out/cells/*/log.txt")).read_text()
    assert table["seconds_total"][0] < 20 + 15, "it was to be ended within 5 s; half a minute is the grace of others"
    assert not unruly.alive()


def test_one_interruption_ends_a_run_whose_pipe_a_fork_holds(tmp_path: Path) -> None:
    unruly = Unruly(tmp_path, "Busy")
    process = begin(unruly, tmp_path / "out", first="import pdebench.run.local.child as c; c.GRACE = 3.0")
    process.send_signal(signal.SIGINT)
    assert process.wait(SOON) == 130
    assert not unruly.alive()


def kill_run(process: subprocess.Popen[bytes]) -> None:
    process.kill()


def kill_work(process: subprocess.Popen[bytes]) -> None:
    """The process that trains: the first has started it, and it has forked."""
    os.kill(workers()[1], signal.SIGKILL)


def kill_keeper(process: subprocess.Popen[bytes]) -> None:
    os.kill(workers()[0], signal.SIGKILL)


def kill_both(process: subprocess.Popen[bytes]) -> None:
    for pid in workers():
        os.kill(pid, signal.SIGKILL)


def kill_run_and_keeper(process: subprocess.Popen[bytes]) -> None:
    os.kill(workers()[0], signal.SIGKILL)
    process.kill()


TRY = """\
import os
from pdebench.system import control_group
ours = control_group._own()
(ours / "pdebench-stale").mkdir()
if not (ours / "pdebench-stale" / "cgroup.kill").exists():  # an older kernel
    (ours / "pdebench-stale").rmdir()
    raise SystemExit
os.utime(ours / "pdebench-stale", (0, 0))
control_group.enter("pdebench-try")
print((ours / "pdebench-stale").exists(), control_group._own() == ours / "pdebench-try")
control_group.end("pdebench-try")
print((ours / "pdebench-try").exists(), control_group._own() == ours)
"""


def groups() -> str:
    """What becomes of a control group that is entered and ended, and of one that was left; empty where none is made."""
    tried = subprocess.run([sys.executable, "-c", TRY], capture_output=True, text=True, check=False)
    return tried.stdout


def test_a_control_group_is_entered_ended_and_removed() -> None:
    if not (said := groups()):
        pytest.skip("this user can make no control group")
    assert said.split("\n") == ["False True", "False True", ""]


@pytest.mark.parametrize(
    "kill",
    [
        *(pytest.param(kill, marks=pytest.mark.exhaustive) for kill in (kill_run, kill_work, kill_keeper)),
        kill_both,
        kill_run_and_keeper,
    ],
)
def test_whoever_is_killed_nothing_stays(tmp_path: Path, kill: Callable[[subprocess.Popen[bytes]], None]) -> None:
    if kill is kill_both and not groups():
        pytest.skip("a daemon without the cell's environment is found by its control group alone")
    unruly = Unruly(tmp_path, "Busy")
    process = begin(unruly, tmp_path / "out")
    family = psutil.Process(process.pid).children(recursive=True)
    kill(process)
    process.wait(SOON)
    assert not psutil.wait_procs(family, timeout=30)[1]
    wait_for(lambda: not unruly.alive(), 30)
    if not kill.__name__.startswith("kill_run"):
        assert pdebench.load_results(tmp_path / "out")["status"][0] == "killed"


def test_memory_is_that_of_all_processes_of_a_cell(tmp_path: Path) -> None:
    """Four processes within the limit each, and beyond it together."""
    unruly = Unruly(tmp_path, "Crowd", "None-DiT")
    done = run(unruly, tmp_path / "out", "--set", "limits.memory_gb=2")
    assert done.returncode == 4, done.stdout + done.stderr
    table = pdebench.load_results(tmp_path / "out")
    assert list(table["status"]) == ["oom", "done"]
    assert "all processes" in table["message"][0]
    assert "GB" in table["log_tail"][0]
    assert not unruly.alive()


def test_memory_that_processes_share_counts_once(tmp_path: Path) -> None:
    """Four forks of a process with 1 GB, which none of them changes."""
    unruly = Unruly(tmp_path, "Shares")
    done = run(unruly, tmp_path / "out", "--set", "limits.memory_gb=3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(unruly.started()) == 4
    assert not unruly.alive()


def searches() -> list[psutil.Process]:
    """Processes of ours that look for the largest batch."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            ours = process.environ().get("PDEBENCH_TESTS") == os.environ["PDEBENCH_TESTS"]
            if ours and "pdebench.measure.largest_batch" in process.cmdline():
                found.append(process)
    return found


def test_a_search_for_the_largest_batch_ends_with_its_cell(tmp_path: Path) -> None:
    unruly = Unruly(tmp_path, "None-DiT")
    arguments = command(unruly, tmp_path / "out", "--set", "measure.largest_batch=true")
    process = subprocess.Popen(arguments, env=unruly.environment, stdout=subprocess.DEVNULL)
    wait_for(searches, SOON)
    (search,) = searches()
    os.kill(workers()[1], signal.SIGKILL)
    try:
        search.wait(30)
    finally:
        if search.is_running():
            search.kill()
    assert process.wait(SOON) == 4


def test_a_search_for_the_largest_batch_stays_within_what_its_cell_may_have(tmp_path: Path) -> None:
    unruly = Unruly(tmp_path, "DiT")
    done = run(
        unruly,
        tmp_path / "out",
        *(
            "--set",
            "measure.largest_batch=true",
            "--set",
            "measure.search_seconds=3000",
            "--set",
            "limits.memory_gb=1.8",
        ),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = pdebench.load_results(tmp_path / "out")
    assert found["largest_batch_bound"][0] == "memory"
    assert found["largest_batch"][0] > 0
