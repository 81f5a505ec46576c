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

    @property
    def p_value(self) -> float | None:
        """Of Student's two-sided test that the mean is 0; None without an interval."""
        from scipy.special import stdtr

        if self.low is None or self.high is None:
            return None
        if self.low == self.high:
            return float(self.mean == 0)
        t = abs(self.mean) / ((self.high - self.low) / 2) * student_t(self.pairs - 1)
        return 2 * float(stdtr(self.pairs - 1, -t))


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
def student_t(freedom: float, confidence: float = 0.95) -> float:
    """The t that a Student variable with so many degrees of freedom stays within, either side, with that confidence."""
    from scipy.special import stdtrit  # scipy.stats takes longer to import than pandas

    return float(stdtrit(freedom, (1 + confidence) / 2))
