"""Gaussians fitted to features, a block of rows at a time, and the Fréchet distance of two.

All of it in float64, whatever the features are in, and never with a copy of all features in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpstrf
from torch import Tensor

BLOCK = 2048
"""Rows that are merged at once: so many that the products outweigh what each merging takes, and few beside a set."""


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Mean (D,) and covariance (D, D) of features, float64; the covariance of a sample, divided by N - 1.

    `count` is N; None where somebody else computed them and did not say.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    count: int | None = None


class FeatureSums:
    """Takes features block by block and has their Gaussian at the end.

    Each block is centred on its own mean and merged by the update of Chan, Golub and LeVeque (1983, "Algorithms for
    computing the sample variance"), so that nothing cancels, however far from zero the features lie.
    """

    def __init__(self, dimension: int) -> None:
        self.count = 0
        self._mean = np.zeros(dimension)
        self._scatter = np.zeros((dimension, dimension))  # sum of outer products of what deviates from the mean
        self._waiting: list[NDArray[np.floating]] = []

    def add(self, features: Tensor) -> None:
        """Features (n, D) on the CPU, of any precision."""
        for rows in features.split(BLOCK):
            self._waiting.append(rows.numpy())
            if sum(map(len, self._waiting)) >= BLOCK:
                self._merge()

    def gaussian(self) -> Gaussian:
        """Of all that was added, at least two rows; what it holds is the accumulator's no more."""
        self._merge()
        self._scatter /= self.count - 1
        return Gaussian(self._mean, self._scatter, self.count)

    def _merge(self) -> None:
        if not self._waiting:
            return
        block = np.concatenate(self._waiting).astype(np.float64, copy=False)
        self._waiting.clear()
        mean = block.mean(axis=0)
        block -= mean
        count = self.count + len(block)
        offset = mean - self._mean
        self._scatter += block.T @ block  # of a matrix with itself BLAS computes one half
        self._scatter += np.outer(offset * (self.count * len(block) / count), offset)
        self._mean += offset * (len(block) / count)
        self.count = count


def fitted(features: Tensor) -> Gaussian:
    """The Gaussian of features (N, D) on the CPU, N at least 2."""
    moments = FeatureSums(features.shape[1])
    moments.add(features)
    return moments.gaussian()


def frechet(first: Gaussian, second: Gaussian) -> float:
    """The squared Fréchet distance |m - n|^2 + tr(A + B - 2 (A B)^(1/2)) of Gaussians (m, A) and (n, B).

    With A = F F' and B = G G' the last trace is that of (F'G G'F)^(1/2), whose eigenvalues a symmetric solver finds.
    F and G come from Cholesky's factorisation with pivots, which stops at the rank of a covariance: of one of fewer
    samples than dimensions no root of a rounding error is taken for a deviation. (Dowson and Landau 1982; FID is
    arXiv 1706.08500, equation 6, whose own code takes the root of the product, `scipy.linalg.sqrtm`.)

    Raises:
        ValueError: they are of other dimensions.
    """
    if first.mean.shape != second.mean.shape:
        raise ValueError(f"Gaussians of {len(first.mean)} and of {len(second.mean)} dimensions have no distance")
    offset = first.mean - second.mean
    small, large = sorted((_factor(first.covariance), _factor(second.covariance)), key=lambda one: one.shape[1])
    cross = small.T @ large
    shared = np.sqrt(np.linalg.eigvalsh(cross @ cross.T).clip(min=0)).sum()
    traces = np.trace(first.covariance) + np.trace(second.covariance)
    return max(0.0, float(offset @ offset + traces - 2 * shared))


def _factor(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    """F (D, r) with F F' the covariance (D, D) of rank r."""
    factor, pivots, rank, _ = dpstrf(covariance, lower=1)
    found = np.empty((len(covariance), rank))
    found[pivots - 1] = np.tril(factor)[:, :rank]
    return found
