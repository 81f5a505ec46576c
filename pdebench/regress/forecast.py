"""What a time can show, said before it is spent: how many pairs fit, and the slowdown that so many find.

How long a process takes is known once a cell has run on either side, so the forecast is made after the first cell and
again when all have run once. What first processes compile and decode makes it a little low.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pdebench.data.nouns import plural
from pdebench.errors import PdebenchError
from pdebench.stats.ranks import paired
from pdebench.stats.regression import LAST, POWER, Rule

CONFIRMING = 0.2  # of the time, kept for a rerun while there may be something to confirm
CONFIRM_BLOCKS = (3, 10)  # fewest and most of a rerun: with fewer than three nothing could be confirmed
DISTURBANCE = 1.5  # a block is started if it would still be in time when it took so much longer than the last
MOST_PAIRS = 64  # that a forecast is computed of: sums of all couples grow with their square
SCATTERS = (0.01, 0.03)  # of a pair, for which a forecast is made: a quiet machine, and one with neighbours


def smallest_effect(pairs: Sequence[float] | np.ndarray, count: int, rule: Rule, tests: int) -> float:
    """The slowdown that `count` pairs find with chance POWER, as a share, where pairs scatter as these do.

    Infinite where so few find nothing, whatever they are.
    """
    margins = paired(np.resize(pairs, count)).margins(rule.alpha * LAST / tests)
    return float(np.expm1(np.log1p(rule.tolerance) + np.quantile(margins, POWER, method="higher")))


def fewest_pairs(rule: Rule, tests: int) -> int:
    """With fewer, the last look rejects nothing: all on one side have a chance of 1 in 2^n."""
    return math.ceil(math.log2(tests / (rule.alpha * LAST)))


@dataclass(frozen=True)
class Forecast:
    """How far a time goes.

    Attributes:
        seconds: that are given.
        before: of them, until all cells have run once.
        blocks: seconds of a block of four processes, of each timed cell.
        tests: measured columns of all timed cells.
    """

    seconds: float
    before: float
    blocks: Sequence[float]
    tests: int

    @property
    def pairs(self) -> int:
        """Of each cell, as many as fit."""
        left = self.seconds - self.before - CONFIRM_BLOCKS[0] * max(self.blocks)
        return max(0, 2 * int(left / sum(self.blocks)))

    @property
    def fits(self) -> bool:
        """Whether the first block would be started at all."""
        end = max((1 - CONFIRMING) * self.seconds, self.seconds - CONFIRM_BLOCKS[0] * max(self.blocks))
        return self.before + DISTURBANCE * self.blocks[0] <= end

    def needed(self, rule: Rule) -> float:
        """Seconds in which every cell gets the fewest pairs that can show anything."""
        rounds = math.ceil(fewest_pairs(rule, self.tests) / 2)
        reserve = max(CONFIRM_BLOCKS[0] * max(self.blocks), (DISTURBANCE - 1) * max(self.blocks))
        return self.before + rounds * sum(self.blocks) + reserve

    def sentence(self, rule: Rule) -> str:
        """What the time can show."""
        minutes, fewest = self.seconds / 60, fewest_pairs(rule, self.tests)
        said = (
            f"about {plural(self.pairs, 'pair')} of each cell fit{'s' * (self.pairs == 1)} into {minutes:.3g} minutes"
        )
        if self.pairs < fewest:
            return f"{said}: nothing can be found with fewer than {fewest}, which take {self.needed(rule) / 60:.0f}"
        count = min(self.pairs, MOST_PAIRS)
        normal = [NormalDist().inv_cdf((place + 0.5) / count) for place in range(count)]
        found = [smallest_effect([sigma * one for one in normal], count, rule, self.tests) for sigma in SCATTERS]
        seen = [f"{effect:.1%} where pairs scatter by {by:.0%}" for effect, by in zip(found, SCATTERS, strict=True)]
        more = " or less" if self.pairs > count else ""
        return f"{said}; the smallest slowdown that so many find is {', '.join(seen)}{more}"

    def too_short(self, rule: Rule) -> PdebenchError:
        """What to say where not one pair fits."""
        needed = math.ceil(10 * self.needed(rule) / 60) / 10
        return PdebenchError(
            f"--max-minutes {self.seconds / 60:.3g} ends before a pair is measured: to run each cell once on "
            f"either side takes {self.before / 60:.2g} minutes, a block of four processes "
            f"{max(self.blocks) / 60:.2g}; give it {needed:g}, or fewer cells"
        )
