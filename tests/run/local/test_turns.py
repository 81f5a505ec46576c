"""Cells that are timed run alone, whoever else runs cells here; those that are not may share."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from runs import pdebench_run, wait_for, without_report, workers, write_suite

import pdebench
from pdebench.run.local.turns import Turn
from pdebench.system.slots import Slot

CPU, HALF, FIRST, OTHER = Slot("cpu"), Slot("cpu 0-1"), Slot("cuda:0"), Slot("cuda:1+2")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


@pytest.mark.parametrize(
    ("held", "asked", "given"),
    [
        ((CPU, True), (CPU, True), False),
        ((CPU, True), (HALF, False), False),  # what is not timed disturbs what is
        ((HALF, False), (CPU, True), False),
        ((HALF, False), (HALF, False), True),
        ((FIRST, True), (FIRST, True), False),
        ((FIRST, True), (OTHER, True), True),
        ((OTHER, True), (Slot("cuda:2"), True), False),
        ((FIRST, True), (CPU, True), False),  # a GPU's cell works on the CPU as well
        ((CPU, True), (FIRST, True), False),
    ],
)
def test_who_may_run_beside_whom(held: tuple[Slot, bool], asked: tuple[Slot, bool], given: bool) -> None:
    first, second = Turn(held[0], timed=held[1]), Turn(asked[0], timed=asked[1])
    assert first.take()
    assert second.take() is given
    if not given:
        first.give_back()
        assert second.take()
    second.give_back()


def test_who_waits_is_the_next_to_have_it() -> None:
    first, second = Turn(CPU, timed=True), Turn(CPU, timed=True)
    assert first.take()
    for has, waits in ((first, second), (second, first)) * 2:
        assert not waits.take()
        has.give_back()
        assert not has.take()
        assert waits.take()
    second.leave()
    first.give_back()
    assert first.take()


def test_what_is_not_timed_does_not_keep_what_is_waiting() -> None:
    shared, more, alone = Turn(HALF, timed=False), Turn(HALF, timed=False), Turn(CPU, timed=True)
    assert shared.take()
    assert not alone.take()
    assert not more.take()
    assert more.holder() == "another process"  # not ours, which has the device now
    shared.give_back()
    assert alone.take()


def test_a_turn_ends_with_its_holder_however_that_ends(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom pdebench.system.slots import Slot\nfrom pdebench.run.local.turns import Turn\n"
        "turn = Turn(Slot('cpu'), timed=True)\nassert turn.take()\nprint(os.getpid(), flush=True)\ninput()\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    pid = int(holder.stdout.readline())
    turn = Turn(CPU, timed=True)
    assert not turn.take()
    assert turn.holder() == f"process {pid}"
    holder.kill()
    holder.wait()
    assert turn.take()
    turn.give_back()


def test_a_job_of_slurm_has_its_devices_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    assert all(Turn(FIRST, timed=True).take() for _ in range(2))


def test_a_cache_that_cannot_be_written_stops_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "file"))
    assert Turn(CPU, timed=True).take()


def test_two_runs_time_their_cells_one_after_another(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    write_suite(tmp_path, steps=10)
    first = subprocess.Popen(without_report("run", suite, "--results", results), stdout=subprocess.PIPE, text=True)
    wait_for(workers)
    second = pdebench_run("run", suite, "--results", results)
    first.communicate(timeout=120)
    assert first.returncode == second.returncode == 0
    assert "waiting: process" in second.stdout
    table = pdebench.load_results(results)
    assert list(table["status"]) == ["done", "done"]
    spans = sorted(zip(map(pd.Timestamp, table["started_at"]), map(pd.Timestamp, table["finished_at"]), strict=True))
    assert spans[0][1] <= spans[1][0]


def test_a_run_that_times_nothing_waits_for_no_other_that_times_nothing(suite: Path, tmp_path: Path) -> None:
    """With one worker, too."""
    others = Turn(HALF, timed=False)
    assert others.take()
    run = pdebench_run("run", suite, "--results", tmp_path / "out", "--set", "execution.timing=shared")
    others.give_back()
    assert run.returncode == 0
    assert "waiting" not in run.stdout
    assert list(pdebench.load_results(tmp_path / "out")["timing"]) == ["shared", "shared"]


def test_where_the_cache_has_no_locks_nobody_waits_for_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: object, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    first, second = Turn(CPU, timed=True), Turn(CPU, timed=True)
    assert first.take()
    assert second.take()
    for turn in (first, second):
        turn.give_back()
