"""What a metric is computed from: generated images, what they are compared with, and the features of both."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from torch import Tensor

from pdebench.errors import MetricError
from pdebench.metrics.features import Extractor, Images
from pdebench.metrics.gaussian import Gaussian
from pdebench.metrics.metric import LOGITS, POOLED, Metric
from pdebench.metrics.reference import Reference


class Samples:
    """Generated images and their reference. Features are computed when the first metric asks for any of them.

    All that the metrics read is then made of one pass over the images.

    Attributes:
        generated: images (N, C, H, W) as their data set has them: uint8, 0..255, or floats.
    """

    def __init__(
        self, generated: Images, reference: Reference, extractor: Extractor | None, metrics: Iterable[Metric]
    ) -> None:
        """`metrics` are those that will be computed from these samples, all of them of this extractor."""
        self.generated, self._reference, self._extractor = generated, reference, extractor
        self._metrics = tuple(metrics)

    @property
    def reference(self) -> Images:
        """Images (M, C, H, W) of the reference, read some at a time.

        Raises:
            MetricError: it has none.
        """
        if self._reference.images is None:
            raise MetricError(f"images of {self._reference.name} are asked for, which has statistics alone")
        return self._reference.images

    @property
    def extractor(self) -> Extractor:
        """The network whose features the metric reads.

        Raises:
            MetricError: the metric names none.
        """
        if self._extractor is None:
            raise MetricError("features are asked for by a metric that names no extractor")
        return self._extractor

    @property
    def features(self) -> Tensor:
        """Pooled features of the generated images, (N, D) float32 on the CPU. Raises MetricError without extractor."""
        return self._of_generated[0][POOLED]

    @property
    def logits(self) -> Tensor:
        """Unbiased logits of the generated images, (N, 1008) float32; of Inception alone."""
        return self._of_generated[0][LOGITS]

    @property
    def reference_features(self) -> Tensor:
        """Pooled features of the reference, (M, D) float32 on the CPU.

        Raises:
            MetricError: there is no extractor, or the reference has no images.
        """
        return self._of_reference[0][POOLED]

    def gaussians(self, layer: str = POOLED) -> tuple[Gaussian, Gaussian]:
        """Of the features of a layer: that of the generated images, and the reference's.

        Raises:
            MetricError: there is no extractor, or the reference has neither images nor these statistics.
        """
        given = self._reference.statistics.get((self.extractor.kind, layer))
        return self._of_generated[1][layer], given or self._of_reference[1][layer]

    @cached_property
    def _of_generated(self) -> tuple[dict[str, Tensor], dict[str, Gaussian]]:
        """Features, and Gaussians, by layer."""
        features, statistics = (self._layers(reads) for reads in ("features", "statistics"))
        return self.extractor.passed(self.generated, features=features, statistics=statistics)

    @cached_property
    def _of_reference(self) -> tuple[dict[str, Tensor], dict[str, Gaussian]]:
        features, statistics = (self._layers(reads, compared=True) for reads in ("features", "statistics"))
        statistics -= {layer for kind, layer in self._reference.statistics if kind == self.extractor.kind}
        return self.extractor.of_reference(
            self.reference, self._reference.checksum, features=features, statistics=statistics
        )

    def _layers(self, reads: str, *, compared: bool = False) -> set[str]:
        """Layers that the metrics read in this way; `compared`: by those alone that look at the reference."""
        return {one.layer for one in self._metrics if one.reads == reads and (one.compares or not compared)}
