"""The boundary F score: how nearly predicted outlines run along the true ones.

Of one class in one image, precision is the share of the predicted outline's pixels that have a pixel of the true
outline within a tolerance, recall the share of the true outline's that have one of the predicted, and F1 their harmonic
mean. An image's score is the mean over the classes that have an outline in either map, a set's the mean over images
(Csurka, Larlus and Perronnin, "What is a good evaluation measure for semantic segmentation?", BMVC 2013). The
tolerance is that of the Berkeley segmentation benchmark, .0075 of the image's diagonal, and at least one pixel: an
outline lies on either side of an edge.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

TOLERANCE = 0.0075  # of the diagonal


def tolerance(height: int, width: int) -> float:
    """Pixels by which outlines may be apart."""
    return max(1.0, TOLERANCE * math.hypot(height, width))


def outline(mask: NDArray[np.bool_], others: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of a mask (H, W) that touch one of `others` along an edge; the frame's border is no outline."""
    return mask & ndimage.binary_dilation(others)


def boundary_f(truth: NDArray[np.integer], predicted: NDArray[np.integer], ignored: int) -> float | None:
    """The boundary F score of one image, from its maps (H, W), from 0 to 1; None: neither map has an outline.

    Where the truth is `ignored` neither map has pixels, and what ends there has no outline there.
    """
    known = truth != ignored
    near = _disk(tolerance(*truth.shape))
    scores = []
    for number in np.union1d(truth[known], predicted[known]):
        lines = [outline(known & (of == number), known & (of != number)) for of in (truth, predicted)]
        counts = [int(line.sum()) for line in lines]
        if any(counts):
            scores.append(_f1(lines[0], lines[1], near) if all(counts) else 0.0)
    return float(np.mean(scores)) if scores else None


def _f1(true: NDArray[np.bool_], found: NDArray[np.bool_], near: NDArray[np.bool_]) -> float:
    precision = float(ndimage.binary_dilation(true, near)[found].mean())
    recall = float(ndimage.binary_dilation(found, near)[true].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _disk(radius: float) -> NDArray[np.bool_]:
    """All places at most so far from the middle."""
    reach = math.floor(radius)
    offsets = np.arange(-reach, reach + 1)
    near: NDArray[np.bool_] = offsets[:, None] ** 2 + offsets[None, :] ** 2 <= radius**2
    return near
