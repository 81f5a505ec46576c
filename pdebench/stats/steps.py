"""Steps in a history: between which two nights a level changed, for good or ill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdebench.stats.ranks import Numbers

SIDE = 3  # nights on either side, at least: two may be a machine's mood
RESHUFFLES = 999
ALPHA = 0.01  # of one history: many are looked at every night


@dataclass(frozen=True)
class LevelShift:
    """A change between the nights `at - 1` and `at` of a series, by `size` in its own (logarithmic) units."""

    at: int
    size: float


def steps(levels: Sequence[float] | Numbers, tolerance: float) -> list[LevelShift]:
    """Where a series of nightly levels (logarithms) steps by more than the tolerance, first to last.

    Binary segmentation: the best split of the whole by ranks, if it beats the best splits of reshuffled nights, then
    the same of either part. Ranks, because one bad night must not be a step; reshuffled, because the best of many
    splits is far out by chance alone. A slow drift is also found, as a step near its middle.
    """
    y = np.asarray(levels, dtype=float)
    found = sorted(_split(y, 0), key=lambda step: step.at)
    return [step for step in found if abs(step.size) > tolerance]


def _split(y: Numbers, offset: int) -> list[LevelShift]:
    if len(y) < 2 * SIDE:
        return []
    ranks = np.argsort(np.argsort(y)).astype(float)
    at, score = _best(ranks[None])
    random = np.random.default_rng(0)
    chance = _best(random.permuted(np.tile(ranks, (RESHUFFLES, 1)), axis=1))[1]
    if (1 + np.count_nonzero(chance >= score[0])) / (1 + RESHUFFLES) > ALPHA:
        return []
    cut = int(at[0])
    size = float(np.median(y[cut:]) - np.median(y[:cut]))
    return [*_split(y[:cut], offset), LevelShift(offset + cut, size), *_split(y[cut:], offset + cut)]


def _best(ranks: Numbers) -> tuple[np.ndarray, Numbers]:
    """Of each row of ranks (R, n), the split whose standardised rank sum (Mann and Whitney's) is the farthest out."""
    n = ranks.shape[1]
    cuts = np.arange(SIDE, n - SIDE + 1)
    sums = np.cumsum(ranks, axis=1)[:, cuts - 1]
    spread = np.sqrt(cuts * (n - cuts) * (n + 1) / 12)
    scores = np.abs(sums - cuts * (n - 1) / 2) / spread
    best = np.argmax(scores, axis=1)
    return cuts[best], np.take_along_axis(scores, best[:, None], axis=1)[:, 0]
