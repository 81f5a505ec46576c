"""What generated images are compared with: images, or the statistics of images alone, or both.

A file of published statistics is of a whole training set, which nobody wants to go through again; ADM's have ten
thousand of its images beside them, for what needs neighbours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pdebench.data.rows import Rows
from pdebench.errors import DataError
from pdebench.metrics.metric import DIMENSIONS, INCEPTION, POOLED, SPATIAL, Metric
from pdebench.metrics.npz import IMAGES, Npz

if TYPE_CHECKING:
    from torch import Tensor

    from pdebench.metrics.gaussian import Gaussian

_READ = 256  # images that are summed up at once
_ASYMMETRY = 1e-5  # of a covariance's largest value: float32 rounds by less
_ARRAYS = {POOLED: ("mu", "sigma"), SPATIAL: ("mu_s", "sigma_s")}  # ADM's names; pytorch-fid's and EDM's are the first


@dataclass(frozen=True, eq=False)
class Reference:
    """What generated images are compared with.

    Attributes:
        name: what a record calls it.
        images: (M, C, H, W), or clips (M, C, T, H, W), read some at a time; None where there are statistics alone.
        content: a checksum of what the images hold, where one is known; features are kept in the cache under it.
        statistics: Gaussians that somebody else computed, by extractor and layer; they are believed.
    """

    name: str
    images: Rows | Tensor | None
    content: str = ""
    statistics: Mapping[tuple[str, str], Gaussian] = field(default_factory=dict)

    @cached_property
    def checksum(self) -> str:
        """Of what the images hold, which are read for it where none is known."""
        if self.content or self.images is None:
            return self.content
        import numpy as np

        seen = hashlib.sha256(str(tuple(self.images.shape)).encode())
        for begin in range(0, len(self.images), _READ):
            seen.update(np.ascontiguousarray(self.images[begin : begin + _READ]).data)
        return seen.hexdigest()

    @property
    def title(self) -> str:
        """`birds/train/64px (200 images)`."""
        noun = "images" if self.images is None or self.images.ndim == 4 else "clips"
        holds = [] if self.images is None else [f"{len(self.images)} {noun}"]
        return f"{self.name} ({' and '.join(holds + ['statistics'] * bool(self.statistics))})"

    def gives(self, metric: Metric) -> bool:
        """Whether it has the statistics that a metric compares with, so that none are computed."""
        return metric.reads == "statistics" and (metric.extractor, metric.layer) in self.statistics

    def lacks(self, metric: Metric) -> str:
        """What a metric needs and is not here; empty where it has what it needs."""
        if not metric.compares or self.images is not None or self.gives(metric):
            return ""
        if metric.reads == "features" or metric.layer != SPATIAL:
            return "images"
        return f"images, or {' and '.join(_ARRAYS[metric.layer])}"


def read_reference(path: Path) -> Reference:
    """A `.npz` file: ADM's `arr_0`, uint8 (N, H, W, 3), or the statistics of Inception's features, or both.

    Those are ADM's `mu`, `sigma`, and `mu_s`, `sigma_s` of sFID, or pytorch-fid's and EDM's `mu` and `sigma`.

    Raises:
        DataError: it cannot be read, or holds neither, or not as they have to be.
    """
    file = Npz(path)
    statistics = {(INCEPTION, layer): _gaussian(file, layer) for layer, names in _ARRAYS.items() if names[0] in file}
    if not statistics and IMAGES not in file:
        raise DataError(f"{path} has neither images ({IMAGES}) nor statistics (mu, sigma): it has {file.names}")
    return Reference(path.name, file.images() if IMAGES in file else None, "", statistics)


def _gaussian(file: Npz, layer: str) -> Gaussian:
    import numpy as np

    from pdebench.metrics.gaussian import Gaussian

    side = DIMENSIONS[INCEPTION][layer]
    of_mean, of_covariance = _ARRAYS[layer]
    mean, covariance = file.array(of_mean, (side,)), file.array(of_covariance, (side, side))
    asymmetry = np.abs(covariance - covariance.T).max()
    if asymmetry > _ASYMMETRY * np.abs(covariance).max() or covariance.diagonal().min() < 0:
        raise DataError(
            f"{file.path}: its {of_covariance} is no covariance: it is not symmetric, or has variances below 0"
        )
    return Gaussian(mean, (covariance + covariance.T) / 2)
