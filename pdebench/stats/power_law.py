"""Loss, or a Frechet distance, against training FLOPs on the envelope: `L = k C^-gamma`, with a floor or without.

The envelope is the best size of each budget. Whether the law has a floor is decided by what it would have predicted:
each budget but the largest, from the others but the largest, which is held out of that choice too (`holdout.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pdebench.data.nouns import plural
from pdebench.errors import InsufficientData
from pdebench.stats.bootstrap import RESAMPLES, Interval, interval
from pdebench.stats.power_sum import LEAST_SQUARES, Array, PowerSum
from pdebench.stats.runs import SAME_BUDGET, Runs

FEWEST_BUDGETS = 3
FEWEST_TO_CHOOSE = 5  # of which the largest is held out, and three are the fewest that a law with a floor is fitted to
DECADE = 10.0
_FOLDS = 8  # the most that budgets are left out in, to choose a form: one by one, where there are few


@dataclass(frozen=True)
class Envelope:
    """The least loss of each budget, in the whole table and in resamples of its runs.

    Attributes:
        flops: of each budget, ascending, (K,).
        y: log-loss, (1 + R, K), the whole table first; NaN where a resample has no run of a budget.
        n: the best size of each budget in the whole table.
        runs: that were at the best sizes.
    """

    flops: Array
    y: Array
    n: Array
    runs: int


@dataclass(frozen=True)
class PowerLaw:
    """The fitted law, each figure with its 95% interval.

    Attributes:
        floor: what is left at infinite compute; None: the law without one was chosen.
        k: loss at one FLOP, over the floor.
        gamma: the exponent.
        why: how the form was chosen.
        flops: of the envelope's budgets.
        loss: there.
        n: the sizes there.
        spread: standard deviation of the residuals of log L.
        curve: FLOPs, and the law with its band there, to be drawn.
    """

    floor: Interval | None
    k: Interval
    gamma: Interval
    why: str
    flops: tuple[float, ...]
    loss: tuple[float, ...]
    n: tuple[float, ...]
    spread: float
    curve: tuple[tuple[float, Interval], ...]


def too_narrow(times: float) -> str:
    """Why no law is fitted to runs whose compute spans so little."""
    span = f"{times:.2g}"
    spanned = "all runs have one compute" if span == "1" else f"the runs span {span} times in compute"
    return f"{spanned}, where a law needs a decade or more"


def refuse_narrow(runs: Runs) -> None:
    """Raise InsufficientData for runs that span less than a decade of compute."""
    if runs.flops.max() < DECADE / SAME_BUDGET * runs.flops.min():
        raise InsufficientData(too_narrow(float(runs.flops.max() / runs.flops.min())))


def envelope(runs: Runs, count: int = RESAMPLES, weights: Array | None = None) -> Envelope:
    """The envelope of the runs: budgets that were run at fewer than half as many sizes as another are left out.

    Args:
        runs: of one group.
        count: resamples.
        weights: of the rows, (R, rows), in place of resamples.

    Raises:
        InsufficientData: fewer than three runs or budgets, or less than a decade between them.
    """
    if runs.count < FEWEST_BUDGETS:
        raise InsufficientData(f"{plural(runs.count, 'run')}, where a law of compute needs {FEWEST_BUDGETS} or more")
    budget = runs.budget
    total = int(budget.max()) + 1 if len(budget) else 0
    tried = [len(np.unique(runs.n[budget == index])) for index in range(total)]
    chosen = [index for index in range(total) if 2 * tried[index] >= max(tried)]
    if len(chosen) < FEWEST_BUDGETS:
        raise InsufficientData(f"{len(chosen)} budgets, where a law of compute needs {FEWEST_BUDGETS} or more")
    flops = np.array([np.median(runs.flops[budget == index]) for index in chosen])
    if flops[-1] * SAME_BUDGET < DECADE * flops[0]:
        raise InsufficientData(too_narrow(float(flops[-1] / flops[0])))
    weights = np.vstack([np.ones(len(runs.n)), runs.resamples(count) if weights is None else weights])
    y, sizes, used = [], [], 0
    for index in chosen:
        rows = budget == index
        here, where = np.unique(runs.n[rows], return_inverse=True)
        share = np.eye(len(here))[where]
        with np.errstate(invalid="ignore"):
            means = (weights[:, rows] * np.log(runs.loss[rows])) @ share / (weights[:, rows] @ share)
        y.append(np.where(np.isfinite(means), means, np.inf).min(axis=1))
        best = here[int(np.nanargmin(means[0]))]
        sizes.append(best)
        used += len(np.unique(runs.run[rows & (runs.n == best)]))
    found = np.array(y).T
    return Envelope(flops, np.where(np.isfinite(found), found, np.nan), np.array(sizes), used)


def power_law(found: Envelope, points: int = 40) -> PowerLaw:
    """The law of an envelope, its form chosen by held-out error, and its band at as many points."""
    floor, why = choose(found)
    law, theta = fitted(found, floor)
    parameters = law.size

    def told(values: Array) -> Interval:
        return interval(float(values[0]), values[1:], runs=found.runs, parameters=min(parameters, found.runs - 1))

    grid = np.geomspace(found.flops[0] / 1.3, found.flops[-1] * 3, points)
    lines = np.exp(law.predict(theta, np.log(grid)[None]))
    residuals = found.y[0] - law.predict(theta[:1])[0]
    return PowerLaw(
        floor=told(np.exp(theta[:, 0])) if floor else None,
        k=told(law.coefficients(theta)[:, 0]),
        gamma=told(law.exponents(theta)[:, 0]),
        why=why,
        flops=tuple(map(float, found.flops)),
        loss=tuple(map(float, np.exp(found.y[0]))),
        n=tuple(map(float, found.n)),
        spread=float(np.sqrt(np.sum(residuals**2) / max(1, len(residuals) - parameters))),
        curve=tuple((float(flops), told(lines[:, place])) for place, flops in enumerate(grid)),
    )


def choose(found: Envelope) -> tuple[bool, str]:
    """Whether the law has a floor, and why."""
    budgets = len(found.flops)
    if budgets < FEWEST_TO_CHOOSE:
        return False, f"without a floor: under {FEWEST_TO_CHOOSE} budgets cannot tell one"
    errors, folds = {}, min(_FOLDS, budgets - 1)
    for floor in (False, True):
        misses: list[float] = []
        for fold in range(folds):
            left = np.arange(budgets - 1) % folds == fold
            x, y = np.log(found.flops[:-1])[None], found.y[0, :-1]
            law = PowerSum(x[:, ~left], floor=floor, delta=LEAST_SQUARES)
            misses.extend(y[left] - law.predict(law.fit(y[~left]).theta, x[:, left])[0])
        errors[floor] = float(np.sqrt(np.mean(np.square(misses))))
    better = errors[True] < errors[False]
    told = f"{errors[better]:.2%} off on a budget left out, against {errors[not better]:.2%}"
    return better, f"{'with' if better else 'without'} a floor: {told} {'without' if better else 'with one'}"


def fitted(found: Envelope, floor: bool) -> tuple[PowerSum, Array]:
    """The law's form and its parameters in the whole table and in each resample, (1 + R, p)."""
    law = PowerSum(np.log(found.flops)[None], floor=floor, delta=LEAST_SQUARES)
    known = np.isfinite(found.y)
    enough = known.sum(axis=1) >= law.size
    y, weights = np.where(known, found.y, found.y[0]), np.where(enough[:, None], known, 1.0)
    whole = law.fit(found.y[0]).theta
    theta = law.fit(y, weights.astype(float), near=whole[0], starts=2).theta
    theta[~enough] = np.nan
    theta[0] = whole[0]
    return law, theta
