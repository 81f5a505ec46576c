"""Cells that are killed, crash, hang, take too much, or are shared: what is kept, what is said, and what goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from runs import pdebench_run, wait_for, without_report, workers, write_suite
from safetensors.torch import load_file

import pdebench

pytestmark = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes under /proc")
FRESH = ("--set", "execution.isolation=fresh")  # its process is found by its command, and imports within its memory
ONE = ("--set", "grid.model.family=[DiT]", *FRESH)


def states(results: Path) -> list[Path]:
    return sorted(results.glob("cells/*/state/*.pt"))


def newest_state(results: Path) -> str:
    found = states(results)
    return found[-1].name if found else ""


def weights(results: Path) -> dict[str, bytes]:
    """The tensors of the only cell, bit for bit."""
    (checkpoint,) = results.glob("cells/*/checkpoint.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(checkpoint).items()}


def cut_off_once(results: Path, way: signal.Signals, moments: random.Random, *arguments: object) -> int:
    """A run whose cell gets a signal some time after its next state is saved; how many processes got it."""
    before, over = newest_state(results), threading.Event()

    def interfere() -> int:
        wait_for(lambda: over.is_set() or newest_state(results) not in (before, ""))
        time.sleep(moments.uniform(0, 0.3))
        found = workers()
        for pid in found:
            os.kill(pid, way)
        return len(found)

    with ThreadPoolExecutor(1) as pool:
        interfering = pool.submit(interfere)
        pdebench_run(*arguments, report=False)
        over.set()
        return interfering.result()


@pytest.mark.parametrize("way", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.exhaustive)])
def test_a_cell_cut_off_anywhere_ends_with_the_same_weights(suite: Path, tmp_path: Path, way: signal.Signals) -> None:
    """Killed at two moments drawn at random, with a state saved after every step."""
    longer = ("--set", "train.steps=60", "--set", "execution.checkpoint_seconds=0", *ONE)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert pdebench_run("run", suite, "--results", whole, *longer).returncode == 0
    moments = random.Random(int(way))
    cuts = sum(cut_off_once(cut, way, moments, "run", suite, "--results", cut, *longer) for _ in range(2))
    assert cuts
    last = pdebench_run("run", suite, "--results", cut, *longer)
    assert last.returncode == 0, last.stdout + last.stderr
    assert weights(cut) == weights(whole)
    table, untouched = pdebench.load_results(cut), pdebench.load_results(whole)
    assert table["resumed_from_step"][0] > 0
    assert untouched["resumed_from_step"].isna().all()
    for column in ("val_loss", "val_loss_ema", "train_loss"):
        assert table[column][0] == untouched[column][0]
    curves = [pd.read_parquet(folder / "curves.parquet").drop(columns=["seconds"]) for folder in (cut, whole)]
    pd.testing.assert_frame_equal(*curves)
    assert not list(cut.glob("cells/*/state"))


def test_a_crash_and_a_hang_are_told_apart_and_the_sweep_goes_on(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    run = without_report("run", suite, "--results", results, "--set", "train.steps=100000", "--set", "limits.seconds=8")
    process = subprocess.Popen(run, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: any("token mixer" in log.read_text() for log in results.glob("cells/*/log.txt")))
    os.kill(workers()[0], signal.SIGSEGV)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 4, output
    table = pdebench.load_results(results)
    assert list(table["status"]) == ["error", "timeout"]
    assert "SIGSEGV" in table["message"][0]
    assert "Fatal Python error: Segmentation fault" in table["log_tail"][0]
    assert "its limit of 8 s" in table["message"][1]
    assert states(results), "a cell that ran out of time can go on with a higher limit"
    again = pdebench_run("run", suite, "--results", results, "--set", "train.steps=100000", "--set", "limits.seconds=8")
    assert again.returncode == 4  # what failed stays so until it is asked for again
    assert "--retry failed" in again.stdout


def test_a_cell_that_takes_too_much_memory_is_recorded_and_the_next_one_runs(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    write_suite(tmp_path, more="include: [{model.family: DiT, train.batch_size: 400000}]\n")
    run = pdebench_run("run", suite, "--results", results, "--set", "limits.memory_gb=2", *FRESH)
    assert run.returncode == 4, run.stdout + run.stderr
    table = pdebench.load_results(results)
    assert list(table["status"]) == ["oom", "done"]
    assert "memory" in table["message"][0].lower()


@pytest.mark.parametrize("limit", ["0.2", "0.45", "0.75"])  # it runs out here and there while libraries are loaded
def test_a_cell_whose_memory_ends_while_it_imports_is_out_of_memory(suite: Path, tmp_path: Path, limit: str) -> None:
    results = tmp_path / "out"
    run = pdebench_run("run", suite, "--results", results, "--set", f"limits.memory_gb={limit}", *FRESH)
    assert run.returncode == 4, run.stdout + run.stderr
    table = pdebench.load_results(results)
    assert set(table["status"]) == {"oom"}, list(table["message"])


def test_a_warm_cell_whose_limit_is_less_than_it_begins_with_is_out_of_memory(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    warm = ("--set", "execution.isolation=warm", "--set", "limits.memory_gb=0.2")
    run = pdebench_run("run", suite, "--results", results, *warm)
    assert run.returncode == 4, run.stdout + run.stderr
    table = pdebench.load_results(results)
    assert set(table["status"]) == {"oom"}
    assert "warm process" in table["message"][0]


def test_two_runs_share_the_cells_and_none_is_run_twice(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # threads of two processes on the same cores wait for each other
    results = tmp_path / "out"
    more = (
        "--set",
        "grid.model.family=[DiT, None-DiT]",
        "--set",
        "train.steps=30",
        "--log-json",
    )
    both = [
        subprocess.Popen(without_report("run", suite, "--results", results, *more), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    events = [[json.loads(line) for line in output.splitlines()] for output in outputs]
    started = [{event["cell"] for event in told if event["event"] == "started"} for told in events]
    cells = set(events[0][0]["cells"])
    assert started[0] | started[1] == cells
    assert not started[0] & started[1]
    assert all(started)
    assert list(pdebench.load_results(results)["status"]) == ["done"] * 2
    assert not list(results.glob("cells/*/lease"))


def test_workers_side_by_side_are_pinned_and_not_timed(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # what the user has set would stay
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # on a GPU's machine too it is the CPU that they share
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    results = tmp_path / "out"
    refused = pdebench_run("run", suite, "--results", results, "--workers", 2)
    assert refused.returncode == 2
    assert "execution.timing: shared" in refused.stderr
    run = pdebench_run("run", suite, "--results", results, "--workers", 2, "--set", "execution.timing=shared")
    assert run.returncode == 0, run.stdout + run.stderr
    table = pdebench.load_results(results)
    assert list(table["timing"]) == ["shared", "shared"]
    assert table["slot"].nunique() == 2
    assert table["val_loss"].notna().all()
    assert table["train_step_ms_median"].isna().all() if "train_step_ms_median" in table else True
    assert (table["threads"] == len(os.sched_getaffinity(0)) // 2).all()


def test_the_parent_sleeps(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    run = pdebench_run("run", suite, "--results", results, "--set", "train.steps=150", *ONE)
    assert run.returncode == 0
    assert pdebench.load_results(results)["parent_cpu_share"][0] < 0.05
