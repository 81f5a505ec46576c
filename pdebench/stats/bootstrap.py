"""Intervals by a cluster bootstrap: runs are drawn, each with all its rows, never the rows of one run apart.

The ends are percentiles of the refits, corrected twice, because plain ones cover too much or too little (what was
tried, and how often each covered, stands in `results/coverage_scaling.txt`):

- for the bias of a skewed fit, as far as the refits' median is from the estimate (Efron 1987, BC);
- for the few runs there are: a sample of n spreads by sqrt((n - p) / n) too little after p parameters are fitted, and
  Student's t stands for the normal (Hesterberg 2015, arXiv 1411.5279, section 4: the expanded percentile interval).

Runs of two families that stand in one cell of the design (size, budget, seed) are drawn together: a difference of the
families then rests on pairs (`paired_cells.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdebench.stats.power_sum import Array

RESAMPLES = 1000
CONFIDENCE = 0.95
_MOST_BIAS = 0.95  # share of the refits on one side of the estimate, beyond which the correction takes no more

_FEWEST_BEYOND = 5  # refits beyond 0, by whose number a p-value goes


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95% interval.

    Attributes:
        lost: share of the refits that gave no number, of which the interval knows nothing.
    """

    value: float
    low: float
    high: float
    lost: float = 0.0

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int | float | np.number) and self.low <= float(value) <= self.high


def resamples(
    runs: NDArray[np.int64],
    count: int = RESAMPLES,
    seed: int = 0,
    *,
    cell: NDArray[np.int64] | None = None,
    cells: int = 0,
) -> Array:
    """How often each row is drawn in each resample of the runs, (count, rows).

    Each resample is an endless list of cells of the design, drawn alike, of which a group takes the first that it has
    runs in, as many as it has runs. To the group that is the usual bootstrap, and groups that share a cell share its
    draws.

    Args:
        runs: which run each row is of, 0 and on.
        count: resamples.
        seed: of the draws; the same table has the same intervals.
        cell: of each run, among those of all groups; none: the group is alone.
        cells: that all groups have together.
    """
    clusters = int(runs.max()) + 1
    cell, cells = (np.arange(clusters), clusters) if cell is None else (cell, cells)
    run_of = np.full(cells, -1)
    run_of[cell] = np.arange(clusters)
    random = np.random.default_rng(seed)
    drawn, lacking = np.zeros((count, clusters)), np.full(count, clusters)
    while lacking.any():
        listed = run_of[random.integers(cells, size=(count, cells))]
        own = listed >= 0
        taken = own & (np.cumsum(own, axis=1) <= lacking[:, None])
        resample = np.nonzero(taken)[0]
        drawn += np.bincount(resample * clusters + listed[taken], minlength=count * clusters).reshape(drawn.shape)
        lacking -= taken.sum(axis=1)
    return np.asarray(drawn[:, runs], dtype=float)


def interval(value: float, refits: Array, *, runs: int, parameters: int) -> Interval:
    """The interval of an estimate from its refits; those that are not finite are left out, and counted.

    Args:
        value: of the whole table.
        refits: of the resamples.
        runs: clusters behind the estimate, more than `parameters`.
        parameters: fitted to them.
    """
    from scipy import stats  # takes longer to import than pandas

    known = refits[np.isfinite(refits)]
    if not len(known):
        return Interval(value, math.nan, math.nan, 1.0)
    bias = _bias(value, known)
    freedom = max(1, runs - parameters)
    half = math.sqrt(runs / freedom) * float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
    low, high = (float(np.quantile(known, stats.norm.cdf(2 * bias + end))) for end in (-half, half))
    return Interval(value, low, high, 1 - len(known) / len(refits))


def p_value(value: float, refits: Array, *, runs: int, parameters: int) -> float:
    """Two-sided p-value of "the quantity is 0": of its intervals, one less the confidence of the widest without 0.

    Where hardly any refit lies beyond 0, the refits' tail is taken as normal: as many as there are tell no p-value
    under their own number's inverse, and a correction for many comparisons asks for such.

    Args:
        value: of the whole table.
        refits: of the resamples.
        runs: clusters behind the estimate, more than `parameters`.
        parameters: fitted to them.
    """
    from scipy import stats  # takes longer to import than pandas

    known = refits[np.isfinite(refits)]
    if not len(known) or not math.isfinite(value):
        return 1.0
    beyond = int(min(np.sum(known <= 0), np.sum(known >= 0)))
    if beyond >= _FEWEST_BEYOND:
        at_zero = float(stats.norm.ppf(np.mean(known < 0) + np.mean(known == 0) / 2))
    else:
        spread = float(known.std())
        if not spread:
            return 1.0 if known[0] == 0 else 0.0
        at_zero = float(-np.median(known)) / spread
    freedom = max(1, runs - parameters)
    t = (at_zero - 2 * _bias(value, known)) * math.sqrt(freedom / runs)
    return float(2 * stats.t.sf(abs(t), freedom))


def _bias(value: float, known: Array) -> float:
    """How far the refits' median is from the estimate, in normal deviates."""
    from scipy import stats

    below = float(np.mean(known < value) + np.mean(known == value) / 2)
    return float(stats.norm.ppf(np.clip(below, 1 - _MOST_BIAS, _MOST_BIAS)))
