"""The built-in metrics, computed by torch-fidelity from the features of an extractor."""

from __future__ import annotations

import warnings

from torch import Tensor
from torch_fidelity import metric_fid, metric_isc, metric_kid, metric_prc

from pdebench.errors import CellWarning
from pdebench.metrics.samples import Samples

_SEED = 2020  # torch-fidelity's default, for the subsets of KID and the splits of IS
_KID_SUBSETS = 100
_KID_SUBSET_SIZE = 1000
_CLASSES, _SPLITS = 1000, 10  # of the Inception score: neither classes nor images of a split are passed by it


def frechet_efficientnet(samples: Samples) -> dict[str, float]:
    """The Fréchet distance of EfficientNet's features."""
    return {"fd_efficientnet_lite0": frechet(*_both(samples))}


def frechet_inception(samples: Samples) -> dict[str, float]:
    """The Fréchet Inception distance."""
    return {"fid": frechet(*_both(samples))}


def kernel_efficientnet(samples: Samples) -> dict[str, float]:
    """The kernel distance of EfficientNet's features, its spread over subsets, and their size."""
    return _kernel("kid_efficientnet_lite0", samples)


def kernel_inception(samples: Samples) -> dict[str, float]:
    """The kernel Inception distance, its spread over subsets, and their size."""
    return _kernel("kid", samples)


def inception_score(samples: Samples) -> dict[str, float]:
    """The Inception score and its spread over splits; of few samples also the limit that it cannot pass."""
    score = metric_isc.isc_features_to_metric(samples.logits, rng_seed=_SEED)
    found = {"is": score[metric_isc.KEY_METRIC_ISC_MEAN], "is_std": score[metric_isc.KEY_METRIC_ISC_STD]}
    if (count := len(samples.generated)) >= _CLASSES * _SPLITS:
        return found
    warnings.warn(
        f"an Inception score of {count} samples cannot pass {count / _SPLITS:g}, the images of a "
        f"split: it is no score to compare with one of {_CLASSES * _SPLITS:,} samples or more",
        CellWarning,
        stacklevel=2,
    )
    return found | {"is_limit": count / _SPLITS}


def precision_recall(samples: Samples) -> dict[str, float]:
    """Precision and recall of 3-nearest-neighbour manifolds."""
    shares = metric_prc.prc_features_to_metric(*_both(samples), save_cpu_ram=True, verbose=False)
    return {
        "precision": shares[metric_prc.KEY_METRIC_PRECISION],
        "recall": shares[metric_prc.KEY_METRIC_RECALL],
    }


def frechet(first: Tensor, second: Tensor) -> float:
    """The squared Fréchet distance of the Gaussians of two sets of features, (N, D) and (M, D) float64."""
    statistics = [metric_fid.fid_features_to_statistics(part) for part in (first, second)]
    distance = metric_fid.fid_statistics_to_metric(*statistics, verbose=False)
    return float(distance[metric_fid.KEY_METRIC_FID])


def kid_subset_size(generated: int, reference: int) -> int:
    """Images in each of KID's 100 subsets: 1,000 as is usual, or half of the smaller set when that is less.

    Subsets as large as the set would all be the set itself, with a spread of exactly 0 that means nothing.
    """
    return min(_KID_SUBSET_SIZE, min(generated, reference) // 2)


def _kernel(name: str, samples: Samples) -> dict[str, float]:
    first, second = _both(samples)
    size = kid_subset_size(len(first), len(second))
    distance = metric_kid.kid_features_to_metric(
        first, second, kid_subsets=_KID_SUBSETS, kid_subset_size=size, rng_seed=_SEED, verbose=False
    )
    return {
        name: distance[metric_kid.KEY_METRIC_KID_MEAN],
        f"{name}_std": distance[metric_kid.KEY_METRIC_KID_STD],
        "metric_kid_subset_size": size,
    }


def _both(samples: Samples) -> tuple[Tensor, Tensor]:
    """Pooled features of both sides: sums over many products, whose error in float32 has the size of a small KID."""
    return samples.features.double(), samples.reference_features.double()
