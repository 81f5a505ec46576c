"""Ratios from clocks whose true ratio is known, and that the report can be asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import _line
from benchmarks.ratio import Effort, Ratio, Row, compare, paired, single, timed

EFFORT = Effort(seconds=0.0, pairs=40)
ROOT = Path(__file__).resolve().parents[2]


def fake_clocks(true_ratio: float, seed: int = 0) -> tuple[Callable[[], float], Callable[[], float]]:
    """A slow drift of the whole machine, a factor of 3 and back, times a little noise of each sample."""
    rng, sampled = np.random.default_rng(seed), iter(range(10**6))

    def second(cost: float) -> float:
        drift = 2 + np.sin(next(sampled) / 20)
        return cost * drift * float(np.exp(rng.normal(0, 0.02)))

    return (lambda: second(true_ratio)), (lambda: second(1.0))


@pytest.mark.parametrize("true_ratio", [0.5, 1.0, 1.3])
def test_finds_a_known_ratio_under_drift(true_ratio: float) -> None:
    ratio = compare(*fake_clocks(true_ratio), EFFORT)
    assert ratio.low <= true_ratio <= ratio.high
    assert ratio.low <= ratio.median <= ratio.high
    assert ratio.median == pytest.approx(true_ratio, rel=0.02)
    assert ratio.pairs == 40


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    ratios = [compare(*fake_clocks(1.1, seed), Effort(seconds=0.0, pairs=20)) for seed in range(200)]
    covered = sum(ratio.low <= 1.1 <= ratio.high for ratio in ratios)
    assert covered >= 180


def test_order_is_a_b_b_a() -> None:
    order: list[str] = []

    def sample(name: str) -> Callable[[], float]:
        return lambda: float(bool(order.append(name) or True))

    compare(sample("a"), sample("b"), Effort(seconds=0.0, pairs=4))
    assert "".join(order) == "abbaabba"


def test_a_cost_of_going_first_cancels() -> None:
    """Whichever runs after the other one pays a tenth more: each is so in one pair of two."""
    last = [""]

    def sample(name: str) -> Callable[[], float]:
        def once() -> float:
            penalty = 1.1 if last[0] and last[0] != name else 1.0
            last[0] = name
            return penalty

        return once

    assert compare(sample("a"), sample("b"), EFFORT).median == pytest.approx(1, rel=0.03)


def test_the_same_samples_give_the_same_interval() -> None:
    a, b = [1.0, 1.2, 1.1, 1.4], [1.0, 1.1, 1.3, 1.2]
    assert paired(a, b) == paired(a, b)


def test_timed_repeats_short_work() -> None:
    calls = [0]

    def work() -> None:
        calls[0] += 1

    seconds = timed(work, least=0.001)()
    assert 0 < seconds < 0.001
    assert calls[0] > 10


@pytest.mark.parametrize(
    ("low", "median", "high", "verdict"),
    [
        (1.0, 1.05, 1.1, "target 1.10 met"),
        (1.2, 1.3, 1.4, "target 1.10 missed"),
        (1.0, 1.05, 1.2, "target 1.10 undecided (under by its median)"),
        (1.0, 1.15, 1.2, "target 1.10 undecided (over by its median)"),
    ],
)
def test_a_target_is_met_or_missed_only_by_the_whole_interval(
    low: float, median: float, high: float, verdict: str
) -> None:
    assert Row("group", "name", Ratio(median, low, high, (), ()), 1.1).verdict == verdict


@pytest.mark.parametrize(("a", "verdict"), [(2, "target 0.25 met"), (3, "target 0.25 missed")])
def test_a_ratio_of_two_peaks_is_judged_as_it_is_and_shown_without_an_interval(a: int, verdict: str) -> None:
    row = Row("group", "name", single(a * 2**20, 8 * 2**20), 0.25, "MiB")
    assert row.verdict == verdict
    assert _line(row, others=1.0).split()[2:] == [f"{a / 8:.3f}", "1", f"{a}.00", "8.00", "MiB", *verdict.split()]


def test_peak_memory_of_a_fresh_process_is_that_of_what_it_runs() -> None:
    """Our scan's buffers are a few times its input of 3 MiB; mambapy's hold 48 MiB of states several times."""
    peaks = {}
    for scan in ("ours", "theirs"):
        command = [sys.executable, "-m", "benchmarks.scan", scan]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        peaks[scan] = int(done.stdout)
    if sys.platform == "linux":
        assert 3 * 2**20 < peaks["ours"] < 48 * 2**20 < 4 * 48 * 2**20 < peaks["theirs"]


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "OMP_"))}
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, timeout=120)


@pytest.mark.exhaustive
def test_the_command_reports_in_a_tuned_process(tmp_path: Path) -> None:
    done = benchmarks("--quick", "--only", "operator", "--json", str(tmp_path / "found.json"))
    assert done.returncode == 0, done.stderr
    assert "16x16 S=4 K diagonal / rfft2+irfft2" in done.stdout
    found = json.loads((tmp_path / "found.json").read_text())
    assert "MALLOC_MMAP_MAX_=0" in found["machine"]["allocator"]
    assert [row["target"] for row in found["rows"]] == [1.1, None, 1.1, None, 1.3, None, 1.3, None]
    assert all(row["ratio"]["low"] <= row["ratio"]["median"] <= row["ratio"]["high"] for row in found["rows"])
    assert all(len(row["ratio"]["a"]) == row["pairs"] for row in found["rows"])


def test_an_unknown_group_is_named() -> None:
    done = benchmarks("--only", "operators")
    assert done.returncode == 2
    assert "unknown group 'operators'; known: operator, roads, loop, block" in done.stderr
