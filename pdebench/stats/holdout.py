"""The largest budget, predicted from all others with its interval before it is shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pdebench.errors import InsufficientData
from pdebench.stats.bootstrap import Interval, interval
from pdebench.stats.parametric import PARAMETERS, refit
from pdebench.stats.power_law import FEWEST_BUDGETS, Envelope, choose, fitted
from pdebench.stats.power_sum import Array
from pdebench.stats.runs import Runs

HELD_RESAMPLES = 400  # enough for an interval that one observation is held against
_FEWEST_HELD = 3
_SHARE = 0.1  # of the runs, those of the most compute, where the largest budget has only one or two


@dataclass(frozen=True)
class Held:
    """One point that was held out: what was predicted of its runs' mean, and what they had."""

    n: float
    flops: float
    runs: int
    predicted: Interval
    observed: float

    @property
    def covered(self) -> bool:
        """Whether the observation lies in the interval."""
        return self.observed in self.predicted


def held_parametric(runs: Runs, count: int = HELD_RESAMPLES) -> tuple[Held, ...]:
    """Every size of the largest budget, predicted by `L(N, D)` fitted to all smaller ones.

    Raises:
        InsufficientData: what is left cannot carry the law.
    """
    budget = runs.budget
    chosen = budget == budget.max()
    if chosen.sum() < _FEWEST_HELD:
        chosen = runs.flops >= np.quantile(runs.flops, 1 - _SHARE)
    rest = runs.only(~chosen)
    try:
        found = refit(rest, count)
    except InsufficientData as error:
        raise InsufficientData(
            f"{str(error).removeprefix('insufficient data: ')}, once the largest budget is held out"
        ) from None
    held = []
    points = np.unique(np.array([runs.n[chosen], runs.d[chosen]]), axis=1)
    lines = found.law.predict(np.vstack([found.theta, found.refits]), np.log(points))
    for place, (n, d) in enumerate(points.T):
        rows = chosen & (runs.n == n) & (runs.d == d)
        many = len(np.unique(runs.run[rows]))
        foretold = predicted(lines[:, place], found.residuals, many, rest.count, PARAMETERS)
        observed = float(np.exp(np.log(runs.loss[rows]).mean()))
        held.append(Held(float(n), float(np.median(runs.flops[rows])), many, foretold, observed))
    return tuple(held)


def held_envelope(found: Envelope, seeds: int) -> Held:
    """The envelope at the largest budget, predicted by the power law of all smaller ones.

    A handful of budgets often chooses the wrong form, so that the interval spans those of both: that of the chosen one
    alone held the truth in 72.5% of the draws of `benchmarks/coverage.py`.

    Args:
        found: the envelope; of its resamples as many as `HELD_RESAMPLES` are used.
        seeds: runs at its largest budget's best size.

    Raises:
        InsufficientData: fewer than three budgets are left.
    """
    budgets = len(found.flops) - 1
    if budgets < FEWEST_BUDGETS:
        raise InsufficientData(
            f"{budgets} budgets are left, once the largest is held out; a law needs {FEWEST_BUDGETS}"
        )
    before = Envelope(found.flops[:-1], found.y[: HELD_RESAMPLES + 1, :-1], found.n[:-1], found.runs - seeds)
    foretold = by_both_forms(before, float(found.flops[-1]), choose(found)[0])
    return Held(float(found.n[-1]), float(found.flops[-1]), seeds, foretold, float(np.exp(found.y[0, -1])))


def by_both_forms(before: Envelope, flops: float, floor: bool) -> Interval:
    """What an envelope's power law predicts at a budget; the interval spans those of the law with a floor and without.

    Args:
        before: the envelope.
        flops: of the budget.
        floor: whose form's estimate is told.
    """
    forms, budgets = {}, len(before.flops)
    for form in (False, True):
        law, theta = fitted(before, form)
        lines = law.predict(theta, np.log([[flops]]))[:, 0]
        residuals = before.y[0] - law.predict(theta[:1])[0]
        forms[form] = predicted(lines, residuals, 1, max(before.runs, budgets), min(law.size, budgets - 1))
    low, high = min(one.low for one in forms.values()), max(one.high for one in forms.values())
    return Interval(forms[floor].value, low, high)


def predicted(lines: Array, residuals: Array, many: int, runs: int, parameters: int) -> Interval:
    """Of the mean of `many` runs: the law's own uncertainty and the scatter of runs around it, in log-loss."""
    draws = np.random.default_rng(0)
    grown = np.sqrt(len(residuals) / max(1, len(residuals) - parameters))
    scatter = grown * draws.choice(residuals, size=(len(lines) - 1, many)).mean(axis=1)
    return interval(float(np.exp(lines[0])), np.exp(lines[1:] + scatter), runs=runs, parameters=parameters)
