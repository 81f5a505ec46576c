"""A ratio is called equal where its interval says so, and no sooner."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest

from pdebench.run.matching.paired_ratio import FAR, LOOKS, measure_ratio


def noisy(ratio: float, spread: float, seed: int) -> Iterator[float]:
    random = np.random.default_rng(seed)
    return (float(math.exp(math.log(ratio) + random.normal(0, spread))) for _ in itertools.count())


@pytest.mark.parametrize("ratio", [0.99, 1.0, 1.01])
def test_what_is_equal_is_found_so_at_the_first_look(ratio):
    found = measure_ratio(noisy(ratio, 0.002, 0).__next__)
    assert (found.verdict, len(found.pairs)) == ("inside", LOOKS[0])
    assert found.low is not None
    assert found.high is not None
    assert 0.98 <= found.low <= found.estimate <= found.high <= 1.02
    assert found.low <= ratio <= found.high


@pytest.mark.parametrize(("ratio", "pairs"), [(1 + 1.01 * FAR * 0.02, 1), (0.5, 1), (1.03, 3), (0.97, 3)])
def test_what_is_far_off_takes_few_pairs(ratio, pairs):
    found = measure_ratio(itertools.repeat(ratio).__next__)
    assert (found.verdict, len(found.pairs), found.low) == ("outside", pairs, None)
    assert found.estimate == pytest.approx(ratio)


def test_noise_leaves_it_undecided_with_its_interval():
    pairs = itertools.cycle([0.95, 1.05])
    found = measure_ratio(pairs.__next__)
    assert (found.verdict, len(found.pairs)) == ("undecided", LOOKS[-1])
    assert found.low is not None
    assert found.low < 0.98


def test_it_ends_when_its_time_is_over():
    found = measure_ratio(itertools.repeat(1.0).__next__, over=lambda: True)
    assert (found.verdict, found.pairs) == ("undecided", (1.0,))


@pytest.mark.parametrize("spread", [0.005, 0.015])
@pytest.mark.parametrize("ratio", [1.0205, 1 / 1.0205])
def test_what_is_just_not_equal_is_seldom_called_so(ratio, spread):
    """At the edge a 95% interval, however often it is looked at, is inside by chance in 1 of 40 at most."""
    trials = 400
    wrong = sum(measure_ratio(noisy(ratio, spread, seed).__next__).verdict == "inside" for seed in range(trials))
    assert wrong <= trials * 0.025 + 2 * math.sqrt(trials * 0.025)


def test_its_interval_holds_the_truth():
    """With looks and early ends, at least 95 of 100 intervals that are given do."""
    found = [measure_ratio(noisy(1.004, 0.012, seed).__next__) for seed in range(400)]
    given = [one for one in found if one.low is not None and one.high is not None]
    assert len(given) > 300
    assert sum(one.low <= 1.004 <= one.high for one in given) >= 0.95 * len(given) - 2 * math.sqrt(0.05 * len(given))
