"""Differences of many settings from one reference hold all at once, over places that are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdebench.stats.paired import paired
from pdebench.stats.simultaneous import Pairs, mean_difference


def pairs(rng: np.random.Generator, seeds: int = 3, spread: float = 1.0, shift: float = 0.0) -> Pairs:
    own, reference = rng.normal(size=(2, seeds)) * spread
    return (
        {float(i): float(x) + shift for i, x in enumerate(own)},
        {float(i): float(x) for i, x in enumerate(reference)},
    )


def test_one_place_and_one_setting_are_the_paired_interval() -> None:
    own, reference = pairs(np.random.default_rng(0), seeds=5)
    found, expected = mean_difference([(own, reference)], settings=1), paired(own, reference)
    assert found is not None
    assert expected is not None
    assert (found.mean, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))


def test_a_place_with_two_pairs_says_nothing_of_their_spread() -> None:
    rng = np.random.default_rng(0)
    assert mean_difference([pairs(rng), pairs(rng, seeds=2)], settings=1) is None
    assert mean_difference([], settings=1) is None


def test_seeds_that_only_one_of_them_has_are_left_out() -> None:
    own, reference = pairs(np.random.default_rng(0), seeds=3)
    more = {**own, 7.0: 99.0}
    assert mean_difference([(more, reference)], settings=2) == mean_difference([(own, reference)], settings=2)


def test_every_place_weighs_the_same_however_many_seeds_it_has() -> None:
    ones, fives = {float(i): 1.0 for i in range(3)}, {float(i): 5.0 for i in range(9)}
    zeros = {float(i): 0.0 for i in range(9)}
    found = mean_difference([(ones, zeros), (fives, zeros)], settings=4)
    assert found is not None
    assert (found.mean, found.places, found.pairs) == (3.0, 2, 12)
    assert (found.low, found.high) == (3.0, 3.0)  # without any spread


@given(st.integers(0, 2**32 - 1), st.floats(-5, 5), st.integers(1, 30))
def test_a_shift_moves_the_interval_and_more_settings_widen_it(seed: int, shift: float, settings: int) -> None:
    places = [pairs(np.random.default_rng([seed, place])) for place in range(3)]
    moved = [({key: value + shift for key, value in own.items()}, reference) for own, reference in places]
    before, after = mean_difference(places, settings=settings), mean_difference(moved, settings=settings)
    wider = mean_difference(places[::-1], settings=settings + 1)
    assert before
    assert after
    assert wider
    assert (after.mean, after.low, after.high) == pytest.approx(
        [end + shift for end in (before.mean, before.low, before.high)]
    )
    assert wider.mean == pytest.approx(before.mean)
    assert wider.low < before.low < before.high < wider.high


@pytest.mark.parametrize("spreads", [(1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 3.0, 3.0)])
def test_all_of_sixteen_hold_at_once_beside_one_reference(spreads: tuple[float, ...]) -> None:
    """Nothing differs: in at most one study of twenty may anybody seem to. Single intervals at 95% nearly always do."""
    rng, studies, families = np.random.default_rng(1), 400, 16
    held = single = 0
    for _ in range(studies):
        references = [rng.normal(size=3) * spread for spread in spreads]
        wrong = alone = False
        for _ in range(families):
            places = [
                (dict(enumerate(rng.normal(size=3) * spread)), dict(enumerate(reference)))
                for spread, reference in zip(spreads, references, strict=True)
            ]
            told, one = mean_difference(places, settings=families), mean_difference(places, settings=1)
            assert told is not None
            assert one is not None
            wrong, alone = wrong or told.apart, alone or one.apart
        held += not wrong
        single += not alone
    assert held / studies >= 0.95
    assert single / studies < 0.75
