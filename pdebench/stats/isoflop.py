"""IsoFLOP profiles: at each budget the size of the least loss, and how it grows (arXiv 2203.15556, approach 2).

The optimum is that of a parabola in log N through the means of up to five sizes around the best one. One at the edge of
the sizes that ran is marked, and left out of the law `N = G C^a`: the best size may lie beyond.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pdebench.data.nouns import plural
from pdebench.errors import InsufficientData
from pdebench.stats.bootstrap import RESAMPLES, Interval, interval
from pdebench.stats.power_sum import Array
from pdebench.stats.runs import SAME_BUDGET, Runs

FEWEST_SIZES = 3
FEWEST_BUDGETS = 3
DECADE = 10.0
_AROUND = 2  # sizes on each side of the best one


@dataclass(frozen=True)
class Profile:
    """One budget.

    Attributes:
        flops: of the budget, the median.
        n: the sizes that ran, ascending.
        loss: their mean (geometric) over runs.
        best: the size of the least loss; None: the least is at the edge of the sizes.
        least: the loss there.
        curve: coefficients of the parabola in log N - log N of the best size that ran: log L = c0 + c1 x + c2 x^2.
    """

    flops: float
    n: tuple[float, ...]
    loss: tuple[float, ...]
    best: Interval | None
    least: float | None
    curve: tuple[float, float, float]


@dataclass(frozen=True)
class IsoFlop:
    """The profiles, and the exponent of the best size against compute; None where too few budgets have one.

    `why` says what the exponent lacks; `slopes` is the exponent in the whole table and in its resamples, (1 + R,), from
    `used` runs and as many `parameters` as the profiles have.
    """

    profiles: tuple[Profile, ...]
    a: Interval | None
    why: str = ""
    slopes: Array | None = field(default=None, repr=False, compare=False)
    used: int = field(default=0, repr=False, compare=False)
    parameters: int = field(default=0, repr=False, compare=False)


def isoflop(runs: Runs, count: int = RESAMPLES) -> IsoFlop:
    """Profiles of every budget with three sizes or more.

    Raises:
        InsufficientData: there is none, or fewer runs than it has sizes.
    """
    if runs.count < FEWEST_SIZES:
        raise InsufficientData(f"{plural(runs.count, 'run')}, where the sizes of a profile need {FEWEST_SIZES} or more")
    budget = runs.budget
    chosen = [
        index for index in range(int(budget.max()) + 1) if len(np.unique(runs.n[budget == index])) >= FEWEST_SIZES
    ]
    if not chosen:
        raise InsufficientData(f"no budget was run at {FEWEST_SIZES} sizes or more")
    weights = np.vstack([np.ones(len(runs.n)), runs.resamples(count)])
    profiles, optima, flops = [], [], []
    for index in chosen:
        rows = budget == index
        compute = float(np.median(runs.flops[rows]))
        here = runs.only(rows)
        profile, best = _profile(here.n, np.log(here.loss), weights[:, rows], compute, here.count)
        profiles.append(profile)
        if profile.best is not None:
            optima.append(best)
            flops.append(compute)
    if len(flops) < FEWEST_BUDGETS:
        why = f"{len(flops)} budgets with a best size inside those that ran, where an exponent needs {FEWEST_BUDGETS}"
        return IsoFlop(tuple(profiles), None, f"insufficient data: {why}")
    if max(flops) < DECADE / SAME_BUDGET * min(flops):
        return IsoFlop(tuple(profiles), None, "insufficient data: the budgets span less than a decade of compute")
    slopes = _slopes(np.log(flops), np.array(optima).T)
    inside = np.isin(budget, chosen)
    used = len(np.unique(runs.run[inside]))
    parameters = min(3 * len(flops), used - 2)
    a = interval(float(slopes[0]), slopes[1:], runs=used, parameters=parameters)
    return IsoFlop(tuple(profiles), a, slopes=slopes, used=used, parameters=parameters)


def _profile(n: Array, y: Array, weights: Array, flops: float, runs: int) -> tuple[Profile, Array]:
    """A budget's profile, and log N of the best size in the whole table and in each resample (NaN: at the edge)."""
    sizes, where = np.unique(n, return_inverse=True)
    counts = weights @ np.eye(len(sizes))[where]
    with np.errstate(invalid="ignore"):
        means = (weights * y) @ np.eye(len(sizes))[where] / counts
    lowest = int(np.argmin(means[0]))
    near = slice(max(0, lowest - _AROUND), lowest + _AROUND + 1)
    x = np.log(sizes) - np.log(sizes[lowest])
    curves = _parabolas(x[near], means[:, near], counts[:, near])
    with np.errstate(all="ignore"):
        vertex = -curves[:, 1] / (2 * curves[:, 2])
        inside = (curves[:, 2] > 0) & (vertex > x[near][0]) & (vertex < x[near][-1])
    optima = np.where(inside, vertex + np.log(sizes[lowest]), np.nan)
    edge = lowest in (0, len(sizes) - 1) or not inside[0]
    best, least = None, None
    if not edge:
        found = np.exp(optima)
        best = interval(float(found[0]), found[1:], runs=runs, parameters=min(3, runs - 1))
        least = float(np.exp(np.polyval(curves[0, ::-1], vertex[0])))
    losses = tuple(map(float, np.exp(means[0])))
    curve = tuple(map(float, curves[0]))
    return Profile(flops, tuple(map(float, sizes)), losses, best, least, curve), optima  # type: ignore[arg-type]


def _parabolas(x: Array, means: Array, counts: Array) -> Array:
    """Least squares of each resample's means, weighted by their runs, (R, 3); NaN of under three sizes."""
    powers = np.vander(x, 3, increasing=True)
    y = np.where(counts > 0, means, 0.0)
    normal = np.einsum("rs,si,sj->rij", counts, powers, powers)
    right = np.einsum("rs,si->ri", counts * y, powers)
    solvable = (counts > 0).sum(axis=1) >= FEWEST_SIZES
    normal[~solvable] = np.eye(3)
    curves = np.linalg.solve(normal, right[..., None])[..., 0]
    curves[~solvable] = np.nan
    return np.asarray(curves)


def _slopes(x: Array, y: Array) -> Array:
    """Of lines through each row's known points, (R,); NaN where fewer than two are known."""
    known = np.isfinite(y)
    count = known.sum(axis=1)
    with np.errstate(all="ignore"):
        middle = (known * x).sum(axis=1) / count
        level = np.where(known, y, 0).sum(axis=1) / count
        away = np.where(known, x - middle[:, None], 0)
        slopes = (away * np.where(known, y - level[:, None], 0)).sum(axis=1) / (away**2).sum(axis=1)
    return np.asarray(np.where(count >= 2, slopes, np.nan))
