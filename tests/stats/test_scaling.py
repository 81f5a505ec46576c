"""Scaling laws on made-up tables: known exponents come back, and what cannot carry a law says so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pdebench.errors import InsufficientData, TableError
from pdebench.stats.bootstrap import Interval, interval, p_value, resamples
from pdebench.stats.isoflop import isoflop
from pdebench.stats.parametric import parametric, refit
from pdebench.stats.power_law import choose, envelope, power_law
from pdebench.stats.power_sum import PowerSum
from pdebench.stats.runs import Columns, Runs, runs_of
from pdebench.stats.scaling import Scaling
from pdebench.stats.scaling import scale as scale_with

E, A, B, ALPHA, BETA = 1.8, 480.0, 2085.0, 0.35, 0.37
COLUMNS = Columns("params", "val_loss", "images")


def table(*, noise=0.005, seeds=3, sizes=6, budgets=5, seed=0, decades=2.0, law=None) -> pd.DataFrame:
    """Sizes x budgets x seeds, as a suite with budgets leaves it."""
    random = np.random.default_rng(seed)
    best = 0.21 * (10 ** (18 + decades / 2) / 6) ** 0.5
    rows = []
    for flops in np.geomspace(1e18, 10 ** (18 + decades), budgets):
        for n in best * np.geomspace(0.1, 10, sizes):
            d = flops / 6 / n
            loss = law(n, d) if law else E + A * n**-ALPHA + B * d**-BETA
            rows += [(n, d, flops, loss * np.exp(noise * random.normal()), one) for one in range(seeds)]
    return pd.DataFrame(rows, columns=["params", "images", "flops", "val_loss", "seed"])


def runs(frame: pd.DataFrame, **changes) -> Runs:
    (found,) = runs_of(frame, Columns(**{"n": "params", "loss": "val_loss", "d": "images"} | changes))
    return found


def scale(found: Runs, resamples: int = 12) -> Scaling:
    """With fewer resamples than intervals to believe in need."""
    return scale_with(found, resamples)


def test_the_law_comes_back_exactly_without_noise():
    found = runs(table(noise=0, seeds=1))
    law = parametric(found, (1e21,), refit(found, 20))
    for name, truth in (("E", E), ("A", A), ("B", B), ("alpha", ALPHA), ("beta", BETA), ("a", BETA / (ALPHA + BETA))):
        assert getattr(law, name).value == pytest.approx(truth, rel=2e-3), name
    (best,) = law.allocations
    n = np.geomspace(best.n.value / 30, best.n.value * 30, 20_001)
    least = n[np.argmin(E + A * n**-ALPHA + B * (1e21 / 6 / n) ** -BETA)]
    assert best.n.value == pytest.approx(least, rel=0.02)
    assert best.n.value * best.d.value == pytest.approx(1e21 / 6)


def test_the_law_comes_back_within_its_intervals():
    found = scale(runs(table()), resamples=100)
    law = found.parametric
    assert law is not None
    for name, truth in (("alpha", ALPHA), ("beta", BETA), ("a", BETA / (ALPHA + BETA)), ("E", E)):
        inside = getattr(law, name)
        assert truth in inside
        assert inside.high - inside.low < 0.35 * max(truth, 0.5)
    assert law.spread == pytest.approx(0.005, rel=0.25)
    assert found.isoflop is not None
    assert found.isoflop.a is not None
    assert law.a.value == pytest.approx(found.isoflop.a.value, abs=0.1)
    assert len(found.held) == 6
    assert sum(point.covered for point in found.held) >= 4
    assert found.refusals == {}
    assert found.as_json()["parametric"]["alpha"]["value"] == law.alpha.value


@settings(max_examples=4)
@given(st.floats(-6, 6), st.floats(-6, 6), st.floats(-4, 4))
def test_units_do_not_matter(of_n, of_d, of_loss):
    """Millions of parameters, thousands of images, nats or bits: the exponents are the same."""
    frame = table(seeds=1, sizes=4, budgets=4)
    logs, y = np.log(frame[["params", "images"]].to_numpy().T), np.log(frame["val_loss"].to_numpy())
    one = PowerSum(logs, floor=True)
    other = PowerSum(logs + np.array([[of_n], [of_d]]), floor=True)
    plain, scaled = one.fit(y).theta, other.fit(y + of_loss).theta
    assert other.exponents(scaled) == pytest.approx(one.exponents(plain), rel=1e-3)
    assert np.exp(scaled[0, 0] - plain[0, 0]) == pytest.approx(np.exp(of_loss), rel=1e-3)
    ratio = other.coefficients(scaled) / one.coefficients(plain)
    expected = np.exp(of_loss + one.exponents(plain) * np.array([of_n, of_d]))
    assert ratio == pytest.approx(expected, rel=0.05)


@settings(max_examples=8)
@given(st.floats(0.1, 0.9), st.floats(0.1, 0.9), st.floats(0.05, 3.0))
def test_any_law_comes_back_without_noise(alpha, beta, floor):
    n, d = (grid.ravel() for grid in np.meshgrid(np.geomspace(0.03, 30, 6), np.geomspace(0.03, 30, 6)))
    law = PowerSum(np.log([n, d]), floor=True)
    found = law.fit(np.log(floor + n**-alpha + 0.7 * d**-beta))
    assert law.exponents(found.theta)[0] == pytest.approx([alpha, beta], rel=0.02)
    assert np.exp(found.theta[0, 0]) == pytest.approx(floor, rel=0.05)


def test_an_outlier_moves_little():
    """The Huber loss counts it by its size: a run that went wrong is no reason for another law."""
    frame = table(noise=0.002)
    clean = refit(runs(frame), 1)
    frame.loc[40, "val_loss"] *= 1.5
    wrong = refit(runs(frame), 1)
    assert wrong.law.exponents(wrong.theta) == pytest.approx(clean.law.exponents(clean.theta), rel=0.05)


def test_a_run_is_drawn_with_all_its_rows():
    run = np.array([0, 0, 0, 1, 1, 2])
    drawn = resamples(run, 50)
    assert (drawn[:, 0] == drawn[:, 2]).all()
    assert (drawn[:, 3] == drawn[:, 4]).all()
    assert (drawn[:, [0, 3, 5]].sum(axis=1) == 3).all()


def test_repeating_the_rows_of_runs_does_not_narrow_an_interval():
    """Three checkpoints of a run are not three runs."""
    frame = table(seeds=1).assign(run=lambda rows: np.arange(len(rows)))
    every = pd.concat([frame] * 3, ignore_index=True)
    once, often = (refit(runs(one, run="run"), 40) for one in (frame, every))
    assert often.refits == pytest.approx(once.refits, rel=1e-3, abs=1e-3)
    told = scale(runs(every, run="run")).warnings
    assert any(f"{len(every)} rows are of {len(frame)} runs" in warning for warning in told)


def test_an_interval_follows_a_skewed_bootstrap():
    draws = np.random.default_rng(0).normal(size=4000)
    plain = interval(0.0, draws, runs=10_000, parameters=5)
    assert (plain.low, plain.high) == pytest.approx((-1.96, 1.96), abs=0.12)
    few = interval(0.0, draws, runs=12, parameters=5)
    assert few.high > 1.2 * plain.high
    shifted = interval(0.3, draws, runs=10_000, parameters=5)  # refits fall short of the estimate
    assert shifted.low > plain.low + 0.3
    assert shifted.high > plain.high + 0.3


def test_the_envelope_tells_a_floor_from_none():
    compute = np.geomspace(1e12, 1e15, 8)
    for floor in (0.0, 0.4):
        frame = pd.DataFrame({"params": 1e6, "flops": compute, "val_loss": floor + 50 * compute**-0.15})
        front = envelope(runs(frame, d=None, flops="flops"), 10)
        assert choose(front)[0] is (floor > 0)
        law = power_law(front, points=3)
        assert law.gamma.value == pytest.approx(0.15, rel=0.02)
        assert (law.floor is None) if not floor else (law.floor.value == pytest.approx(floor, rel=0.02))


def test_a_law_of_compute_is_the_line_through_the_logs_of_the_best_losses():
    """These are the reference study's of PDE-SSM-DiT. The sum of their absolute deviations has no one least value, and
    a descent to it ended at .114."""
    flops = np.array([3e11, 1e12, 3e12, 1e13])
    losses = np.array([0.2462, 0.2075, 0.1881, 0.1761])
    frame = pd.DataFrame({"params": 1e5, "flops": flops, "val_loss": losses})
    found = power_law(envelope(runs(frame, d=None, flops="flops"), 10)).gamma.value
    assert found == pytest.approx(-np.polyfit(np.log(flops), np.log(losses), 1)[0], rel=1e-5)


def test_an_optimum_at_the_edge_is_marked_and_left_out():
    frame = table(noise=0.001, budgets=6)
    frame = frame[~((frame["flops"] > 9e19) & (frame["params"] > 1e9))]  # the largest budget lacks its best sizes
    profiles = isoflop(runs(frame), 50)
    assert [profile.best is None for profile in profiles.profiles] == [False] * 5 + [True]
    assert profiles.a is not None
    warned = scale(runs(frame)).warnings
    assert any(warning.startswith("edge optimum at 1e20 FLOPs") for warning in warned)


def test_the_largest_budget_is_not_seen_before_it_is_predicted():
    frame = table(noise=0.002, sizes=4)
    spoilt = frame.assign(val_loss=frame["val_loss"].where(frame["flops"] < 9e19, frame["val_loss"] * 3))
    honest, other = scale(runs(frame)), scale(runs(spoilt))
    for one, two in zip(honest.held, other.held, strict=True):
        assert one.predicted.value == two.predicted.value
        assert two.observed == pytest.approx(3 * one.observed)
        assert not two.covered
    assert other.held_envelope is not None
    assert not other.held_envelope.covered


SMALL = table(seeds=1)
REFUSED = [
    (SMALL.iloc[[0, 20]], "2 runs, where five parameters need 8 or more"),
    (
        SMALL[SMALL["params"] < 2 * SMALL["params"].min()].pipe(lambda f: pd.concat([f, f])),
        "1 size of the model, where",
    ),
    (SMALL.assign(images=SMALL["params"] * 20), "parameters and images grow together"),
    (SMALL.assign(images=1e9), "1 number of images"),
    (table(seeds=1, decades=0.5), "the runs span 3.2 times in compute, where a law needs a decade or more"),
    (SMALL.assign(val_loss=np.nan), "no row with all its numbers"),
]


@pytest.mark.parametrize(("frame", "why"), REFUSED, ids=[why[:20] for _, why in REFUSED])
def test_what_cannot_carry_the_law_is_refused(frame, why):
    found = scale(runs(frame))
    assert found.parametric is None
    assert found.refusals["L(N, D)"].startswith("insufficient data: ")
    assert why in found.refusals["L(N, D)"]


def test_one_run_of_many_checkpoints_is_refused():
    frame = pd.DataFrame({"params": 1e6, "images": np.geomspace(1e3, 1e6, 60), "run": "a"})
    frame["val_loss"] = 1 + frame["images"] ** -0.3
    found = scale(runs(frame, run="run"))
    assert found.empty
    assert "1 run, where" in found.refusals["L(N, D)"]
    with pytest.raises(InsufficientData):
        refit(runs(frame, run="run"), 2)


def test_what_weakens_a_law_is_said():
    frame = table(seeds=1, sizes=3)
    frame.loc[0, "val_loss"] = np.nan
    told = " | ".join(scale(runs(frame)).warnings)
    assert "1 row was left out" in told
    assert "only 3 sizes" in told
    assert "one seed" in told
    narrow = SMALL.assign(params=SMALL["params"] ** 0.4 * 1e5)
    assert "the parameters span" in " | ".join(scale(runs(narrow)).warnings)


def test_bad_columns_are_one_sentence():
    with pytest.raises(TableError, match="there is no column 'param'; did you mean 'params'"):
        runs(SMALL, n="param")
    with pytest.raises(TableError, match="name the column of the images, or that of the training FLOPs"):
        runs(SMALL, d=None)
    with pytest.raises(TableError, match="column 'seed' holds no numbers but, for example, 'first'"):
        runs(SMALL.assign(seed="first"), d="seed")


def test_images_follow_from_flops():
    one, other = runs(SMALL), runs(SMALL, d=None, flops="flops")
    assert other.d == pytest.approx(one.d)
    twice = runs(SMALL, d=None, flops="flops", factor=12)
    assert twice.d == pytest.approx(one.d / 2)


def test_an_interval_holds_its_ends():
    assert 2.0 in Interval(1.5, 1.0, 2.0)
    assert 2.1 not in Interval(1.5, 1.0, 2.0)
    assert float("nan") not in Interval(1.5, 1.0, 2.0)


def test_a_p_value_is_that_of_the_interval():
    draws = np.random.default_rng(0).normal(size=20_000)
    for value, expected in ((1.0, 0.317), (2.0, 0.0455), (3.0, 0.0027), (6.0, 2e-9)):
        p = p_value(value, draws + value, runs=100_000, parameters=5)
        assert np.log(p) == pytest.approx(np.log(expected), rel=0.15)
        assert (p < 0.05) is (0 not in interval(value, draws + value, runs=100_000, parameters=5))
    few = p_value(2.0, draws + 2, runs=10, parameters=5)
    assert few > 0.1
    assert p_value(0.0, np.zeros(50), runs=10, parameters=5) == 1.0
    assert p_value(1.0, np.full(50, np.nan), runs=10, parameters=5) == 1.0


def test_refits_have_false_p_values_in_equal_shares():
    """Of many estimates whose truth is 0, one in twenty has a p-value below .05."""
    random = np.random.default_rng(1)
    estimates = random.normal(size=2000)
    found = [p_value(one, one + random.normal(size=400), runs=10**6, parameters=5) for one in estimates]
    assert np.mean(np.array(found) < 0.05) == pytest.approx(0.05, abs=0.015)
    assert np.mean(np.array(found) < 0.5) == pytest.approx(0.5, abs=0.04)
