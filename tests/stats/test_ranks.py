"""Shifts by ranks: the same p-values as scipy's exact tests, and bounds that hold as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pdebench.stats.ranks import paired, unpaired


@pytest.mark.parametrize("count", [1, 2, 7, 20, 45])
def test_p_values_of_pairs_are_wilcoxons(count: int) -> None:
    d = np.random.default_rng(count).normal(0.3, 1, count)
    shift = paired(d)
    for bound in (-0.5, 0.0, 0.7):
        above, below = (
            stats.wilcoxon(d - bound, alternative=side, method="exact").pvalue for side in ("greater", "less")
        )
        assert shift.p_above(bound) == pytest.approx(above)
        assert shift.p_below(bound) == pytest.approx(below)


@pytest.mark.parametrize(("m", "n"), [(1, 1), (3, 8), (8, 3), (10, 12)])
def test_p_values_of_two_samples_are_mann_and_whitneys(m: int, n: int) -> None:
    random = np.random.default_rng(m)
    x, y = random.normal(size=m), random.normal(0.4, size=n)
    shift = unpaired(x, y)
    above, below = (
        stats.mannwhitneyu(y - 0.1, x, alternative=side, method="exact").pvalue for side in ("greater", "less")
    )
    assert shift.p_above(0.1) == pytest.approx(above)
    assert shift.p_below(0.1) == pytest.approx(below)


def test_bounds_are_where_the_tests_turn() -> None:
    shift = paired(np.random.default_rng(1).normal(0.3, 1, 15))
    low, high = shift.lower(0.05), shift.upper(0.05)
    assert low < shift.estimate < high
    assert shift.p_above(low - 1e-9) <= 0.05 < shift.p_above(low)
    assert shift.p_below(high + 1e-9) <= 0.05 < shift.p_below(high)


def test_bounds_hold_as_often_as_they_say_for_noise_with_bursts() -> None:
    random = np.random.default_rng(0)
    nights = [0.05 + 0.02 * random.standard_t(1.5, size=16) for _ in range(400)]
    missed = np.mean([paired(d).lower(0.05) > 0.05 for d in nights])
    assert 0.02 < missed < 0.08


def test_too_few_pairs_have_no_bound_and_could_not_have_found_anything() -> None:
    shift = paired([0.1, 0.1, 0.1, 0.1])
    assert shift.p_above(0) == 1 / 16
    assert shift.lower(0.05) == -np.inf
    assert shift.upper(0.05) == np.inf
    assert np.isinf(shift.margins(0.05)).all()
    assert paired([0.1] * 5).lower(0.05) == pytest.approx(0.1)


def test_margins_tell_what_other_nights_would_have_found() -> None:
    """Of 200 nights with the shift that the margins promise to be found in 9 of 10, about as many find it."""
    random = np.random.default_rng(2)
    margin = float(np.quantile(paired(random.normal(0, 0.02, 30)).margins(0.01), 0.9))
    found = np.mean([paired(margin + random.normal(0, 0.02, 30)).lower(0.01) > 0 for _ in range(200)])
    assert 0.7 < found <= 1
