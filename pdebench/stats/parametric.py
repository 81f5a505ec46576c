"""The law of loss against parameters and data, `L(N, D) = E + A N^-alpha + B D^-beta` (arXiv 2203.15556, approach 3).

At a budget `C = k N D` it has its least loss at `N = G (C / k)^a`, with `a = beta / (alpha + beta)` and
`G = (alpha A / (beta B))^(1 / (alpha + beta))`; the images grow as `C^(1 - a)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdebench.data.nouns import plural
from pdebench.errors import InsufficientData
from pdebench.stats.bootstrap import RESAMPLES, Interval, interval
from pdebench.stats.power_sum import EXPONENTS, Array, PowerSum
from pdebench.stats.runs import Runs

PARAMETERS = 5
FEWEST_RUNS = 8  # five parameters, and some runs to tell their errors by
FEWEST_SIZES = 3
STARTS = 2  # of the grid, for each resample, beside the fit of the whole table
_TIED = 0.995  # correlation of log N and log D from which the two cannot be told apart


@dataclass(frozen=True)
class Allocation:
    """What a budget is best spent on, by the law."""

    flops: float
    n: Interval
    d: Interval


@dataclass(frozen=True)
class Parametric:
    """The fitted law, each figure with its 95% interval.

    Attributes:
        E, A, B, alpha, beta: of the law.
        a: exponent of the compute-optimal parameters, N ~ C^a.
        b: that of the images, 1 - a.
        allocations: the compute-optimal parameters and images of some budgets.
        spread: standard deviation of the residuals of log L.
        residuals: of log L, one a row of the runs.
        at_limit: share of the refits in which an exponent is at the end of its range.
    """

    E: Interval
    A: Interval
    B: Interval
    alpha: Interval
    beta: Interval
    a: Interval
    b: Interval
    allocations: tuple[Allocation, ...]
    spread: float
    residuals: tuple[float, ...]
    at_limit: float


@dataclass(frozen=True)
class Refits:
    """The law of the whole table and of its resamples, for predictions of other runs.

    Attributes:
        law: the form.
        theta: of the whole table, (1, p).
        refits: of the resamples, (R, p).
        residuals: of log L, (rows,).
    """

    law: PowerSum
    theta: Array
    refits: Array
    residuals: Array


def refuse(runs: Runs) -> None:
    """Raise InsufficientData for runs that the law cannot be fitted to."""
    lacking = [
        f"{what}, where the law needs {FEWEST_SIZES} or more"
        for count, what in (
            (len(runs.sizes), f"{plural(len(runs.sizes), 'size')} of the model"),
            (len(np.unique(runs.d)), f"{plural(len(np.unique(runs.d)), 'number')} of images"),
        )
        if count < FEWEST_SIZES
    ]
    if runs.count < FEWEST_RUNS:
        lacking.insert(0, f"{plural(runs.count, 'run')}, where five parameters need {FEWEST_RUNS} or more")
    if lacking:
        raise InsufficientData(" and ".join(lacking))
    if abs(np.corrcoef(np.log(runs.n), np.log(runs.d))[0, 1]) > _TIED:
        raise InsufficientData("parameters and images grow together, so what either is worth cannot be told")


def refit(runs: Runs, count: int = RESAMPLES) -> Refits:
    """Fit the law to the runs and to resamples of them, each from several starts.

    Raises:
        InsufficientData: they cannot carry it.
    """
    refuse(runs)
    law, y = PowerSum(np.log([runs.n, runs.d]), floor=True), np.log(runs.loss)
    theta = law.fit(y).theta
    refits = law.fit(y, runs.resamples(count), near=theta[0], starts=STARTS).theta
    return Refits(law, theta, refits, y - law.predict(theta)[0])


def optimum(law: PowerSum, theta: Array, product: float) -> Array:
    """The size of the least loss, (R,), among those whose N D is a given product, by laws of parameters (R, p)."""
    (alpha, beta), (a, b) = law.exponents(theta).T, law.coefficients(theta).T
    scale = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
    return np.asarray(scale * product ** (beta / (alpha + beta)))


def parametric(runs: Runs, budgets: Sequence[float], found: Refits) -> Parametric:
    """The law with its intervals, and the allocation of budgets (FLOPs)."""
    law, every = found.law, np.vstack([found.theta, found.refits])
    coefficients, exponents = law.coefficients(every), law.exponents(every)
    alpha, beta = exponents.T
    a = beta / (alpha + beta)

    def told(values: Array) -> Interval:
        return interval(float(values[0]), values[1:], runs=runs.count, parameters=PARAMETERS)

    allocations = []
    for flops in budgets:
        n = optimum(law, every, flops / runs.factor)
        allocations.append(Allocation(float(flops), told(n), told(flops / runs.factor / n)))
    ends = (exponents[1:] <= EXPONENTS[0] * 1.001) | (exponents[1:] >= EXPONENTS[1] / 1.001)
    return Parametric(
        E=told(np.exp(every[:, 0])),
        A=told(coefficients[:, 0]),
        B=told(coefficients[:, 1]),
        alpha=told(alpha),
        beta=told(beta),
        a=told(a),
        b=told(1 - a),
        allocations=tuple(allocations),
        spread=float(np.sqrt(np.sum(found.residuals**2) / max(1, len(runs.n) - PARAMETERS))),
        residuals=tuple(map(float, found.residuals)),
        at_limit=float(ends.any(axis=1).mean()),
    )
