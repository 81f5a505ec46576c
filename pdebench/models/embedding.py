"""What enters a backbone: patches of images, times and labels as vectors, and where tokens stand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PatchEmbed(nn.Module):
    """Images (B, C, H, W), clips (B, C, T, H, W) or sequences (B, C, L) to tokens (B, N, D) in raster order.

    The weights are those of DiT's strided convolution, of a clip ViViT's of tubelets, applied as what it is: one matrix
    product.
    """

    def __init__(self, patches: tuple[int, ...], in_channels: int, width: int) -> None:
        super().__init__()
        self.patches = patches
        convolution = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(patches)]
        self.proj = convolution(in_channels, width, kernel_size=patches, stride=patches)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        (batch, channels, *sides), axes = x.shape, len(self.patches)
        split = [length for side, p in zip(sides, self.patches, strict=True) for length in (side // p, p)]
        order = (0, *range(2, 2 + 2 * axes, 2), 1, *range(3, 3 + 2 * axes, 2))
        patches = x.view(batch, channels, *split).permute(order).reshape(batch, -1, channels * math.prod(self.patches))
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)


class TimestepEmbedder(nn.Module):
    """Scalar times (B,) to vectors (B, D) by sinusoids of 256 channels and an MLP."""

    frequencies: Tensor

    def __init__(self, width: int, channels: int = 256, max_period: float = 10_000.0) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width))
        exponents = torch.arange(channels // 2, dtype=torch.float32) / (channels // 2)
        self.register_buffer("frequencies", torch.exp(-math.log(max_period) * exponents), persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        angles = t[:, None].float() * self.frequencies
        return self.mlp(torch.cat([angles.cos(), angles.sin()], dim=-1))  # type: ignore[no-any-return]


class LabelEmbedder(nn.Module):
    """Class labels (B,) to vectors (B, D); the last row of the table stands for "no class"."""

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(num_classes + 1, width)

    def forward(self, y: Tensor) -> Tensor:
        return self.embedding_table(y)  # type: ignore[no-any-return]


def sincos_position_embedding(grid: tuple[int, ...], width: int, scales: Sequence[float] | None = None) -> Tensor:
    """Frozen sine-cosine position embedding, (1, N, width): in a plane as in MAE and DiT, columns first, then rows.

    On (t, h, w) a token's is the sum of its frame's, over the whole width, and of its place's in the plane, as in Latte
    (arXiv 2401.03048; Vchitect/Latte), which adds the frame's after its first block. A sequence has its place's alone.
    A token stands `scales` apart from the next, by axis, 1 where not given: 0.5 gives a grid twice as fine over the
    same image.
    """
    places = [
        torch.arange(tokens, dtype=torch.float64, device="cpu") * scale
        for tokens, scale in zip(grid, scales or [1.0] * len(grid), strict=True)
    ]
    found = torch.zeros((), dtype=torch.float64, device="cpu")
    if len(grid) != 2:
        found = _sines_and_cosines(places[0], width)
    if len(grid) > 1:
        rows, columns = torch.meshgrid(*places[-2:], indexing="ij")
        plane = [_sines_and_cosines(axis.reshape(-1), width // 2) for axis in (columns, rows)]
        found = (found.unsqueeze(-2) if len(grid) == 3 else found) + torch.cat(plane, dim=1)
    return found.reshape(1, -1, width).float()


def _sines_and_cosines(places: Tensor, width: int) -> Tensor:
    """(N,) to (N, width)."""
    omega = 10_000.0 ** (-torch.arange(width // 2, dtype=torch.float64, device="cpu") / (width / 2))
    angles = places[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1)
