"""Families beside one another: known differences and multiples of compute come back, with intervals that hold them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from family_tables import BETA, FAMILIES, SIZES, family_table

from pdebench.stats.comparison import PROFILES, ScalingComparison, comparisons, reference_of
from pdebench.stats.comparison_words import compute_sentence
from pdebench.stats.isoflop import isoflop
from pdebench.stats.paired_cells import paired
from pdebench.stats.parametric import refit
from pdebench.stats.power_law import envelope
from pdebench.stats.runs import Columns, Runs, runs_of
from pdebench.stats.scaling import Scaling, scale
from pdebench.stats.sensitivity import sensitivities

COLUMNS = Columns("params", "val_loss", "images", "flops", group=("family",))
TWO = {"PDE-SSM-DiT": 1.0, "DiT": 2.0}


def groups(frame) -> list[Runs]:
    return paired(runs_of(frame, COLUMNS))


def fits(frame, resamples=60) -> list[Scaling]:
    return [scale(runs, resamples) for runs in groups(frame)]


def quick(frame, resamples=60) -> list[Scaling]:
    """What comparisons are made from, without predictions and profiles, which take longer than all of it."""
    return [
        Scaling(runs.name, runs, None, None, None, (), None, {}, (), refit(runs, resamples), envelope(runs, resamples))
        for runs in groups(frame)
    ]


@cache
def reference_suite() -> dict[str, ScalingComparison]:
    return {one.family: one for one in comparisons(quick(family_table(), 100), "PDE-SSM-DiT")}


def test_twice_the_compute_comes_back_exactly_without_noise():
    (one,) = comparisons(quick(family_table(TWO, noise=0, seeds=(1,) * 5), 8), "PDE-SSM-DiT")
    assert one.compute is not None
    assert [times.value for times in one.compute.times] == pytest.approx([2.0] * 15, rel=0.01)
    assert one.compute.growth.value == pytest.approx(1.0, abs=0.01)
    assert one.images is not None
    assert one.images.middle.value == pytest.approx(2.0, rel=0.01)
    assert one.at_size == pytest.approx(np.sqrt(SIZES[0] * 1.02 * SIZES[-1]), rel=0.01)


def test_the_order_of_a_tables_rows_changes_no_interval():
    table = family_table({**TWO, "DiG": 1.0})
    told = []
    for frame in (table, table.sample(frac=1, random_state=0)):
        (one,) = (one for one in comparisons(quick(frame, 60), "PDE-SSM-DiT") if one.family == "DiT")
        assert one.compute is not None
        told.append([one.compute.middle.value, one.compute.middle.low, one.compute.middle.high])
    assert told[1] == pytest.approx(told[0], rel=1e-3)


def test_the_other_way_round_it_is_half():
    (one,) = comparisons(quick(family_table(TWO, noise=0, seeds=(1,) * 5), 8), "DiT")
    assert (one.family, one.reference) == ("PDE-SSM-DiT", "DiT")
    assert one.compute is not None
    assert one.compute.middle.value == pytest.approx(0.5, rel=0.01)


def test_nothing_is_said_beyond_the_losses_that_both_measured():
    frame = family_table(TWO, noise=0, seeds=(1,) * 5)
    (one,) = comparisons(quick(frame, 8), "PDE-SSM-DiT")
    best = frame.groupby(["family", "flops"])["val_loss"].min().groupby("family")
    assert one.compute is not None
    assert max(one.compute.loss) <= best.max().min() * 1.01
    assert min(one.compute.loss) >= best.min().max() * 0.99
    needed = np.array(one.compute.reference)
    assert needed.min() >= 1e14 * 0.99
    assert needed.max() * 2 <= 1e16 * 1.01


def test_laws_that_cross_change_sides():
    """More compute than the reference at first, less in the end; the multiple shrinks, beyond doubt."""
    frame = family_table({"PDE-SSM-DiT": 1.0, "DiT": 10.3}, noise=0.002, seeds=(2,) * 5, betas={"DiT": 0.47})
    (one,) = comparisons(quick(frame, 100), "PDE-SSM-DiT")
    assert one.compute is not None
    logs = np.log([times.value for times in one.compute.times])
    assert logs[0] > 0 > logs[-1]
    assert one.compute.growth.value < 1
    assert one.compute.growth.high < 1
    assert one.grows


def test_families_that_share_no_losses_have_no_multiple():
    (one,) = comparisons(quick(family_table({"PDE-SSM-DiT": 1.0, "DiT": 900.0}), 8), "PDE-SSM-DiT")
    assert one.compute is None
    assert one.why == "they reached no losses that both have"
    assert one.exponents


def test_the_reference_suite_is_told_right():
    found = reference_suite()
    assert list(found) == ["DiT", "Mamba-DiT", "DiG", "None-DiT"]
    for family, one in found.items():
        assert one.reference == "PDE-SSM-DiT"
        assert one.pairs == 45
        assert one.compute is not None
        assert FAMILIES[family] in one.compute.middle, family
        assert one.compute.middle.high / one.compute.middle.low < 2
        assert not one.grows
        assert not any(exponent.apart for exponent in one.exponents), family
        for exponent in one.exponents:
            assert exponent.difference.value == pytest.approx(exponent.family - exponent.reference)
    assert {family: one.apart for family, one in found.items()} == {
        "DiT": True, "Mamba-DiT": True, "DiG": False, "None-DiT": True,
    }  # fmt: skip


def test_an_exponent_that_differs_is_found():
    frame = family_table({"PDE-SSM-DiT": 1.0, "DiT": 1.0}, noise=0.002, seeds=(3,) * 5, betas={"DiT": 0.5})
    (one,) = comparisons(quick(frame, 100), "PDE-SSM-DiT")
    beta = next(exponent for exponent in one.exponents if exponent.exponent == "beta")
    assert 0.5 - BETA in beta.difference
    assert beta.apart


def test_what_all_families_share_drops_out_of_a_difference():
    """The noise of a cell that is the same in both widens each family's interval, and not that of the difference."""
    frame = family_table({"PDE-SSM-DiT": 1.0, "DiT": 1.0}, noise=0.0005, together=0.01)
    both = fits(frame)
    (one,) = comparisons(both, "PDE-SSM-DiT")
    for exponent in one.exponents[:3]:
        assert both[0].parametric is not None
        own = getattr(both[0].parametric, exponent.exponent)
        assert exponent.difference.high - exponent.difference.low < 0.4 * (own.high - own.low)


def test_groups_share_the_draws_of_their_cells():
    frame = family_table(TWO)
    one, other = groups(frame)
    assert (one.resamples(20) == other.resamples(20)).all()
    backwards = groups(frame[::-1].reset_index(drop=True))
    assert (backwards[0].resamples(20) == backwards[1].resamples(20)).all()
    missing = groups(frame.drop(index=[3, 4, 5, 50]))
    for runs in missing:
        assert (runs.resamples(20).sum(axis=1) == runs.count).all()  # each by itself is a usual bootstrap
    drawn = [dict(zip(runs.cell.tolist(), runs.resamples(400).T, strict=True)) for runs in missing]
    shared = [np.corrcoef(drawn[0][cell], drawn[1][cell])[0, 1] for cell in drawn[0].keys() & drawn[1].keys()]
    assert min(shared) > 0.9


def test_groups_without_a_common_cell_are_drawn_apart():
    frame = family_table(TWO)
    frame.loc[frame["family"] == "DiT", "flops"] *= 1000
    frame.loc[frame["family"] == "DiT", "images"] *= 1000
    one, other = groups(frame)
    assert not (set(one.cell.tolist()) & set(other.cell.tolist()))
    assert abs(np.corrcoef(one.resamples(50).ravel(), other.resamples(50).ravel())[0, 1]) < 0.2


def test_other_conditions_are_not_compared():
    frame = family_table(TWO, noise=0, seeds=(1,) * 5)
    frame["set"] = np.where(frame["family"] == "DiT", "photos", "emoji")
    columns = Columns("params", "val_loss", "images", "flops", group=("family", "set"))
    assert comparisons([scale(runs, 4) for runs in paired(runs_of(frame, columns))]) == []


def test_where_no_law_of_both_is_fitted_the_best_of_each_budget_stands_in():
    """Two sizes carry no L(N, D), and a law of compute."""
    frame = family_table(TWO, noise=0.001, seeds=(1,) * 5)
    few = frame[frame.groupby("family")["params"].rank(method="dense").isin([2, 3])]
    both = fits(few, 30)
    assert both[0].refits is None
    (one,) = comparisons(both, "PDE-SSM-DiT")
    assert one.by == "the best of each budget"
    assert [exponent.exponent for exponent in one.exponents] == ["gamma"]
    assert one.compute is not None
    assert one.compute.middle.value == pytest.approx(2.0, rel=0.15)
    assert one.images is None
    assert "by the best of each budget" in compute_sentence(one)
    told = sensitivities(both, [one])[1]
    whole = next(line for line in told.lines if line.left_out == "nothing")
    assert whole.times == pytest.approx(one.compute.middle.value, rel=1e-3)


def test_groups_that_differ_in_what_a_family_has_are_all_held_against_the_one_with_the_most_runs():
    frame = family_table(TWO, noise=0, seeds=(2, 2, 1, 1, 1))
    frame["family"] = frame["family"].where((frame["seed"] == 0) | (frame["family"] == "DiT"), "PDE-SSM-DiT, lr 2")
    found = [scale(runs, 4) for runs in groups(frame)]
    assert reference_of(found, "PDE-SSM-DiT").group == "PDE-SSM-DiT"
    assert reference_of(found, "PDE-SSM-DiT, lr 2").group == "PDE-SSM-DiT, lr 2"
    assert reference_of(found, "nobody") is found[0]


def test_the_exponent_of_the_profiles_is_compared_in_the_same_draws():
    """Families of one law have one exponent of the best size; what a cell does to both drops out of the difference."""
    table = family_table(TWO, noise=0.0002, together=0.004, seed=3)
    both = [Scaling(runs.name, runs, None, isoflop(runs, 200), None, (), None, {}, ()) for runs in groups(table)]
    (one,) = comparisons(both, "PDE-SSM-DiT")
    (found,) = one.exponents
    assert found.exponent == PROFILES
    assert found.family == pytest.approx(found.reference, abs=0.05)
    assert found.difference.low < 0 < found.difference.high
    assert not found.apart
    apart = [each.isoflop.a.high - each.isoflop.a.low for each in both]
    assert found.difference.high - found.difference.low < 0.75 * np.hypot(*apart)
    assert both[0].as_json()["isoflop"].keys() == {"profiles", "a", "why"}
