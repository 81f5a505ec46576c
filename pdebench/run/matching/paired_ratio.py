"""How much more one training costs than another: pairs of fresh processes, until it is plain. Imports no torch.

A pair gives one ratio. The interval of their median is that of Wilcoxon's signed ranks (`stats/ranks.py`), exact for
any noise that is as likely above as below; its 95% are shared out over the looks that are taken, so that looking again
does not make it too sure of itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pdebench.data.nouns import plural
from pdebench.stats.ranks import paired
from pdebench.suite.matching import TOLERANCE

Verdict = Literal["inside", "outside", "undecided"]

LOOKS = (7, 11, 16)
"""Pairs after which the interval is looked at; six are the fewest that have one at 95%, and a share takes one more."""
LEVEL = 0.05 / 2 / len(LOOKS)  # of a bound at a look
FAR = 3.0  # tolerances beyond which one pair is enough to go on with another size
AGREE = 3  # pairs that are too many on one side of the tolerance to be chance worth more of them


@dataclass(frozen=True)
class Ratio:
    """A cost over another.

    Attributes:
        pairs: the ratio of each pair.
        verdict: whether it is 1 to the tolerance. A ratio that was plainly not before there is an interval has none.
        low, high: the interval.
    """

    pairs: tuple[float, ...]
    verdict: Verdict
    low: float | None = None
    high: float | None = None

    @property
    def estimate(self) -> float:
        """The median of the pairs' Walsh averages, of their logarithms."""
        return math.exp(paired([math.log(one) for one in self.pairs]).estimate)

    def __str__(self) -> str:
        """`1.004 (0.995 to 1.012, 7 pairs)`."""
        between = "" if self.low is None else f"{self.low:.3f} to {self.high:.3f}, "
        return f"{self.estimate:.3f} ({between}{plural(len(self.pairs), 'pair')})"


def measure_ratio(
    pair: Callable[[], float], *, over: Callable[[], bool] = lambda: False, tolerance: float = TOLERANCE
) -> Ratio:
    """Take pairs until the ratio is inside the tolerance of 1 or plainly outside.

    Args:
        pair: gives the ratio of one more pair of processes.
        over: whether the time for it is; then what is known is given, undecided.
        tolerance: share that it may be off.
    """
    found: list[float] = []
    while True:
        found.append(pair())
        if _plainly_outside(found, tolerance):
            return Ratio(tuple(found), "outside")
        if len(found) in LOOKS:
            shift = paired([math.log(one) for one in found])
            low, high = math.exp(shift.lower(LEVEL)), math.exp(shift.upper(LEVEL))
            outside = low > 1 + tolerance or high < 1 - tolerance
            inside = low >= 1 - tolerance and high <= 1 + tolerance
            if inside or outside or len(found) == LOOKS[-1]:
                return Ratio(tuple(found), "inside" if inside else "outside" if outside else "undecided", low, high)
        if over():
            return Ratio(tuple(found), "undecided")


def _plainly_outside(pairs: Sequence[float], tolerance: float) -> bool:
    """Whether another size is the better use of the time: to go on is wrong at most by a size that would have done."""
    if abs(pairs[0] - 1) > FAR * tolerance and len(pairs) == 1:
        return True
    few = len(pairs) < LOOKS[0] and len(pairs) >= AGREE
    return few and (min(pairs) > 1 + tolerance or max(pairs) < 1 - tolerance)
