"""Where one family overtakes another."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdebench.stats.crossover import Measured, above_everywhere, crossovers, measured

SIZES = (64.0, 256.0, 1024.0, 4096.0)


def power_law(at: float, slope: float, error: float = 0.01) -> dict[float, Measured]:
    """A quantity whose ratio to a constant is (size / at)^slope."""
    return {size: Measured(slope * math.log(size / at), error) for size in SIZES}


CONSTANT = {size: Measured(0.0, 0.01) for size in SIZES}


@given(at=st.floats(70, 4000), slope=st.floats(0.2, 2), rises=st.booleans())
def test_a_power_law_crosses_where_it_does(at: float, slope: float, rises: bool) -> None:
    (found,) = crossovers(power_law(at, slope if rises else -slope), CONSTANT)
    assert found.at == pytest.approx(at, rel=1e-6)
    assert found.rises is rises


def test_the_interval_is_what_the_errors_allow() -> None:
    (found,) = crossovers(power_law(500, 0.5), CONSTANT)
    half = 1.96 * math.hypot(0.01, 0.01) / 0.5  # in log tokens
    assert found.low == pytest.approx(500 * math.exp(-half))
    assert found.high == pytest.approx(500 * math.exp(half))


def test_an_end_beyond_what_was_measured_is_not_made_up() -> None:
    (found,) = crossovers(power_law(66, 0.5, error=0.1), CONSTANT)
    assert found.low is None
    assert found.high is not None


def test_where_two_can_nowhere_be_told_apart_nothing_crosses() -> None:
    assert crossovers(power_law(500, 0.02, error=0.1), CONSTANT) == []


def test_of_one_timing_no_interval_is_made() -> None:
    alone = pd.DataFrame({"rate": [100.0], "rate_q1": [100.0], "rate_q3": [100.0], "rate_n": [1]})
    assert math.isnan(measured(alone, "rate").error)


def test_without_scatter_there_is_no_interval() -> None:
    (found,) = crossovers(power_law(500, 0.5, error=math.nan), CONSTANT)
    assert (found.low, found.high) == (None, None)


def test_a_size_without_scatter_further_off_takes_no_interval_away() -> None:
    ours = power_law(200, 0.5) | {4096.0: Measured(0.5 * math.log(4096 / 200), math.nan)}
    (found,) = crossovers(ours, CONSTANT)
    (whole,) = crossovers(power_law(200, 0.5), CONSTANT)
    assert (found.low, found.high) == (whole.low, whole.high)
    assert found.measured == (64.0, 1024.0)
    beside = ours | {256.0: Measured(0.5 * math.log(256 / 200), math.nan)}
    (found,) = crossovers(beside, CONSTANT)
    assert (found.low, found.high, found.measured) == (None, None, None)


def test_no_crossing_is_no_crossing() -> None:
    assert crossovers(power_law(5000, 0.5), CONSTANT) == []
    assert crossovers(power_law(500, 0.5), {8.0: Measured(0, 0)}) == []


def test_above_or_below_everywhere_is_said_of_shared_sizes_alone() -> None:
    assert above_everywhere(power_law(50, 0.5), CONSTANT) is True
    assert above_everywhere(power_law(5000, 0.5), CONSTANT) is False
    assert above_everywhere(power_law(500, 0.5), CONSTANT) is None
    assert above_everywhere(power_law(500, 0.5), {4096.0: Measured(0, 0), 8.0: Measured(0, 0)}) is True
    assert above_everywhere(CONSTANT, CONSTANT) is None
    assert above_everywhere(CONSTANT, {}) is None


def test_the_error_of_a_median_comes_from_its_quartiles_and_the_seeds() -> None:
    one = pd.DataFrame({"rate": [100.0], "rate_q1": [99.0], "rate_q3": [101.0], "rate_n": [100]})
    assert measured(one, "rate").error == pytest.approx(math.sqrt(math.pi / 2) * 2 / 1.349 / 10 / 100)
    seeds = pd.DataFrame(
        {"rate": [90.0, 110.0], "rate_q1": [90.0, 110.0], "rate_q3": [90.0, 110.0], "rate_n": [10, 10]}
    )
    assert measured(seeds, "rate").error == pytest.approx(math.log(110 / 90) / 2)
    assert math.isnan(measured(pd.DataFrame({"rate": [1.0]}), "rate").error)
