"""How far one set of numbers lies above another, by ranks: an estimate, its bounds and p-values, exact for any noise.

Timings have bursts, two modes and drifts, so nothing here assumes a normal distribution. Two designs share one form, a
sorted list of *elementary shifts* whose number above a hypothesis has a known distribution when that hypothesis is
true (Hodges and Lehmann 1963; Lehmann, Nonparametrics, 1975, 4.3 and 2.5):

    paired     Walsh averages (d_i + d_j) / 2, i <= j, of the differences; the number above is Wilcoxon's signed rank.
               Exact where a difference is as likely above the shift as below it, by as much. An order of the pair that
               a coin decided makes it so for the hypothesis of no difference.
    unpaired   y_j - x_i; the number above is Mann and Whitney's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
AT_ONCE = 2**20  # numbers that a bootstrap holds at a time


@dataclass(frozen=True)
class Shift:
    """A shift, known by its elementary shifts.

    Attributes:
        samples: the differences, or the two samples.
        elementary: sorted, (M,).
        below: probability that at most k of them lie above the true shift, (M + 1,).
    """

    samples: tuple[Numbers, ...]
    elementary: Numbers
    below: Numbers

    @property
    def estimate(self) -> float:
        """The median of the elementary shifts."""
        return float(np.median(self.elementary))

    def lower(self, level: float) -> float:
        """The bound that lies above the true shift with probability `level` at most; -inf with too few observations."""
        rank = self._rank(level)
        return -np.inf if rank == 0 else float(self.elementary[rank - 1])

    def upper(self, level: float) -> float:
        """The bound that lies below the true shift with probability `level` at most; inf with too few observations."""
        rank = self._rank(level)
        return np.inf if rank == 0 else float(self.elementary[-rank])

    def p_above(self, bound: float) -> float:
        """p-value of the hypothesis that the true shift is `bound` or less."""
        return float(self.below[int(np.count_nonzero(self.elementary <= bound))])

    def p_below(self, bound: float) -> float:
        """p-value of the hypothesis that the true shift is `bound` or more."""
        return float(self.below[int(np.count_nonzero(self.elementary >= bound))])

    def margins(self, level: float, resamples: int = 200, seed: int = 0) -> Numbers:
        """How far the lower bound would lie under the estimate in other nights like this one, (resamples,).

        Each is of a bootstrap resample of the samples.
        """
        rank = self._rank(level)
        if rank == 0:
            return np.full(resamples, np.inf)
        random = np.random.default_rng(seed)
        drawn = [one[random.integers(len(one), size=(resamples, len(one)))] for one in self.samples]
        at_once = max(1, AT_ONCE // len(self.elementary))
        lower = [
            np.partition(_elementary(tuple(one[i : i + at_once] for one in drawn)), rank - 1)[:, rank - 1]
            for i in range(0, resamples, at_once)
        ]
        return self.estimate - np.concatenate(lower)

    def _rank(self, level: float) -> int:
        """How many of the smallest elementary shifts a test at that level leaves out, the bound among them."""
        return int(np.searchsorted(self.below, level, side="right"))


def paired(differences: Sequence[float] | Numbers) -> Shift:
    """The shift of at least one difference from 0."""
    d = np.asarray(differences, dtype=float)
    return Shift((d,), np.sort(_elementary((d,))), _signed_rank(len(d)))


def unpaired(x: Sequence[float] | Numbers, y: Sequence[float] | Numbers) -> Shift:
    """How far `y` lies above `x`, at least one number each."""
    both = (np.asarray(x, dtype=float), np.asarray(y, dtype=float))
    return Shift(both, np.sort(_elementary(both)), _rank_sum(len(both[0]), len(both[1])))


def _elementary(samples: tuple[Numbers, ...]) -> Numbers:
    """The elementary shifts of differences (..., n), or of two samples (..., m) and (..., n), unsorted, (..., M)."""
    if len(samples) == 1:
        (d,) = samples
        first, second = _couples(d.shape[-1])
        averages: Numbers = (d[..., first] + d[..., second]) / 2
        return averages
    x, y = samples
    shifts = y[..., :, None] - x[..., None, :]
    return shifts.reshape(*shifts.shape[:-2], -1)


@cache
def _couples(n: int) -> tuple[np.ndarray, np.ndarray]:
    """All i <= j below n."""
    return np.triu_indices(n)


@cache
def _signed_rank(n: int) -> Numbers:
    """P(W <= k) for k = 0 to n (n + 1) / 2, W the sum of those of the ranks 1 to n for which a coin shows heads."""
    chance = np.ones(1)
    for rank in range(1, n + 1):
        chance = (np.pad(chance, (0, rank)) + np.pad(chance, (rank, 0))) / 2
    return _cumulative(chance)


@cache
def _rank_sum(m: int, n: int) -> Numbers:
    """P(U <= k) for k = 0 to m n, U the number of pairs of m and n numbers of one distribution that are in order.

    The largest of all m + n numbers is one of the n with probability n / (m + n), and then in order with all m.
    """
    rows = [np.ones(1) for _ in range(n + 1)]  # of no numbers on the one side
    for i in range(1, m + 1):
        row = [np.ones(1)]
        for j in range(1, n + 1):
            chance = np.zeros(i * j + 1)
            chance[i:] += row[j - 1] * j / (i + j)
            chance[: (i - 1) * j + 1] += rows[j] * i / (i + j)
            row.append(chance)
        rows = row
    return _cumulative(rows[n])


def _cumulative(chance: Numbers) -> Numbers:
    """Never above 1, which rounding of a long sum could reach."""
    return np.minimum(np.cumsum(chance), 1.0)
