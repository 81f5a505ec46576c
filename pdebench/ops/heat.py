"""What heat conduction over a grid of tokens, its edges closed, leaves of each of its cosines (`trigonometric.py`)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pdebench.ops.constants import kept


def decay(k: Tensor) -> Tensor:
    """What is left of each cosine at t = 1, (h, w, D), of its conductivity (h, w, D) in tokens squared.

    Of the constant all is.
    """
    h, w, _ = k.shape
    return torch.exp(-squared_frequencies(h, w, like=k).unsqueeze(-1) * k)


@kept
def squared_frequencies(h: int, w: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`(n pi / h)^2 + (m pi / w)^2` of the cosines, (h, w), in radians a token squared."""
    rows, columns = (torch.arange(side, dtype=torch.float64, device=device) * (math.pi / side) for side in (h, w))
    return (rows[:, None].square() + columns.square()).to(dtype)
