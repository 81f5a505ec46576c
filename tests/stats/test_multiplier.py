"""The multiple of compute between two curves that are known, without a fit between."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdebench.stats.frontier import Frontier
from pdebench.stats.multiplier import multiplier, shared_losses

SPAN = (np.log(1e14), np.log(1e16))


def curve(times: float = 1.0, gamma: float = 0.2, scatter: float = 0.0, floor: float = 0.2) -> Frontier:
    """L = floor + (C / 1e15 / times)^-gamma, and 200 resamples of which each needs a little more or less compute."""
    x = np.linspace(SPAN[0] - 2.3, SPAN[1] + 2.3, 401)
    shifts = np.concatenate([[0.0], scatter * np.random.default_rng(0).normal(size=200)])
    y = np.log(floor + np.exp(-gamma * (x[None] - np.log(1e15 * times) - shifts[:, None])))
    return Frontier(x, y, SPAN)


@settings(max_examples=25, deadline=None)
@given(times=st.floats(0.2, 5.0), gamma=st.floats(0.05, 0.6), floor=st.floats(0.0, 1.0))
def test_any_multiple_comes_back_at_every_loss(times: float, gamma: float, floor: float) -> None:
    one, other = curve(times, gamma, floor=floor), curve(1.0, gamma, floor=floor)
    found = multiplier(one, other, runs=50, parameters=5)
    turned = multiplier(other, one, runs=50, parameters=5)
    assert found is not None
    assert turned is not None
    assert [inside.value for inside in found.times] == pytest.approx([times] * 15, rel=0.01)
    assert turned.middle.value * found.middle.value == pytest.approx(1.0, rel=1e-6)
    assert found.growth.value == pytest.approx(1.0, abs=0.02)
    assert turned.loss == pytest.approx(found.loss)


def test_the_growth_is_the_ratio_of_exponents():
    """Without a floor log C is log-loss over gamma: the multiple goes as C^(gamma of the reference / own - 1)."""
    found = multiplier(curve(gamma=0.2, floor=0.0), curve(gamma=0.25, floor=0.0), runs=50, parameters=5)
    assert found is not None
    assert found.growth.value == pytest.approx(10 ** (0.25 / 0.2 - 1), rel=0.01)
    assert found.p_level < 1e-6 or found.growth.low > 1
    assert found.times[0].value < 1 < found.times[-1].value


def test_the_interval_is_that_of_the_resamples():
    found = multiplier(curve(2.0, scatter=0.1), curve(1.0), runs=100_000, parameters=5)
    assert found is not None
    assert np.log(found.middle.high / found.middle.low) == pytest.approx(2 * 1.96 * 0.1, rel=0.2)
    assert found.p_one < 1e-6
    alike = multiplier(curve(1.0, scatter=0.1), curve(1.0), runs=100_000, parameters=5)
    assert alike is not None
    assert alike.p_one > 0.5


def test_resamples_in_step_have_no_scatter():
    """What moves both by the same leaves the multiple as it was."""
    found = multiplier(curve(2.0, scatter=0.1, floor=0.0), curve(1.0, scatter=0.1, floor=0.0), runs=50, parameters=5)
    assert found is not None
    assert (found.middle.low, found.middle.high) == pytest.approx((2.0, 2.0), rel=0.01)


def test_losses_are_those_that_both_measured():
    one, other = curve(3.0), curve(1.0)
    low, high = shared_losses(one, other)
    assert np.exp(low) == pytest.approx(0.2 + (1e16 / 3e15) ** -0.2, rel=1e-3)  # the slower one at its largest budget
    assert np.exp(high) == pytest.approx(0.2 + (1e14 / 1e15) ** -0.2, rel=1e-3)  # the faster one at its smallest
    assert shared_losses(curve(1e-3), curve(1.0)) is None
    assert multiplier(curve(1e-3), curve(1.0), runs=50, parameters=5) is None
