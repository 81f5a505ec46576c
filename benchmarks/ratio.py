"""Ratios of durations: interleaved pairs in one process, and an interval of their median. And ratios of peak memory.

Two durations are compared only as neighbours in time: A B B A, again and again. Whatever slows the machine
for longer than a pair slows both and cancels in the log-ratio; the mirrored order cancels the cost of going
first. Peak memory is one figure a process, so a ratio of two has no interval.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

RESAMPLES = 2000
MAX_PAIRS = 400

Sample = Callable[[], float]  # does the work and says how many seconds one call of it took


@dataclass(frozen=True)
class Ratio:
    """Median of the paired ratios A / B, its 95% interval, and every sample, pair by pair, in seconds or bytes.

    A single pair has no interval.
    """

    median: float
    low: float | None
    high: float | None
    a: tuple[float, ...]
    b: tuple[float, ...]

    @property
    def pairs(self) -> int:
        """How many pairs stand behind the median."""
        return len(self.a)


@dataclass(frozen=True)
class Row:
    """One line of the report: what A over B is, how large it may be, and the unit that A and B are shown in.

    `least` is, where nothing bounds it from above, how large it has to be.
    """

    group: str
    name: str
    ratio: Ratio
    target: float | None = None
    unit: Literal["ms", "MiB"] = "ms"
    least: float | None = None

    @property
    def verdict(self) -> str:
        """`met` or `missed` where the whole interval says so; an interval around the target says neither."""
        low, high = (self.ratio.median if end is None else end for end in (self.ratio.low, self.ratio.high))
        if self.target is None:
            if self.least is None:
                return ""
            word = "met" if low >= self.least else "missed" if high < self.least else "undecided"
            return f"at least {self.least:.2f} {word}"
        if high <= self.target:
            word = "met"
        elif low > self.target:
            word = "missed"
        else:
            word = f"undecided ({'under' if self.ratio.median <= self.target else 'over'} by its median)"
        return f"target {self.target:.2f} {word}"


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        seconds: spent on one ratio, unless `pairs` take longer.
        pairs: the fewest pairs behind a ratio.
        quick: measure each benchmark's first case only.
    """

    seconds: float = 2.5
    pairs: int = 10
    quick: bool = False


def timed(work: Callable[[], object], least: float = 0.02, finish: Callable[[], object] = lambda: None) -> Sample:
    """A sample of `work`, repeated for `least` seconds or more so that the clock's grain does not show.

    `finish` is called once after the repetitions: it waits for a device that works while the host goes on.
    """

    def repeat(calls: int) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            work()
        finish()
        return (time.perf_counter() - began) / calls

    repeat(2)  # warm-up
    calls = max(1, math.ceil(least / repeat(1)))
    return lambda: repeat(calls)


def compare(a: Sample, b: Sample, effort: Effort) -> Ratio:
    """Sample A B B A until both `effort.pairs` and `effort.seconds` are reached."""
    of_a: list[float] = []
    of_b: list[float] = []
    began = time.perf_counter()
    while len(of_a) < effort.pairs or (time.perf_counter() - began < effort.seconds and len(of_a) < MAX_PAIRS):
        of_a.append(a())
        of_b.append(b())
        of_b.append(b())
        of_a.append(a())
    return paired(of_a, of_b)


def paired(a: list[float], b: list[float]) -> Ratio:
    """The median of the paired log-ratios as a ratio, with its percentile bootstrap interval (fixed seed)."""
    logs = np.log(a) - np.log(b)
    draws = np.random.default_rng(0).integers(len(logs), size=(RESAMPLES, len(logs)))
    low, high = np.quantile(np.median(logs[draws], axis=1), [0.025, 0.975])
    return Ratio(
        float(np.exp(np.median(logs))),
        float(np.exp(low)),
        float(np.exp(high)),
        tuple(map(float, a)),
        tuple(map(float, b)),
    )


def single(a: float, b: float) -> Ratio:
    """A ratio of two figures that were taken once."""
    return Ratio(a / b, None, None, (float(a),), (float(b),))
