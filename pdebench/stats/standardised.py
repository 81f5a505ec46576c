"""Features of mean 0 and deviation 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def standardised(training: NDArray[np.float32], *others: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Features (N, D), and others (M, D), by the mean and deviation of the former; what never varies becomes 0."""
    mean = training.mean(axis=0, dtype=np.float64)
    deviation = training.std(axis=0, dtype=np.float64)
    # a feature that is one number but for rounding says nothing, and divided by its deviation would be noise
    varies = deviation > 1e-6 * np.abs(mean)
    scale = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=varies & (deviation > 0))
    return [(one - mean) * scale for one in (training, *others)]
