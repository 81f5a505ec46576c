"""Rotary positions on a grid of any number of axes (arXiv 2104.09864): channels turned in pairs, by a token's place.

    (a, b) -> (a cos(p w) - b sin(p w), b cos(p w) + a sin(p w))        w_i = 10000^(-i / n), i < n

where p is the place along an axis that the pair belongs to, and n that axis's pairs. Products of a turned query and a
turned key depend on their places' difference alone. Pairs are neighbouring channels; the first of a head are of the
first axis. In a plane rows and columns have half of them each, as in EVA-02 (arXiv 2303.11331) and LightningDiT (arXiv
2501.01423). On (t, h, w) rows and columns have three eighths each and time the rest, as in CogVideoX (arXiv
2408.06072), whose rule heads of 64 channels follow exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

BASE = 10_000.0


def pairs_of(head: int, axes: int) -> tuple[int, ...]:
    """How many of a head's pairs of channels each axis has."""
    pairs = head // 2
    if axes == 3:
        plane = (pairs - pairs // 4) // 2
        return pairs - 2 * plane, plane, plane
    return (pairs,) if axes == 1 else (pairs - pairs // 2, pairs // 2)


class Rotary(nn.Module):
    """Turns queries or keys (..., N, head) of a grid's tokens in raster order; in float32, whatever it is given.

    Args:
        grid: tokens along each axis.
        head: channels of a head, an even number.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, grid: tuple[int, ...], head: int) -> None:
        super().__init__()
        self.grid, self.head = grid, head
        self.register_buffer("cos", None, persistent=False)
        self.register_buffer("sin", None, persistent=False)
        self.stand_apart([1.0] * len(grid))

    def stand_apart(self, scales: Sequence[float]) -> None:
        """Put neighbouring tokens so far from each other, by axis: .5 is a grid twice as fine over the same image."""
        places = torch.meshgrid(
            *(
                torch.arange(tokens, dtype=torch.float64) * scale
                for tokens, scale in zip(self.grid, scales, strict=True)
            ),
            indexing="ij",
        )
        angles = torch.cat(
            [
                place.reshape(-1, 1) * BASE ** (-torch.arange(pairs, dtype=torch.float64) / pairs)
                for place, pairs in zip(places, pairs_of(self.head, len(self.grid)), strict=True)
            ],
            dim=1,
        )
        self.cos, self.sin = angles.cos().float(), angles.sin().float()

    def forward(self, x: Tensor) -> Tensor:
        """Turn `x`; the result is in its precision."""
        a, b = x.to(torch.promote_types(x.dtype, torch.float32)).unflatten(-1, (-1, 2)).unbind(-1)
        turned = torch.stack([a * self.cos - b * self.sin, b * self.cos + a * self.sin], dim=-1)
        return turned.flatten(-2).to(x.dtype)
