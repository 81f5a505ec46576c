"""Many settings beside one reference, each over the same places, and what that lets one say of all of them at once.

In a place (a data set, a shell, a budget) a setting and the reference ran with common seeds, which make pairs. The
difference of a setting is the mean over places of its mean over pairs, so that every place weighs the same. Its
interval is Student's, with the variance that pairs have within each place, and the degrees of freedom of Welch (1947)
and Satterthwaite (1946); in one place it is the paired interval. Places are taken as they are: it speaks of these, not
of others.

With seventeen families one in twenty of the intervals at 95% misses by chance, and somebody seems to lead. So each has
the confidence 1 - .05 / m of m settings (Bonferroni): all of them together hold what they should in 95% of studies,
however the settings depend on each other through the reference that they share.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pdebench.stats.paired import FEWEST_PAIRS, student_t

Pairs = tuple[Mapping[float, float], Mapping[float, float]]
"""In one place: the values of a setting and of the reference, one number a seed each."""


@dataclass(frozen=True)
class MeanDifference:
    """Mean difference from the reference over places, with an interval that holds beside all others.

    Attributes:
        mean: setting less reference.
        low: begin of the interval.
        high: its end.
        places: how many there are.
        pairs: of one seed, in all places.
    """

    mean: float
    low: float
    high: float
    places: int
    pairs: int

    @property
    def apart(self) -> bool:
        """Whether the interval leaves 0 out."""
        return not self.low <= 0 <= self.high


def mean_difference(places: Sequence[Pairs], *, settings: int) -> MeanDifference | None:
    """The difference of one of `settings` settings from the reference; None where some place has under three pairs.

    Two pairs would have one degree of freedom, which says nothing of their spread.
    """
    differences = [
        np.array([own[seed] - reference[seed] for seed in sorted(own.keys() & reference.keys())])
        for own, reference in places
    ]
    if not differences or min(map(len, differences)) < FEWEST_PAIRS:
        return None
    variances = np.array([one.var(ddof=1) / len(one) for one in differences])
    mean = float(np.mean([one.mean() for one in differences]))
    half = 0.0
    if total := float(variances.sum()):
        freedom = total**2 / sum(v**2 / (len(one) - 1) for v, one in zip(variances, differences, strict=True))
        half = student_t(freedom, 1 - 0.05 / settings) * math.sqrt(total) / len(differences)
    return MeanDifference(mean, mean - half, mean + half, len(differences), sum(map(len, differences)))
