"""What a law's residuals say against its table: rows in another unit, or of another kind that no column tells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pdebench.stats.left_out import shortened
from pdebench.stats.parametric import PARAMETERS, Parametric
from pdebench.stats.power_sum import Array, PowerSum
from pdebench.stats.runs import Runs

_FAR = 10.0
"""Robust standard deviations from which on a residual is far.

In 150 made-up tables of each of nine designs, 9 to 75 rows, no residual of normal noise was so far. Of Student's noise
with three degrees of freedom one was in one table of thirty.
"""

_LEAST = 0.05  # a smaller residual is let be, whatever the others are
_MISFIT = 4.0  # times what repeats scatter: below, it is the law that is not exact
_CHANCE = 1e-4
_NORMAL = 1.4826  # a standard deviation in medians of absolute residuals


def of_residuals(runs: Runs, law: Parametric) -> list[str]:
    """What a reader has to know of the fit of `L(N, D)`."""
    residuals = np.array(law.residuals)
    far = _far(residuals)
    if far.any():
        rows = map(int, np.flatnonzero(far))
        named = shortened([f"{_place(runs, row)}: {np.exp(residuals[row]):.3g} times the law" for row in rows], "; ")
        return [
            f"the loss of {far.sum()} of {len(far)} rows is far from a law that the others follow ({named}): it may be "
            "in another unit, or of a run that diverged; mend these rows, or take them out"
        ]
    repeats = _repeats(runs)
    return [] if repeats is None else repeats.told()


def _far(residuals: Array) -> NDArray[np.bool_]:
    """Which are far out, by the median of the others; a fit of absolute residuals makes as many vanish as it has
    parameters, and these say nothing of the noise."""
    size = np.abs(residuals)
    typical = _NORMAL * float(np.median(np.sort(size)[PARAMETERS:]))
    return np.asarray((size > _FAR * typical) & (size > _LEAST))


def _place(runs: Runs, row: int) -> str:
    return runs.places[row] if runs.places else f"row {row + 1}"


@dataclass(frozen=True)
class _Repeats:
    """Runs of one point (N, D) beside the law of their means.

    Attributes:
        within: standard deviation of log L between runs of one point.
        between: that of the points' means about their law, as one run would have it.
        freedom: degrees of freedom of both, `within` first.
    """

    within: float
    between: float
    freedom: tuple[int, int]

    def told(self) -> list[str]:
        """By chance alone the two are alike."""
        from scipy import stats  # takes longer to import than pandas

        ratio, (within, between) = (self.between / self.within) ** 2, self.freedom
        if ratio > _MISFIT**2 and stats.f.sf(ratio, between, within) < _CHANCE:
            return [
                f"runs of one size and number of images scatter by {self.within:.2%}, and the law misses them by "
                f"{self.between:.2%}: parameters or images of some rows may be in another unit, or the loss depends on "
                "what differs from size to size; intervals do not tell of this"
            ]
        if self.within > _LEAST and stats.f.cdf(ratio, between, within) < _CHANCE:
            return [
                f"runs of one size and number of images are {self.within:.0%} apart, alike everywhere: two kinds of "
                "runs may be fitted as one; name the column that tells them apart with --group, or add it"
            ]
        return []


def _repeats(runs: Runs) -> _Repeats | None:
    """None where too few points were run again; several rows of a run at one point are one."""
    rows = np.unique(np.stack([runs.n, runs.d, runs.run]), axis=1, return_inverse=True)
    y = np.bincount(rows[1].reshape(-1), np.log(runs.loss)) / np.bincount(rows[1].reshape(-1))
    points, where = np.unique(rows[0][:2], axis=1, return_inverse=True)
    where = where.reshape(-1)
    count = np.bincount(where)
    freedom = (len(y) - len(count), len(count) - PARAMETERS)
    if min(freedom) < 2:
        return None
    means = np.bincount(where, y) / count
    within = float(np.sqrt(np.sum((y - means[where]) ** 2) / freedom[0]))
    if not within:
        return None
    law = PowerSum(np.log(points), floor=True)
    off = means - law.predict(law.fit(means).theta)[0]
    return _Repeats(within, float(np.sqrt(np.sum(count * off**2) / freedom[1])), freedom)
