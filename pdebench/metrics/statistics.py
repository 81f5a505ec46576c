"""The built-in metrics, computed from the features of an extractor."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from torch import Tensor, from_numpy
from torch_fidelity import metric_kid

from pdebench.errors import CellWarning
from pdebench.metrics.gaussian import frechet
from pdebench.metrics.metric import POOLED, SPATIAL
from pdebench.metrics.neighbours import precision_and_recall
from pdebench.metrics.samples import Samples

_SEED = 2020  # torch-fidelity's default, for the subsets of KID and the splits of IS
_KID_SUBSETS = 100
_KID_SUBSET_SIZE = 1000
_CLASSES, _SPLITS = 1000, 10  # of the Inception score: neither classes nor images of a split are passed by it
_ADM_SPLIT = 5000


def frechet_efficientnet(samples: Samples) -> dict[str, float]:
    """The Fréchet distance of EfficientNet's features."""
    return {"fd_efficientnet_lite0": frechet(*samples.gaussians(POOLED))}


def frechet_inception(samples: Samples) -> dict[str, float]:
    """The Fréchet Inception distance."""
    return {"fid": frechet(*samples.gaussians(POOLED))}


def frechet_spatial(samples: Samples) -> dict[str, float]:
    """The Fréchet distance of spatial Inception features."""
    return {"sfid": frechet(*samples.gaussians(SPATIAL))}


def frechet_dinov2(samples: Samples) -> dict[str, float]:
    """The Fréchet distance of DINOv2's features."""
    return {"fd_dinov2": frechet(*samples.gaussians(POOLED))}


def frechet_frames_efficientnet(samples: Samples) -> dict[str, float]:
    """The Fréchet distance of EfficientNet's features of frames."""
    return {"frame_fd_efficientnet_lite0": frechet(*samples.gaussians(POOLED))}


def frechet_frames_inception(samples: Samples) -> dict[str, float]:
    """The Fréchet Inception distance of frames."""
    return {"frame_fid": frechet(*samples.gaussians(POOLED))}


def frechet_video(samples: Samples) -> dict[str, float]:
    """The Fréchet video distance (arXiv 1812.01717)."""
    return {"fvd": frechet(*samples.gaussians(POOLED))}


def kernel_efficientnet(samples: Samples) -> dict[str, float]:
    """The kernel distance of EfficientNet's features, its spread over subsets, and their size."""
    return _kernel("kid_efficientnet_lite0", samples)


def kernel_inception(samples: Samples) -> dict[str, float]:
    """The kernel Inception distance, its spread over subsets, and their size."""
    return _kernel("kid", samples)


def inception_score(samples: Samples) -> dict[str, float]:
    """The Inception score over ten splits of shuffled samples, as torch-fidelity draws them, and its spread.

    Of few samples also the limit that it cannot pass.
    """
    count = len(samples.logits)
    order = from_numpy(np.random.RandomState(_SEED).permutation(count))
    bounds = [split * count // _SPLITS for split in range(_SPLITS + 1)]
    scores = _scores(samples.logits[order[low:high]] for low, high in pairwise(bounds))
    found = {"is": float(np.mean(scores)), "is_std": float(np.std(scores))}
    if count >= _CLASSES * _SPLITS:
        return found
    warnings.warn(
        f"an Inception score of {count} samples cannot pass {count / _SPLITS:g}, the images of a "
        f"split: it is no score to compare with one of {_CLASSES * _SPLITS:,} samples or more",
        CellWarning,
        stacklevel=2,
    )
    return found | {"is_limit": count / _SPLITS}


def inception_score_in_order(samples: Samples) -> dict[str, float]:
    """The Inception score of ADM's `evaluator.py`: the mean over splits of 5,000 samples in their order.

    Samples that come class by class score less than shuffled ones: a split has few classes then. The last split may be
    smaller than the others, and counts as much.
    """
    if (count := len(samples.logits)) % _ADM_SPLIT:
        warnings.warn(
            f"is_adm is a mean over splits of {_ADM_SPLIT:,} samples, and the last of {count:,} samples' has "
            f"{count % _ADM_SPLIT:,}: it is no score to compare with published ones, which are of 50,000",
            CellWarning,
            stacklevel=2,
        )
    return {"is_adm": float(np.mean(_scores(samples.logits.split(_ADM_SPLIT))))}


def _scores(splits: Iterable[Tensor]) -> list[float]:
    """The Inception score (arXiv 1606.03498) of each split of logits (n, 1008): exp of the mean of KL(p(y|x), p(y))."""
    found = []
    for logits in splits:
        log_p = logits.double().log_softmax(dim=1)
        p = log_p.exp()
        divergence = (p * (log_p - p.mean(dim=0, keepdim=True).log())).sum(dim=1)
        found.append(divergence.mean().exp().item())
    return found


def precision_recall(samples: Samples) -> dict[str, float]:
    """Precision and recall of 3-nearest-neighbour manifolds."""
    precision, recall = precision_and_recall(samples.features, samples.reference_features, samples.extractor.device)
    return {"precision": precision, "recall": recall}


def kid_subset_size(generated: int, reference: int) -> int:
    """Images in each of KID's 100 subsets: 1,000 as is usual, or half of the smaller set when that is less.

    Subsets as large as the set would all be the set itself, with a spread of exactly 0 that means nothing.
    """
    return min(_KID_SUBSET_SIZE, min(generated, reference) // 2)


def _kernel(name: str, samples: Samples) -> dict[str, float]:
    """torch-fidelity's kernel and its draws of subsets, each of which is widened to float64 by itself.

    A sum over many products has an error in float32 of the size of a small KID.
    """
    sides = samples.features.numpy(), samples.reference_features.numpy()
    size = kid_subset_size(*map(len, sides))
    random = np.random.RandomState(_SEED)
    distances = []
    for _ in range(_KID_SUBSETS):
        subsets = [side[random.choice(len(side), size, replace=False)].astype(np.float64) for side in sides]
        distances.append(metric_kid.kernel_mmd(*subsets))
    return {
        name: float(np.mean(distances)),
        f"{name}_std": float(np.std(distances)),
        "metric_kid_subset_size": size,
    }
