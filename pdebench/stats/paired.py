"""The difference between two settings that ran with the same seeds, and what that many seeds let one say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

FEWEST_PAIRS = 3
"""With fewer there is no interval: two differences have a spread, but one degree of freedom says nothing of it."""


@dataclass(frozen=True)
class PairedDifference:
    """Mean of paired differences with its 95% interval; `low` and `high` are None with fewer than three pairs."""

    mean: float
    pairs: int
    low: float | None = None
    high: float | None = None

    @property
    def above(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.low is not None and self.low > 0

    @property
    def below(self) -> bool:
        """Whether the whole interval lies below 0."""
        return self.high is not None and self.high < 0

    @property
    def covers_zero(self) -> bool:
        """Whether there is an interval and it holds 0."""
        return self.low is not None and not (self.above or self.below)


def paired(values: Mapping[float, float], reference: Mapping[float, float]) -> PairedDifference | None:
    """`values` less `reference`, both one number a seed, over the seeds that both have; None where there is none.

    The interval is Student's: mean +- t sd / sqrt(n) with n - 1 degrees of freedom.
    """
    shared = sorted(values.keys() & reference.keys())
    if not shared:
        return None
    differences = np.array([values[seed] - reference[seed] for seed in shared])
    mean, count = float(differences.mean()), len(shared)
    if count < FEWEST_PAIRS:
        return PairedDifference(mean, count)
    half = student_t(count - 1) * float(differences.std(ddof=1)) / math.sqrt(count)
    return PairedDifference(mean, count, mean - half, mean + half)


@cache
def student_t(freedom: int, confidence: float = 0.95) -> float:
    """The t that a Student variable with so many degrees of freedom stays within, either side, with that confidence."""
    low, high = 0.0, 1.0
    while _within(high, freedom) < confidence:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < confidence else (low, middle)
    return high


def _within(t: float, freedom: int) -> float:
    """P(|T| < t), by the finite series of Abramowitz and Stegun 26.7.3 (odd) and 26.7.4 (even degrees of freedom)."""
    angle = math.atan2(t, math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(1 + odd, freedom, 2):
        total += term
        term *= cosine**2 * power / (power + 1)
    if odd:
        return (angle + sine * total) * 2 / math.pi
    return sine * total
