"""Intervals by a cluster bootstrap: runs are drawn, each with all its rows, never the rows of one run apart.

The ends are percentiles of the refits, corrected twice, because plain ones cover too much or too little (what was
tried, and how often each covered, stands in `results/coverage_scaling.txt`):

- for the bias of a skewed fit, as far as the refits' median is from the estimate (Efron 1987, BC);
- for the few runs there are: a sample of n spreads by sqrt((n - p) / n) too little after p parameters are fitted, and
  Student's t stands for the normal (Hesterberg 2015, arXiv 1411.5279, section 4: the expanded percentile interval).
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


def resamples(runs: NDArray[np.int64], count: int = RESAMPLES, seed: int = 0) -> Array:
    """How often each row is drawn in each resample of the runs, (count, rows).

    Args:
        runs: which run each row is of, 0 and on.
        count: resamples.
        seed: of the draws; the same table has the same intervals.
    """
    clusters = int(runs.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=count)
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
    below = float(np.mean(known < value) + np.mean(known == value) / 2)
    bias = float(stats.norm.ppf(np.clip(below, 1 - _MOST_BIAS, _MOST_BIAS)))
    freedom = max(1, runs - parameters)
    half = math.sqrt(runs / freedom) * float(stats.t.ppf((1 + CONFIDENCE) / 2, freedom))
    low, high = (float(np.quantile(known, stats.norm.cdf(2 * bias + end))) for end in (-half, half))
    return Interval(value, low, high, 1 - len(known) / len(refits))
