"""The columns that metrics fill: how a reader calls a score, and which way is better. Imports nothing heavy.

Whoever tables, ranks, draws or gates scores asks here, and no name of a column says anything by what it begins with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal


@dataclass(frozen=True)
class Score:
    """A number that a metric gives to a set of samples.

    Attributes:
        column: of the record.
        title: what a reader calls it.
        kind: frechet: a distance of Gaussians, positive, which falls with the samples' count, and may follow a power
            law. kernel: a squared distance, unbiased, which may be negative. inception: positive. share: from 0 to 1.
        higher_is_better: the direction; a distance is better the lower it is.
        spread: the column of its standard deviation over subsets or splits of the samples; empty where it has none.
    """

    column: str
    title: str
    kind: Literal["frechet", "kernel", "inception", "share"]
    higher_is_better: bool = False
    spread: str = ""

    @property
    def by_difference(self) -> bool:
        """Whether two are compared by their difference: it may be 0 or less, so that a ratio says nothing."""
        return self.kind in ("kernel", "share")

    @property
    def short(self) -> str:
        """The title without the extractor, for an axis."""
        return self.title.split(" (")[0]

    @property
    def columns(self) -> tuple[str, ...]:
        """All that it fills."""
        return (self.column, self.spread) if self.spread else (self.column,)


def _kernel(column: str, title: str) -> Score:
    return Score(column, title, "kernel", spread=f"{column}_std")


FD_EFFICIENTNET = Score("fd_efficientnet_lite0", "Fréchet distance (EfficientNet-Lite0)", "frechet")
FID = Score("fid", "FID", "frechet")
KID_EFFICIENTNET = _kernel("kid_efficientnet_lite0", "KID (EfficientNet-Lite0)")
KID = _kernel("kid", "KID")
INCEPTION_SCORE = Score("is", "Inception score", "inception", higher_is_better=True, spread="is_std")
PRECISION = Score("precision", "Precision of samples", "share", higher_is_better=True)
RECALL = Score("recall", "Recall of samples", "share", higher_is_better=True)

SCORES: Mapping[str, Score] = MappingProxyType(
    {
        score.column: score  # in the order in which they are told
        for score in (FD_EFFICIENTNET, FID, KID_EFFICIENTNET, KID, INCEPTION_SCORE, PRECISION, RECALL)
    }
)
SPREADS = frozenset(score.spread for score in SCORES.values() if score.spread)
