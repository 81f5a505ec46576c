"""What a metric is computed from: generated images, those of a reference, and the features of both."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from pdebench.data.rows import Rows
from pdebench.errors import MetricError
from pdebench.metrics.features import LOGITS, POOLED, Extractor


class Samples:
    """Generated images and those of a reference. Features are computed when the first metric asks for them.

    Attributes:
        generated: images (N, C, H, W) as their data set has them: uint8, 0..255, or floats.
        reference: likewise (M, C, H', W'), read an image at a time.
        checksum: of the reference's content; its features are kept under it.
    """

    def __init__(self, generated: Tensor, reference: Tensor | Rows, checksum: str, extractor: Extractor | None) -> None:
        self.generated, self.reference, self.checksum, self._extractor = generated, reference, checksum, extractor

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
        return self._of_generated[POOLED[self.extractor.kind]]

    @property
    def logits(self) -> Tensor:
        """Unbiased logits of the generated images, (N, 1008) float32; of Inception alone."""
        return self._of_generated[LOGITS]

    @cached_property
    def reference_features(self) -> Tensor:
        """Pooled features of the reference, (M, D) float32 on the CPU. Raises MetricError without extractor."""
        return self.extractor.reference_features(self.reference, self.checksum)  # type: ignore[arg-type]  # uint8 then

    @cached_property
    def _of_generated(self) -> dict[str, Tensor]:
        return self.extractor.features(self.generated)
