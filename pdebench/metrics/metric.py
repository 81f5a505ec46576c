"""What a metric is: the scores it gives, what it needs, and where the function is that computes it.

Importing this imports neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pdebench.errors import MetricError, did_you_mean

if TYPE_CHECKING:
    from pdebench.metrics.samples import Samples

EFFICIENTNET = "efficientnet_lite0"
INCEPTION = "inception_v3_2015"
DINOV2 = "dinov2_vitl14"
I3D = "i3d_kinetics400"
EXTRACTORS = (EFFICIENTNET, INCEPTION, DINOV2, I3D)

POOLED = "pooled"
SPATIAL = "spatial"
LOGITS = "logits"
DIMENSIONS: Mapping[str, Mapping[str, int]] = {
    EFFICIENTNET: {POOLED: 1280},
    INCEPTION: {POOLED: 2048, SPATIAL: 17 * 17 * 7, LOGITS: 1008},
    DINOV2: {POOLED: 1024},
    I3D: {POOLED: 400},
}
"""How many features an extractor has of an image, I3D of a clip, by the layer that they are read from.

pooled: what the network ends with; of Inception the mean over places, of DINOv2 the class token. spatial: values of a
layer within, place by place. logits: Inception's answers to its classes, without their biases. Of I3D pooled are its
answers to its classes, as the Fréchet video distance has it.
"""


@dataclass(frozen=True)
class Score:
    """A number that a metric gives to a set of samples.

    Attributes:
        column: of the record.
        title: what a reader calls it.
        kind: frechet: a distance of Gaussians, positive, which falls with the samples' count, and may follow a power
            law. kernel: a squared distance, unbiased, which may be negative. inception: positive. share: from 0 to 1.
            positive: any other number above 0. signed: any other number.
        higher_is_better: the direction; a distance is better the lower it is.
        spread: the column of its standard deviation over subsets or splits of the samples; empty where it has none.
        meaning: one line for a reader who does not know it; empty: the summary of its metric, where it is of one.
    """

    column: str
    title: str
    kind: Literal["frechet", "kernel", "inception", "share", "positive", "signed"]
    higher_is_better: bool = False
    spread: str = ""
    meaning: str = ""

    @property
    def by_difference(self) -> bool:
        """Whether two are compared by their difference: it may be 0 or less, so that a ratio says nothing."""
        return self.kind in ("kernel", "share", "signed")

    @property
    def short(self) -> str:
        """The title without the extractor, for an axis."""
        return self.title.split(" (")[0]

    @property
    def columns(self) -> tuple[str, ...]:
        """All that it fills."""
        return (self.column, self.spread) if self.spread else (self.column,)


@dataclass(frozen=True)
class Metric:
    """A metric of generated images against those of a reference.

    Attributes:
        name: as a suite writes it.
        summary: one line for `pdebench list metrics`.
        scores: the numbers it gives. Each column of a metric of another package begins with the metric's name.
        compute: where its function is, `module:function`; imported when it is computed. It is given `Samples` and
            returns a number for each of `columns`, and whichever it likes of `notes`.
        extractor: whose features it reads, one of `EXTRACTORS`; None where it reads the images alone.
        layer: which of them, one of the extractor's `DIMENSIONS`.
        reads: features: one row an image, of either side. statistics: the Gaussians of either side's features, so that
            a reference which is statistics alone will do, and no features need to be kept.
        compares: with a reference; False: it is of the samples alone.
        minimum: fewest images on either side for which it is defined.
        copies_matter: it falls where images are copies of each other; their counts then stand beside it.
        of: what samples it looks at: images; clips; or frames, the images that clips are made of.
        least_frames: fewest frames of a clip for which it is defined.
        notes: further columns that say how the scores came about; of another package's metric texts, whose names begin
            with `metric_`.
    """

    name: str
    summary: str
    scores: tuple[Score, ...]
    compute: str
    extractor: str | None = None
    layer: str = POOLED
    reads: Literal["features", "statistics"] = "features"
    compares: bool = True
    minimum: int = 1
    copies_matter: bool = False
    of: Literal["images", "frames", "clips"] = "images"
    least_frames: int = 1
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what could not be computed or told apart."""
        if not self.scores or len(set(self.columns)) < len(self.columns):
            raise MetricError(f"metric {self.name}: it needs at least one score, and a column for each")
        if self.extractor is not None and self.extractor not in EXTRACTORS:
            raise MetricError(
                f"metric {self.name}: unknown extractor '{self.extractor}'; {did_you_mean(self.extractor, EXTRACTORS)}"
            )
        if self.extractor is not None and self.layer not in (layers := DIMENSIONS[self.extractor]):
            raise MetricError(
                f"metric {self.name}: {self.extractor} has no layer '{self.layer}'; {did_you_mean(self.layer, layers)}"
            )
        if self.extractor is not None and (self.extractor == I3D) != (self.of == "clips"):
            raise MetricError(f"metric {self.name}: {I3D} has features of clips, all other extractors of images")
        if not all(self.compute.partition(":")):
            raise MetricError(f"metric {self.name}: compute must be MODULE:FUNCTION, not '{self.compute}'")

    @property
    def columns(self) -> tuple[str, ...]:
        """All that its scores fill."""
        return tuple(column for score in self.scores for column in score.columns)

    def function(self) -> Callable[[Samples], Mapping[str, float | str]]:
        """Import and return what computes it."""
        module, _, attribute = self.compute.partition(":")
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
