"""The metrics that a suite can name. Importing this imports neither torch nor numpy.

A package adds one with an entry point in the group `pdebench.metrics` that has its name and resolves to a `Metric`;
`pdebench.registry` says what happens to one that is broken or takes a name that is taken.
"""

from __future__ import annotations

from pdebench.errors import MetricError
from pdebench.metrics.metric import DINOV2, EFFICIENTNET, I3D, INCEPTION, LOGITS, SPATIAL, Metric, Score
from pdebench.registry import Registry

_STATISTICS = "pdebench.metrics.statistics"
_SUBSETS = ("metric_kid_subset_size",)


def _kernel(column: str, title: str) -> Score:
    return Score(column, title, "kernel", spread=f"{column}_std")


_BUILT_IN = (
    Metric(
        "fd_efficientnet_lite0",
        "Fréchet distance of EfficientNet-lite0 features",
        (Score("fd_efficientnet_lite0", "Fréchet distance (EfficientNet-Lite0)", "frechet"),),
        f"{_STATISTICS}:frechet_efficientnet",
        EFFICIENTNET,
        reads="statistics",
        minimum=2,
    ),
    Metric(
        "kid_efficientnet_lite0",
        "kernel distance (squared MMD) of EfficientNet-lite0 features; unbiased for few samples",
        (_kernel("kid_efficientnet_lite0", "KID (EfficientNet-Lite0)"),),
        f"{_STATISTICS}:kernel_efficientnet",
        EFFICIENTNET,
        minimum=4,
        notes=_SUBSETS,
    ),
    Metric(
        "fid",
        "Fréchet Inception distance",
        (Score("fid", "FID", "frechet"),),
        f"{_STATISTICS}:frechet_inception",
        INCEPTION,
        reads="statistics",
        minimum=2,
    ),
    Metric(
        "sfid",
        "Fréchet distance of spatial Inception features (ADM's sFID)",
        (Score("sfid", "sFID", "frechet"),),
        f"{_STATISTICS}:frechet_spatial",
        INCEPTION,
        SPATIAL,
        reads="statistics",
        minimum=2,
    ),
    Metric(
        "fd_dinov2",
        "Fréchet distance of DINOv2 ViT-L/14 features, as EDM2 has it",
        (Score("fd_dinov2", "Fréchet distance (DINOv2)", "frechet"),),
        f"{_STATISTICS}:frechet_dinov2",
        DINOV2,
        reads="statistics",
        minimum=2,
    ),
    Metric(
        "kid",
        "kernel Inception distance (squared MMD); unbiased for few samples",
        (_kernel("kid", "KID"),),
        f"{_STATISTICS}:kernel_inception",
        INCEPTION,
        minimum=4,
        notes=_SUBSETS,
    ),
    Metric(
        "is",
        "Inception score over ten splits of the samples, shuffled",
        (Score("is", "Inception score", "inception", higher_is_better=True, spread="is_std"),),
        f"{_STATISTICS}:inception_score",
        INCEPTION,
        LOGITS,
        compares=False,
        minimum=10,
        notes=("is_limit",),
    ),
    Metric(
        "is_adm",
        "Inception score as ADM has it: over splits of 5,000 samples in their order",
        (Score("is_adm", "Inception score (ADM)", "inception", higher_is_better=True),),
        f"{_STATISTICS}:inception_score_in_order",
        INCEPTION,
        LOGITS,
        compares=False,
    ),
    # On Inception's pooled features, as in ADM's evaluation suite, whose numbers DiT reports;
    # torch-fidelity's own default would be VGG16, another half gigabyte of weights.
    Metric(
        "precision_recall",
        "precision and recall of 3-nearest-neighbour manifolds of Inception features",
        (
            Score("precision", "Precision of samples", "share", higher_is_better=True),
            Score("recall", "Recall of samples", "share", higher_is_better=True),
        ),
        f"{_STATISTICS}:precision_recall",
        INCEPTION,
        minimum=4,
        copies_matter=True,
    ),
    # Of clips. A distance of their frames says nothing of motion, so it has a name of its own: it is no image FID.
    Metric(
        "frame_fd_efficientnet_lite0",
        "Fréchet distance of EfficientNet-lite0 features of the frames of clips",
        (Score("frame_fd_efficientnet_lite0", "Fréchet distance of frames (EfficientNet-Lite0)", "frechet"),),
        f"{_STATISTICS}:frechet_frames_efficientnet",
        EFFICIENTNET,
        reads="statistics",
        minimum=2,
        of="frames",
    ),
    Metric(
        "frame_fid",
        "Fréchet Inception distance of the frames of clips, all of each clip",
        (Score("frame_fid", "FID of frames", "frechet"),),
        f"{_STATISTICS}:frechet_frames_inception",
        INCEPTION,
        reads="statistics",
        minimum=2,
        of="frames",
    ),
    Metric(
        "fvd",
        "Fréchet video distance of I3D's logits, as StyleGAN-V and its successors have it",
        (Score("fvd", "FVD", "frechet"),),
        f"{_STATISTICS}:frechet_video",
        I3D,
        reads="statistics",
        minimum=2,
        of="clips",
        least_frames=9,  # I3D halves time three times, rounding up, and takes the mean over two
    ),
)


def _fault(metric: Metric) -> str | None:
    """What is wrong with the columns of a metric of another package, which are found by the metric's name."""
    for column in metric.columns:
        own = column == metric.name or column.startswith(f"{metric.name}_")
        if not own or not column.isidentifier():
            return f"fills '{column}'; write {metric.name} or {metric.name}_ and letters, digits and underscores"
        if any(column in other.columns for other in _BUILT_IN):
            return f"fills '{column}', which is the column of a built-in metric; give the metric another name"
    for note in metric.notes:
        if not note.startswith("metric_"):
            return f"fills '{note}'; the name of a note must begin with metric_"
    return None


METRICS = Registry("metric", "pdebench.metrics", Metric, _BUILT_IN, MetricError, _fault)
