"""The interval of a median, from the quartiles of a few samples."""

import math

import numpy as np
import pytest

from pdebench.stats.median import MANY, half_width
from pdebench.system.durations import spread


@pytest.mark.parametrize("n", [2, 3, 4, 7, 11, 40])
def test_intervals_hold_the_truth_in_95_of_100_runs(n: int) -> None:
    chance, held = np.random.default_rng(n), 0
    for _ in range(2000):
        run = spread(chance.normal(10, 0.1, n).tolist())  # as a record summarises timings
        held += abs(run.median - 10) <= half_width(n) * (run.q3 - run.q1)
    assert 0.935 <= held / 2000 <= 0.965  # three standard errors


def test_two_samples_have_students_interval() -> None:
    assert half_width(2) == pytest.approx(12.706, rel=0.03)


def test_the_limit_of_many_is_where_few_lead_to() -> None:
    assert half_width(MANY - 1) == pytest.approx(half_width(MANY), rel=0.05)


def test_one_sample_has_no_interval() -> None:
    with pytest.raises(ValueError, match="two samples or more"):
        half_width(1)
    assert math.isfinite(half_width(2))
