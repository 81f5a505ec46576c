"""Image quality: whether metrics can be computed here, and computing them.

`fid`, `sfid`, `kid`, `is`, `is_adm` and `precision_recall` read the 2015 Inception weights and nothing else; what
another network measures carries that network's name. Importing this module needs neither torch nor numpy.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pdebench.data.nouns import plural
from pdebench.data.rows import Rows
from pdebench.data.source import Source, SourceConfig
from pdebench.errors import FOREIGN, CellWarning, MetricError, PdebenchError, out_of_memory
from pdebench.metrics import extractor_weights
from pdebench.metrics.metric import DIMENSIONS, POOLED, Metric
from pdebench.metrics.reference import Reference
from pdebench.metrics.registry import METRICS
from pdebench.models.package_code import digest_of_package

if TYPE_CHECKING:
    import torch

    from pdebench.metrics.samples import Samples

_AT_ONCE = 256  # images: several are decoded at once, where they are decoded when they are read


def check_images(names: Iterable[str], source: Source, data: SourceConfig) -> None:
    """See that the metrics can look at a data set's images or clips.

    Raises:
        MetricError: an extractor takes RGB, and they are not; or a metric is of the one and they are the other.
    """
    frames = sides[0] if len(sides := source.sides(data)) == 3 else None
    check_kind(names, frames, f"data set '{source.name}'")
    if source.drawable(data):
        return
    channels = source.channels_of(data)
    for metric in _chosen(names):
        if metric.extractor is not None:
            raise MetricError(
                f"metric '{metric.name}' reads features of RGB images, but data set '{source.name}' has "
                f"{plural(channels, 'channel')} of {source.dtype}: leave it out of evaluate.metrics"
                + ", or name what decodes them as data.autoencoder"
                * ("autoencoder" in source.takes)
            )


def check_kind(names: Iterable[str], frames: int | None, whose: str) -> None:
    """See that the metrics are of clips of so many frames, or where `frames` is None of images; `whose` names them.

    Raises:
        MetricError: one is of the other, or needs more frames.
    """
    for metric in _chosen(names):
        _refuse_unlike(metric, frames, whose)


def check(names: Iterable[str], samples: int) -> None:
    """See that each metric can be computed from that many samples, fetching weights where need be.

    The function of another package's metric is imported, which may import torch.

    Raises MetricError, with what to do, before anything is trained.
    """
    for metric in _chosen(names):
        if samples < metric.minimum:
            raise MetricError(
                f"metric '{metric.name}' needs at least {metric.minimum} samples, but evaluate.samples is {samples}"
            )
        if metric.extractor is not None:
            extractor_weights.locate(metric.extractor, metric.name)
        if metric.name not in METRICS.built_in:
            _function(metric)


def _refuse_unlike(metric: Metric, frames: int | None, whose: str) -> None:
    """Refuse a metric of images for clips of so many frames, one of clips for images, where `frames` is None.

    Raises:
        MetricError: it is such a metric.
    """
    if frames is None and metric.of != "images":
        raise MetricError(f"metric '{metric.name}' is of clips, and {whose} has still images: leave it out")
    if frames is not None and metric.of == "images":
        others = ", ".join(name for name, one in METRICS.at_hand().items() if one.of != "images")
        raise MetricError(f"metric '{metric.name}' is of images, and {whose} has clips: take one of clips ({others})")
    if frames is not None and frames < metric.least_frames:
        raise MetricError(
            f"metric '{metric.name}' needs clips of at least {metric.least_frames} frames, and those of {whose} have "
            f"{frames}"
        )


def warn_of_copies(names: Iterable[str], reference: Rows | torch.Tensor) -> None:
    """Warn where images of a reference are copies of each other and a metric falls with that; before anything trains.

    So do precision and recall: they ask how near the third neighbour is. Where that is a copy the neighbourhood has no
    extent: four copies of every image take precision to 0, whatever is generated.
    """
    touched = [metric.name for metric in _chosen(names) if metric.copies_matter]
    if touched and (same := copies(reference)):
        said = (
            "precision and recall are of neighbourhoods that these make smaller, and"
            if touched == ["precision_recall"]
            else f"{', '.join(touched)} fall with that, and"
        )
        warnings.warn(
            f"{same} of {len(reference)} reference images are copies of others, byte for byte: {said} cannot be laid "
            "beside others",
            CellWarning,
            stacklevel=2,
        )


def copies(images: Rows | torch.Tensor) -> int:
    """How many of uint8 images (N, C, H, W) are the same as an earlier one."""
    import numpy as np

    seen = {
        hashlib.sha1(np.ascontiguousarray(image).data, usedforsecurity=False).digest()
        for begin in range(0, len(images), _AT_ONCE)
        for image in images[begin : begin + _AT_ONCE]
    }
    return len(images) - len(seen)


def check_reference(names: Iterable[str], reference: Reference) -> None:
    """See that a reference has what each metric compares with, and enough of it.

    Raises:
        MetricError: one lacks images or statistics, or is of clips where it should be of images, or the other way.
    """
    for metric in _chosen(names):
        if reference.images is not None and (reference.images.ndim == 5 or metric.of == "clips"):  # frames are images
            frames = reference.images.shape[2] if reference.images.ndim == 5 else None
            _refuse_unlike(metric, frames, reference.name)
        if lacking := reference.lacks(metric):
            raise MetricError(
                f"metric '{metric.name}' compares with {lacking}, which {reference.name} has not: leave it out, "
                "or take a reference that has"
            )
        if _looks_at(metric, reference) and reference.images is not None and len(reference.images) < metric.minimum:
            raise MetricError(
                f"metric '{metric.name}' needs at least {metric.minimum} images on either side, but there are "
                f"{len(reference.images)} images in {reference.name}"
            )


def check_size(names: Iterable[str], size: Sequence[int], reference: Reference) -> None:
    """See that samples are as large as the images that they are compared with.

    A network resizes both to its own input, so that a distance of unlike sizes would be one of their sharpness. Of
    statistics that come without images nobody can say what size those had.

    Args:
        names: of metrics; those that compare with nothing do not mind.
        size: of the samples: height and width, in pixels, whatever stands before them.
        reference: what they are compared with.

    Raises:
        MetricError: they are not.
    """
    if reference.images is None or not any(metric.compares for metric in _chosen(names)):
        return
    own, other = tuple(size[-2:]), tuple(reference.images.shape[-2:])
    if own != other:
        again = f" (--resolution {own[0]}, of a folder or a data set)" if own[0] == own[1] else ""
        raise MetricError(
            f"samples are {pixels(own)} and those of the reference {reference.name} {pixels(other)}: scores of unlike "
            f"sizes say nothing; take a reference of the samples' size{again}, or samples of the reference's"
        )


def pixels(size: Sequence[int]) -> str:
    """`64 x 48 px`: width and height, of a shape that ends with height and width."""
    return f"{size[-1]} x {size[-2]} px"


def evaluate(
    names: Iterable[str], generated: Rows | torch.Tensor, reference: Reference, *, device: torch.device
) -> dict[str, float | int | str | bool]:
    """Compute metrics of `generated` (N, C, H, W) against a reference, whose images are (M, C, H, W).

    Of clips (N, C, T, H, W) metrics are of their frames or of whole clips; counts are of clips.

    Where a metric reads an extractor's features both are uint8 RGB. Images are read some at a time. What stands in
    memory beside them is what metrics keep: of Fréchet distances the covariances, of others the features of all images,
    in float32.

    Returns each metric's columns and those that say how they came about (`metric_*`); where two extractors were used,
    their descriptions are joined by "; ", and where none was there are none. `metric_small_sample` is true when either
    side has no more images than the features have dimensions: a covariance is singular then, and a Fréchet distance
    biased upwards. `metric_source` has a digest of the code of each metric of another package. `metric_copies` and
    `metric_reference_copies` count images that are the same as others, where that matters and there are some.
    `metric_reference_statistics` says which statistics came with the reference, where some did.

    Raises TypeError for images that are not uint8, MetricError for too few images, a reference that lacks something
    or has another size, missing weights, or a metric that fails.
    """
    chosen = _chosen(names)
    if not chosen:
        return {}
    from torch.random import fork_rng

    from pdebench.metrics import features
    from pdebench.metrics.samples import Samples

    for metric in chosen:
        _refuse_unlike(metric, generated.shape[2] if generated.ndim == 5 else None, "what is measured")
        if len(generated) < metric.minimum:
            raise MetricError(
                f"metric '{metric.name}' needs at least {metric.minimum} images on either side, but there are "
                f"{len(generated)} samples"
            )
    check_reference([metric.name for metric in chosen], reference)
    check_size([metric.name for metric in chosen], generated.shape, reference)
    record: dict[str, float | int | str | bool] = {}
    digests: dict[str, str] = {}
    for kind, of in dict.fromkeys((metric.extractor, metric.of) for metric in chosen):
        asked = [metric for metric in chosen if (metric.extractor, metric.of) == (kind, of)]
        seen, compared = _frames(generated, reference) if of == "frames" else (generated, reference)
        if kind is not None:
            for images in (seen, compared.images):
                if images is not None:
                    features.require_uint8(images, clips=of == "clips")
        extractor = None
        if kind is not None:
            weights = extractor_weights.locate(kind, asked[0].name)
            digests[kind] = weights.sha256
            extractor = features.Extractor(kind, weights, device)
        samples = Samples(seen, compared, extractor, asked)
        for metric in asked:
            with fork_rng(devices=[]):
                record |= _computed(metric, samples)
    if any(metric.copies_matter for metric in chosen):
        for column, images in (("metric_copies", generated), ("metric_reference_copies", reference.images)):
            if images is not None and (same := copies(images)):
                record[column] = same
    record |= {"metric_samples": len(generated), "metric_reference": reference.title}
    if reference.images is not None:
        record["metric_reference_count"] = len(reference.images)
    if given := _given(chosen, reference):
        record["metric_reference_statistics"] = given
    if added := [metric for metric in chosen if metric.name not in METRICS.built_in]:
        record["metric_source"] = "; ".join(f"{metric.name} {_source(metric)}" for metric in added)
    if digests:
        counts = {len(generated)}
        if reference.images is not None and any(_looks_at(metric, reference) for metric in chosen):
            counts.add(len(reference.images))
        record |= {
            "metric_resize": "; ".join(features.RESIZE[kind] for kind in digests),
            "metric_extractor": "; ".join(digests),
            "metric_weights_sha256": "; ".join(digests.values()),
            "metric_small_sample": any(
                min(counts) * (generated.shape[2] if metric.of == "frames" else 1)
                <= DIMENSIONS[metric.extractor][POOLED]
                for metric in chosen
                if metric.extractor is not None
            ),
        }
    return record


def small_sample(names: Iterable[str], record: Mapping[str, object]) -> str:
    """What a reader of Fréchet distances of few images has to know; empty where there are enough, or no such distance.

    `record` is what `evaluate` gave of these metrics.
    """
    if not record.get("metric_small_sample"):
        return ""
    counts = [int(str(record[one])) for one in ("metric_samples", "metric_reference_count") if record.get(one)]
    few = [
        DIMENSIONS[metric.extractor][POOLED]
        for metric in _chosen(names)
        if metric.extractor is not None
        and any(one.kind == "frechet" for one in metric.scores)
        and (metric.of == "frames" or min(counts, default=0) <= DIMENSIONS[metric.extractor][POOLED])
    ]
    if not few:
        return ""
    most = max(few)
    return (
        f"few images: a Fréchet distance of no more than the network has features ({most:,}) is biased upwards, the "
        "more the fewer; compare it at equal counts alone"
    )


def _frames(generated: Rows | torch.Tensor, reference: Reference) -> tuple[Rows | torch.Tensor, Reference]:
    """The frames of clips, and of those that they are compared with."""
    from pdebench.metrics.frames import frames_of

    if reference.images is None:
        return frames_of(generated), reference
    images = frames_of(reference.images)
    return frames_of(generated), Reference(
        reference.name, images, f"frames of {reference.checksum}", reference.statistics
    )


def _looks_at(metric: Metric, reference: Reference) -> bool:
    """Whether a metric looks at the images of a reference."""
    return metric.compares and not reference.gives(metric)


def _given(chosen: Iterable[Metric], reference: Reference) -> str:
    """Where the statistics of Fréchet distances are from, if some came with the reference."""
    compared = [metric for metric in chosen if metric.reads == "statistics"]
    given = [metric.name for metric in compared if reference.gives(metric)]
    computed = [metric.name for metric in compared if not reference.gives(metric)]
    if not given or reference.images is None or not computed:
        return "given" if given else ""
    return f"{', '.join(given)}: given; {', '.join(computed)}: computed from {len(reference.images)} images"


def _chosen(names: Iterable[str]) -> list[Metric]:
    """The metrics of these names, each once, in their order."""
    return [METRICS.find(name) for name in dict.fromkeys(names)]


def _computed(metric: Metric, samples: Samples) -> dict[str, float | str]:
    """A metric's columns. A score that is not finite was not measured: it is left out, and warned of."""
    function = _function(metric)
    try:
        found = dict(function(samples))
        scores = {column: float(found.pop(column)) for column in metric.columns}
    except PdebenchError:
        raise
    except FOREIGN as error:
        if out_of_memory(error):
            raise
        said = f"lacks {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise MetricError(f"metric '{metric.name}' fails in {metric.compute}: {said}") from error
    if other := found.keys() - set(metric.notes):
        raise MetricError(f"metric '{metric.name}': {metric.compute} fills {', '.join(sorted(other))} unannounced")
    lost = [column for column, value in scores.items() if not math.isfinite(value)]
    if lost and metric.name not in METRICS.built_in:
        text = f"metric '{metric.name}': {', '.join(lost)} is not finite, and left out"
        warnings.warn(text, CellWarning, stacklevel=2)
        scores = {column: value for column, value in scores.items() if column not in lost}
    return scores | found


def _function(metric: Metric) -> Callable[[Samples], Mapping[str, float | str]]:
    """What computes a metric.

    Raises:
        MetricError: it cannot be imported.
    """
    try:
        return metric.function()
    except FOREIGN as error:
        if out_of_memory(error):
            raise
        raise MetricError(
            f"metric '{metric.name}': {metric.compute} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _source(metric: Metric) -> str:
    """The first digits of a digest of the code of another package's metric."""
    digest = digest_of_package(metric.compute.partition(":")[0].partition(".")[0])
    return "unknown" if digest is None else digest[:12]
