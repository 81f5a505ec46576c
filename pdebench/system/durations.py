"""Durations: every sample is kept, the table shows median, quartiles and n."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Spread:
    """Median, quartiles and number of samples."""

    median: float
    q1: float
    q3: float
    n: int

    def columns(self, name: str, scale: float = 1.0) -> dict[str, float | int]:
        """As columns `name_median`, `name_q1`, `name_q3`, `name_n`."""
        return {
            f"{name}_median": self.median * scale,
            f"{name}_q1": self.q1 * scale,
            f"{name}_q3": self.q3 * scale,
            f"{name}_n": self.n,
        }


def spread(samples: Sequence[float]) -> Spread:
    """Summarise at least one sample."""
    if len(samples) == 1:
        return Spread(samples[0], samples[0], samples[0], 1)
    q1, median, q3 = statistics.quantiles(samples, n=4, method="inclusive")
    return Spread(median, q1, q3, len(samples))


def warm_up(count: int, skip: int = 5) -> int:
    """How many of `count` samples are left out, from the first: `skip`, but never more than half of them."""
    return min(skip, count // 2)


def after_warmup(samples: Sequence[float], skip: int = 5) -> Sequence[float]:
    """Leave out the samples of the warm-up."""
    return samples[warm_up(len(samples), skip) :]
