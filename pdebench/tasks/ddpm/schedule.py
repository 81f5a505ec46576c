"""The steps of a diffusion: how much of an image is left after each, and what is known of the step before.

    x_k = sqrt(a_k) x + sqrt(1 - a_k) eps,   a_k = prod_{j <= k} (1 - beta_j),   k = 0 ... 999        (arXiv 2006.11239)

with beta from 1e-4 to .02 in equal steps. A sampler may keep some of the steps alone (arXiv 2102.09672, section 4):
between two kept ones beta is 1 - a_k / a_j.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STEPS = 1000
FIRST_BETA, LAST_BETA = 1e-4, 0.02


class Tables(NamedTuple):
    """A number for each kept step, float32 on one device.

    Attributes:
        image, noise: what the image and the noise are multiplied by.
        image_before, noise_before: those of the step before; before the first there is the image alone.
        by_state, by_noise: the image is `by_state x_k - by_noise eps`.
        mean_image, mean_state: the mean of the step before is `mean_image x + mean_state x_k`, given both.
        log_least: logarithm of the variance of the step before, given the image and x_k. Before the first step it is
            none: there it is that of the second, as in the authors' code.
        log_most: logarithm of beta, the variance where nothing is known of the image.
    """

    image: Tensor
    noise: Tensor
    image_before: Tensor
    noise_before: Tensor
    by_state: Tensor
    by_noise: Tensor
    mean_image: Tensor
    mean_state: Tensor
    log_least: Tensor
    log_most: Tensor


@dataclass(frozen=True)
class Schedule:
    """Some steps of the diffusion, in the order of rising noise.

    Attributes:
        kept: their numbers among all STEPS, at least two.
    """

    kept: tuple[int, ...]

    def tables(self, device: torch.device) -> Tables:
        """What is needed at each step; computed in float64."""
        # a tensor anew each time: one that is kept might be of a trace, which has no values
        return Tables(*torch.from_numpy(_stacked(self)).to(device))

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The tables by name, in float64."""
        left = np.cumprod(1 - np.linspace(FIRST_BETA, LAST_BETA, STEPS))[list(self.kept)]
        before = np.append(1.0, left[:-1])
        beta = 1 - left / before
        variance = beta * (1 - before) / (1 - left)
        return {
            "image": np.sqrt(left),
            "noise": np.sqrt(1 - left),
            "image_before": np.sqrt(before),
            "noise_before": np.sqrt(1 - before),
            "by_state": np.sqrt(1 / left),
            "by_noise": np.sqrt(1 / left - 1),
            "mean_image": beta * np.sqrt(before) / (1 - left),
            "mean_state": (1 - before) * np.sqrt(1 - beta) / (1 - left),
            "log_least": np.log(np.append(variance[1], variance[1:])),
            "log_most": np.log(beta),
        }


WHOLE = Schedule(tuple(range(STEPS)))
"""Every step: what is trained on."""


@lru_cache(maxsize=8)
def respaced(count: int) -> Schedule:
    """`count` steps from the first to the last, as evenly as whole numbers are."""
    stride, at, kept = (STEPS - 1) / (count - 1), 0.0, []
    for _ in range(count):
        kept.append(round(at))
        at += stride  # summed, not multiplied: ties are rounded as in the authors' code
    return Schedule(tuple(kept))


@lru_cache(maxsize=8)
def _stacked(schedule: Schedule) -> NDArray[np.float32]:
    """The tables in their order, (10, steps)."""
    arrays = schedule.arrays()
    return np.stack([arrays[name] for name in Tables._fields]).astype(np.float32)
