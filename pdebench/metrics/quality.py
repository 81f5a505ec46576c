"""Image quality: which metrics there are, whether they can be computed here, and computing them.

`fid`, `kid`, `is` and `precision_recall` read the 2015 Inception weights and nothing else; what another
network measures carries that network's name. The statistics are torch-fidelity's. Importing this module
needs neither torch nor numpy.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from pdebench.errors import CellWarning, MetricError, did_you_mean
from pdebench.metrics import extractor_weights, scores
from pdebench.metrics.extractor_weights import EFFICIENTNET, INCEPTION
from pdebench.metrics.scores import Score

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

_SEED = 2020  # torch-fidelity's default, for the subsets of KID and the splits of IS
_KID_SUBSETS = 100
_KID_SUBSET_SIZE = 1000
_CLASSES, _SPLITS = 1000, 10  # of the Inception score: neither classes nor images of a split are passed by it


@dataclass(frozen=True)
class Metric:
    """A metric by its name in a suite, the network whose features it reads, the scores it gives."""

    name: str
    summary: str
    extractor: str
    scores: tuple[Score, ...]
    minimum: int
    """Fewest images on either side for which the metric is defined."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All that it fills."""
        return tuple(column for score in self.scores for column in score.columns)


_ALL = (
    Metric(
        "fd_efficientnet_lite0",
        "Fréchet distance of EfficientNet-lite0 features; its weights come as a package",
        EFFICIENTNET,
        (scores.FD_EFFICIENTNET,),
        2,
    ),
    Metric(
        "kid_efficientnet_lite0",
        "kernel distance (squared MMD) of EfficientNet-lite0 features; unbiased for few samples",
        EFFICIENTNET,
        (scores.KID_EFFICIENTNET,),
        4,
    ),
    Metric("fid", "Fréchet Inception distance", INCEPTION, (scores.FID,), 2),
    Metric(
        "kid",
        "kernel Inception distance (squared MMD); unbiased for few samples",
        INCEPTION,
        (scores.KID,),
        4,
    ),
    Metric("is", "Inception score over ten splits of the samples", INCEPTION, (scores.INCEPTION_SCORE,), 10),
    # On Inception's pooled features, as in ADM's evaluation suite, whose numbers DiT reports;
    # torch-fidelity's own default would be VGG16, another half gigabyte of weights.
    Metric(
        "precision_recall",
        "precision and recall of 3-nearest-neighbour manifolds of Inception features",
        INCEPTION,
        (scores.PRECISION, scores.RECALL),
        4,
    ),
)
METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ALL})


def check(names: Iterable[str], samples: int) -> None:
    """See that each metric can be computed from that many samples, fetching weights where need be.

    Raises MetricError, with what to do, before anything is trained.
    """
    for metric in _chosen(names):
        if samples < metric.minimum:
            raise MetricError(
                f"metric '{metric.name}' needs at least {metric.minimum} samples, but evaluate.samples is {samples}"
            )
        extractor_weights.locate(metric.extractor, metric.name)


def warn_of_copies(names: Iterable[str], reference: NDArray[np.generic] | torch.Tensor) -> None:
    """Warn where images of a reference are copies of each other and a metric falls with that; before anything trains.

    Precision and recall ask how near the third neighbour is. Where that is a copy the neighbourhood has no extent: four
    copies of every image take precision to 0, whatever is generated.
    """
    if "precision_recall" in names and (same := copies(reference)):
        warnings.warn(
            f"{same} of {len(reference)} reference images are copies of others, byte for byte: precision and recall "
            "are of neighbourhoods that these make smaller, and cannot be laid beside others",
            CellWarning,
            stacklevel=2,
        )


def copies(images: NDArray[np.generic] | torch.Tensor) -> int:
    """How many of uint8 images (N, C, H, W) are the same as an earlier one."""
    import numpy as np

    seen = {hashlib.sha1(np.ascontiguousarray(image).data, usedforsecurity=False).digest() for image in images}
    return len(images) - len(seen)


def evaluate(
    names: Iterable[str],
    generated: torch.Tensor,
    reference: NDArray[np.uint8] | torch.Tensor,
    *,
    reference_name: str,
    reference_checksum: str,
    device: torch.device,
) -> dict[str, float | int | str | bool]:
    """Compute metrics of `generated` (N, 3, H, W) against `reference` (M, 3, H', W'), both uint8.

    `reference_checksum` is a checksum of the reference's content: its features are cached under it. Returns
    each metric's columns and those that say how they came about (`metric_*`); where two extractors were used,
    their descriptions are joined by "; ". `metric_small_sample` is true when either side has no more images
    than the features have dimensions: a covariance is singular then, and a Fréchet distance biased upwards.
    `is_limit` is what an Inception score of so few samples cannot pass; `metric_copies` and `metric_reference_copies`
    count images that are the same as others, where precision and recall are asked for and there are some.

    Raises TypeError for images that are not uint8, MetricError for too few images or missing weights.
    """
    chosen = _chosen(names)
    if not chosen:
        return {}
    from pdebench.metrics import features

    features.require_uint8(generated)
    features.require_uint8(reference)
    few = min(len(generated), len(reference))
    for metric in chosen:
        if few < metric.minimum:
            raise MetricError(
                f"metric '{metric.name}' needs at least {metric.minimum} images on either side, but there "
                f"are {len(generated)} samples and {len(reference)} images in {reference_name}"
            )
    kinds = list(dict.fromkeys(metric.extractor for metric in chosen))
    record: dict[str, float | int | str | bool] = {}
    for kind in kinds:
        asked = [metric.name for metric in chosen if metric.extractor == kind]
        path = extractor_weights.locate(kind, asked[0])
        extractor = features.Extractor(kind, path, extractor_weights.SHA256[kind], device)
        ours = extractor.features(generated)
        theirs = None
        if asked != ["is"]:  # the one metric without a reference
            theirs = extractor.reference_features(reference, reference_checksum)
        for name in asked:
            record |= _compute(name, ours, theirs, features.POOLED[kind])
    if any(name.name.startswith("kid") for name in chosen):
        record["metric_kid_subset_size"] = kid_subset_size(len(generated), len(reference))
    if "precision_recall" in (metric.name for metric in chosen):
        for column, images in (("metric_copies", generated), ("metric_reference_copies", reference)):
            if same := copies(images):
                record[column] = same
    if "is" in record and len(generated) < _CLASSES * _SPLITS:
        record["is_limit"] = len(generated) / _SPLITS
        warnings.warn(
            f"an Inception score of {len(generated)} samples cannot pass {len(generated) / _SPLITS:g}, the images of a "
            f"split: it is no score to compare with one of {_CLASSES * _SPLITS:,} samples or more",
            CellWarning,
            stacklevel=2,
        )
    return record | {
        "metric_samples": len(generated),
        "metric_reference": f"{reference_name} ({len(reference)} images)",
        "metric_reference_count": len(reference),
        "metric_resize": "; ".join(features.RESIZE[kind] for kind in kinds),
        "metric_extractor": "; ".join(kinds),
        "metric_weights_sha256": "; ".join(extractor_weights.SHA256[kind] for kind in kinds),
        "metric_small_sample": any(few <= features.DIMENSION[kind] for kind in kinds),
    }


def kid_subset_size(generated: int, reference: int) -> int:
    """Images in each of KID's 100 subsets: 1,000 as is usual, or half of the smaller set when that is less.

    Subsets as large as the set would all be the set itself, with a spread of exactly 0 that means nothing.
    """
    return min(_KID_SUBSET_SIZE, min(generated, reference) // 2)


def _chosen(names: Iterable[str]) -> list[Metric]:
    """The metrics of these names, each once, in their order."""
    chosen = []
    for name in dict.fromkeys(names):
        if name not in METRICS:
            raise MetricError(f"unknown metric '{name}'; {did_you_mean(name, METRICS)}")
        chosen.append(METRICS[name])
    return chosen


def _compute(name: str, ours: Mapping[str, torch.Tensor], theirs: torch.Tensor | None, layer: str) -> dict[str, float]:
    """One metric's columns, from the samples' features by layer and the reference's, (M, D)."""
    from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

    from pdebench.metrics.features import LOGITS

    if name == "is":
        score = metric_isc.isc_features_to_metric(ours[LOGITS], rng_seed=_SEED)
        return _columns(name, score[metric_isc.KEY_METRIC_ISC_MEAN], score[metric_isc.KEY_METRIC_ISC_STD])
    assert theirs is not None
    # Sums over many products: float32 would leave an error of the size of a small KID.
    first, second = ours[layer].double(), theirs.double()
    if name in ("fid", "fd_efficientnet_lite0"):
        statistics = [metric_fid.fid_features_to_statistics(part) for part in (first, second)]
        distance = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
        return _columns(name, distance[metric_fid.KEY_METRIC_FID])
    if name in ("kid", "kid_efficientnet_lite0"):
        distance = metric_kid.kid_features_to_metric(
            first,
            second,
            kid_subsets=_KID_SUBSETS,
            kid_subset_size=kid_subset_size(len(first), len(second)),
            rng_seed=_SEED,
            verbose=False,
        )
        return _columns(name, distance[metric_kid.KEY_METRIC_KID_MEAN], distance[metric_kid.KEY_METRIC_KID_STD])
    shares = metric_prc.prc_features_to_metric(first, second, save_cpu_ram=True, verbose=False)
    return _columns(name, shares[metric_prc.KEY_METRIC_PRECISION], shares[metric_prc.KEY_METRIC_RECALL])


def _columns(name: str, *values: float) -> dict[str, float]:
    return dict(zip(METRICS[name].columns, values, strict=True))
