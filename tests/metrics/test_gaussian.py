"""Gaussians of features and their Fréchet distance, against computations that share nothing with ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import sqrtm
from torch_fidelity import metric_fid

from pdebench.metrics import gaussian
from pdebench.metrics.gaussian import FeatureSums, Gaussian, fitted, frechet

Array = NDArray[np.float64]


def features(count: int, dimension: int, seed: int, *, decay: float = 5.0, places: slice = slice(None)) -> torch.Tensor:
    """Features whose deviations along random axes span e^decay; those at other places are 0."""
    random = np.random.default_rng(seed)
    axes = np.linalg.qr(np.random.default_rng(99).standard_normal((dimension, dimension)))[0]
    scales = np.exp(-np.linspace(0, decay, dimension)) * random.uniform(0.5, 1.5, dimension)
    rows = random.standard_normal((count, dimension)) * scales @ axes + 0.1 * random.standard_normal(dimension)
    kept = np.zeros_like(rows)
    kept[:, places] = rows[:, places]
    return torch.from_numpy(kept)


def from_deviations(x: Array, y: Array) -> float:
    """The distance from the data themselves: the shared trace is the sum of singular values of X'Y, rank or no rank."""
    a, b = ((side - side.mean(0)) / np.sqrt(len(side) - 1) for side in (x, y))
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * shared)


@pytest.mark.parametrize(
    ("counts", "dimension", "places"),
    [
        ((400, 300), 64, (slice(None), slice(None))),
        ((500, 2000), 256, (slice(None), slice(None))),
        ((40, 50), 64, (slice(None), slice(None))),  # fewer samples than dimensions
        ((2, 400), 64, (slice(None), slice(None))),
        ((400, 300), 64, (slice(0, 40), slice(0, 40))),  # features that are always 0
        ((400, 300), 64, (slice(0, 40), slice(20, 64))),
        ((400, 300), 64, (slice(0, 20), slice(20, 64))),  # nothing in common
    ],
)
def test_the_distance_is_that_of_the_data_of_any_rank(counts, dimension, places) -> None:
    x, y = (
        features(n, dimension, seed, places=where) for seed, (n, where) in enumerate(zip(counts, places, strict=True))
    )
    found = frechet(fitted(x), fitted(y))
    assert found == pytest.approx(from_deviations(x.numpy(), y.numpy()), rel=1e-6)
    assert found == pytest.approx(frechet(fitted(y), fitted(x)), rel=1e-6)


def test_the_distance_is_that_of_the_root_of_the_product() -> None:
    """As TTUR's code, ADM's and EDM2's have it."""
    x, y = features(900, 48, 1), features(700, 48, 2)
    (m, a), (n, b) = ((side.numpy().mean(0), np.cov(side.numpy(), rowvar=False)) for side in (x, y))
    expected = ((m - n) ** 2).sum() + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet(fitted(x), fitted(y)) == pytest.approx(expected, rel=1e-9)
    theirs = metric_fid.fid_statistics_to_metric({"mu": m, "sigma": a}, {"mu": n, "sigma": b}, verbose=False)
    assert frechet(fitted(x), fitted(y)) == pytest.approx(theirs[metric_fid.KEY_METRIC_FID], rel=1e-9)


def test_a_distance_is_never_below_0_and_is_0_from_itself() -> None:
    x = fitted(features(30, 64, 1))
    assert 0 <= frechet(x, x) < 1e-7
    still = Gaussian(np.ones(4), np.zeros((4, 4)))
    assert frechet(still, Gaussian(np.zeros(4), np.eye(4))) == pytest.approx(4 + 4)
    assert frechet(still, still) == 0


def test_gaussians_of_other_dimensions_have_no_distance() -> None:
    with pytest.raises(ValueError, match="of 4 and of 5 dimensions"):
        frechet(*(Gaussian(np.zeros(side), np.eye(side)) for side in (4, 5)))


@given(st.lists(st.integers(1, 40), min_size=2, max_size=12), st.integers(1, 64))
def test_a_gaussian_does_not_depend_on_the_blocks_that_features_come_in(sizes: list[int], block: int) -> None:
    rows = features(sum(sizes), 5, seed=3).float()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gaussian, "BLOCK", block)
        moments = FeatureSums(5)
        for part in rows.split(sizes):
            moments.add(part)
        found = moments.gaussian()
    wide = rows.numpy().astype(np.float64)
    assert found.count == len(rows)
    np.testing.assert_allclose(found.mean, wide.mean(0), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.covariance, np.cov(wide, rowvar=False), rtol=1e-10, atol=1e-15)


def test_nothing_cancels_where_features_lie_far_from_zero() -> None:
    """Sums of squares less the square of the sum have lost all digits here."""
    rows = features(6000, 8, seed=4) + 1e8
    wide = rows.numpy() - 1e8
    found = fitted(rows)
    np.testing.assert_allclose(found.covariance, np.cov(wide, rowvar=False), rtol=1e-6)
    naive = rows.T @ rows / len(rows) - torch.outer(rows.mean(0), rows.mean(0))
    assert (naive.numpy().diagonal() - np.cov(wide, rowvar=False).diagonal()).max() > 0.1
