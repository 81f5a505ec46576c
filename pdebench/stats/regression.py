"""When a slowdown is found, when it is excluded, and when neither: tests that may be looked at while they grow.

All shifts are logarithms of candidate over base, of what it costs (seconds, bytes, seconds an image): above 0 is worse.

One dial, the *effect* that is to be found, 5% say. Slower by a fifth of it, the *tolerance*, is let be, so that nobody
is woken by what nobody minds; so is what the layout of a file in memory does to a time. Then

    regression    the hypothesis "worse by no more than the tolerance" is rejected
    pass          the hypothesis "worse by the effect or more" is rejected, and the effect would have been found
    inconclusive  neither; the smallest effect that could have been found is said

**Looking early.** A test that is repeated as data come in, at 5% each time, gives false alarms far more often than
5%. Here the looks are few and share the error: the last one, whenever time is up, has LAST of it, the one before the
time that is kept for a rerun LATE, the one at 1/2^j of the planned data the rest's 1/2^j. A p-value of a look counts
divided by its share, and the smallest counts: by the union bound it is a p-value whatever the looks have to do with
each other. Most of the error is kept for the end, as by O'Brien and Fleming (1979), since a change that shows at an
early look shows there at a small share too.

**Many cells.** p-values of all tests of a night go through Benjamini and Hochberg's step-up (1995): where nothing
changed at all, the chance of any alarm is `alpha` at most. Passing is each test's own affair: an effect is passed over
with chance `alpha` at most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pdebench.stats.ranks import Shift

Verdict = Literal["regression", "pass", "inconclusive"]
LATE, LAST = 0.3, 0.5  # of the error: the look before the time that is kept for a rerun, and the last
FEWEST = 10  # pairs at the first look: with fewer, a share of an early look rejects nothing
POWER = 0.9  # of the smallest effect that could have been found


@dataclass(frozen=True)
class Rule:
    """What is looked for, and how often to be wrong.

    Attributes:
        effect: the slowdown that is to be found, as a share: .05.
        alpha: chance of a false alarm in a night of no change; chance of passing over the effect in one test.
    """

    effect: float = 0.05
    alpha: float = 0.05

    @property
    def tolerance(self) -> float:
        """The slowdown that is let be, as a share."""
        return self.effect / 5


@dataclass(frozen=True)
class Evidence:
    """What is known of one test so far; shifts are logarithms.

    Attributes:
        estimate: of the shift.
        low: bound from below, valid at 1 - alpha over all looks.
        high: bound from above, likewise.
        p_worse: of "worse by no more than the tolerance".
        p_better: of "better by no more than the tolerance".
        p_harmless: of "worse by the effect or more".
        smallest: the shift that would have been found with chance POWER, beside as many tests as there are.
        observations: pairs, or processes of the smaller sample.
    """

    estimate: float = math.nan
    low: float = -math.inf
    high: float = math.inf
    p_worse: float = 1.0
    p_better: float = 1.0
    p_harmless: float = 1.0
    smallest: float = math.inf
    observations: int = 0

    def look(self, shifts: Sequence[Shift], share: float, rule: Rule, tests: int) -> Evidence:
        """With one more look at all data so far.

        Args:
            shifts: one, or several ways to see the same change, all of which must agree before anything is said.
            share: of the error, that this look has.
            rule: what is looked for.
            tests: how many tests the night has.
        """
        tolerance, effect = math.log1p(rule.tolerance), math.log1p(rule.effect)
        level = rule.alpha * share

        def p(values: Sequence[float], before: float) -> float:
            return min(before, max(values) / share)

        margins = [np.quantile(shift.margins(level / tests), POWER, method="higher") for shift in shifts]
        return Evidence(
            estimate=float(np.mean([shift.estimate for shift in shifts])),
            low=max(self.low, min(shift.lower(level) for shift in shifts)),
            high=min(self.high, max(shift.upper(level) for shift in shifts)),
            p_worse=p([shift.p_above(tolerance) for shift in shifts], self.p_worse),
            p_better=p([shift.p_below(-tolerance) for shift in shifts], self.p_better),
            p_harmless=p([shift.p_below(effect) for shift in shifts], self.p_harmless),
            smallest=min(self.smallest, tolerance + float(max(margins))),
            observations=min(len(sample) for shift in shifts for sample in shift.samples),
        )

    def clear(self, rule: Rule, tests: int) -> bool:
        """Whether more data would not change the verdict, whatever the other tests say."""
        return self.p_worse <= rule.alpha / tests or self.passes(rule)

    def passes(self, rule: Rule) -> bool:
        """Whether the effect is excluded, and would have been found."""
        return self.p_harmless <= rule.alpha and self.smallest <= math.log1p(rule.effect)


@dataclass(frozen=True)
class Judgement:
    """The verdict of one test, and whether it got better by more than the tolerance."""

    verdict: Verdict
    improved: bool


def judge(evidence: Sequence[Evidence], rule: Rule) -> list[Judgement]:
    """The verdicts of all tests of a night."""
    worse = rejected([one.p_worse for one in evidence], rule.alpha)
    better = rejected([one.p_better for one in evidence], rule.alpha)
    return [
        Judgement("regression" if bad else "pass" if one.passes(rule) else "inconclusive", good and not bad)
        for one, bad, good in zip(evidence, worse, better, strict=True)
    ]


def rejected(p_values: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses Benjamini and Hochberg's step-up rejects."""
    from scipy.stats import false_discovery_control

    if not p_values:
        return []
    return [bool(p <= alpha) for p in false_discovery_control(p_values)]


def looks(planned: int) -> dict[int, float]:
    """The early looks of a test of so many planned pairs: pairs at the look, an even number, and its share."""
    found, share, blocks = {}, (1 - LATE - LAST) / 2, planned // 4
    while 2 * blocks >= FEWEST:
        found[2 * blocks] = share
        share, blocks = share / 2, blocks // 2
    return found
