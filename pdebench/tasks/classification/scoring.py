"""Scores of a classifier's answers: how often it is right, and whether it is as sure as it is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BINS = 15
FEWEST_FOR_TOP5 = 6  # classes: of five, the five best are all


@dataclass(frozen=True)
class Answers:
    """What a model said of images: `place` (N,), how many classes it holds for likelier than the true one, and
    `sure` (N,), the probability that it gives the likeliest."""

    place: NDArray[np.int64]
    sure: NDArray[np.float64]


def answers(logits: Tensor, labels: Tensor) -> Answers:
    """Those of `logits` (N, classes) for `labels` (N,). Of classes that are as likely the first is the likelier, as
    `argmax` has it: a model that says nothing is no better than chance."""
    own = logits.gather(1, labels[:, None])
    earlier = torch.arange(logits.shape[1], device=logits.device) < labels[:, None]
    place = ((logits > own) | ((logits == own) & earlier)).sum(1)
    sure = logits.double().softmax(1).amax(1)
    return Answers(place.cpu().numpy(), sure.cpu().numpy())


def among_the_first(found: Answers, k: int) -> float:
    """Share of images whose class is among the `k` likeliest."""
    return float((found.place < k).mean())


def calibration_error(found: Answers, bins: int = BINS) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv 1706.04599, equation 3): images by their confidence in bins
    of equal width, (0, 1/15], (1/15, 2/15], ..., and `sum |B| / N |accuracy(B) - confidence(B)|`."""
    right = found.place == 0
    bin_of = np.clip(np.ceil(found.sure * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(bin_of, right - found.sure, minlength=bins)
    return float(np.abs(gap).sum() / len(right))
