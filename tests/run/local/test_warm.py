"""Cells as forks of a warm process: what happens to them, to their server and to their parent stays apart."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from runs import wait_for, without_report

import pdebench

pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes under /proc")


def training(results: Path, cells: int) -> Callable[[], bool]:
    """Whether so many cells have begun to train."""
    return lambda: sum("token mixer" in log.read_text() for log in results.glob("cells/*/log.txt")) >= cells


@pytest.mark.exhaustive
def test_a_killed_fork_a_killed_server_and_a_killed_parent(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    options = ("--set", "execution.isolation=warm", "--set", "train.steps=100000")
    with (tmp_path / "printed").open("w") as printed:
        parent = subprocess.Popen(without_report("run", suite, "--results", results, *options), stdout=printed)
    family = psutil.Process(parent.pid)
    wait_for(training(results, 1))
    (server,) = (child for child in family.children() if child.children())
    (fork,) = server.children()
    assert fork.environ()["MALLOC_TOP_PAD_"], "the allocator's settings come with the server"

    fork.send_signal(signal.SIGSEGV)
    wait_for(training(results, 2))  # the same server has the next cell
    first = pdebench.load_results(results).iloc[0]
    assert (first["status"], first["exit_code"]) == ("error", -signal.SIGSEGV)
    assert "Segmentation fault" in first["log_tail"]

    (fork,) = server.children()
    everything = family.children(recursive=True)
    server.kill()  # its forks live on, and nobody can say how they end
    fork.kill()
    assert parent.wait(60) == 4
    last = pdebench.load_results(results).iloc[1]
    assert last["status"] == "killed"

    with (tmp_path / "printed").open("w") as printed:
        parent = subprocess.Popen(without_report("run", suite, "--results", results, *options), stdout=printed)
    family = psutil.Process(parent.pid)
    wait_for(lambda: any(child.children() for child in family.children()))
    everything += family.children(recursive=True)
    parent.kill()
    parent.wait()
    assert not psutil.wait_procs(everything, timeout=30)[1], "nothing outlives its parent"


DESERTED = """
import multiprocessing
import os
from multiprocessing import forkserver
from pdebench.run.local.process import PRELOADED

multiprocessing.get_context("forkserver").set_forkserver_preload([PRELOADED[0]])  # the others take seconds
from_fork, to_fork = forkserver.connect_to_new_process([])
forkserver.read_signed(from_fork)  # it has begun
os.close(to_fork)  # as when the parent is killed before it says what to run
assert forkserver.read_signed(from_fork) == 1  # it has ended
"""


def test_a_fork_that_nobody_says_anything_to_ends_and_says_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", DESERTED], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
