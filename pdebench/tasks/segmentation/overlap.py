"""How far predicted maps cover the true ones: the confusion matrix, and what is read from it.

IoU of a class is the pixels that are of it in both maps over those that are of it in either (the Jaccard index, as in
PASCAL VOC). The confusion matrix is of all images together, as in PASCAL VOC, ADE20K and Cityscapes, and not a mean of
images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Confusion = NDArray[np.int64]
"""Pixels by their true class, in rows, and the one that was predicted: (classes, classes)."""


def confusion_of(truth: NDArray[np.integer], predicted: NDArray[np.integer], classes: int, ignored: int) -> Confusion:
    """The confusion matrix of maps of any shape, alike in both; where the truth is `ignored` nothing is counted."""
    known = truth.reshape(-1) != ignored
    pairs = truth.reshape(-1)[known].astype(np.int64) * classes + predicted.reshape(-1)[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def iou_of_classes(confusion: Confusion) -> NDArray[np.float64]:
    """The IoU of each class, (classes,); NaN of one that is in neither map."""
    both = np.diag(confusion).astype(np.float64)
    either = confusion.sum(0) + confusion.sum(1) - both
    found: NDArray[np.float64] = np.divide(both, either, out=np.full(len(both), np.nan), where=either > 0)
    return found


def mean_iou(confusion: Confusion) -> float:
    """The mean IoU of the classes that occur, in the truth or in what was predicted; NaN where no pixel is known."""
    found = iou_of_classes(confusion)
    return float(found[~np.isnan(found)].mean()) if (~np.isnan(found)).any() else float("nan")


def pixel_accuracy(confusion: Confusion) -> float:
    """The share of pixels whose class is right; NaN where no pixel is known."""
    count = confusion.sum()
    return float(np.trace(confusion) / count) if count else float("nan")
