"""The tokens of a clip as sequences of their own: those of each frame, or those of each place through time.

A mixer that is factorised sees one of the two at a time (ViViT, arXiv 2103.15691; Latte, arXiv 2401.03048).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def by_frame(x: Tensor, grid: Sequence[int]) -> Tensor:
    """Tokens (B, t h w, D) to (B t, h w, D)."""
    return x.unflatten(1, (grid[0], -1)).flatten(0, 1)  # type: ignore[no-any-return]


def undo_by_frame(x: Tensor, grid: Sequence[int]) -> Tensor:
    """Tokens (B t, h w, D) to (B, t h w, D)."""
    return x.unflatten(0, (-1, grid[0])).flatten(1, 2)  # type: ignore[no-any-return]


def by_time(x: Tensor, grid: Sequence[int]) -> Tensor:
    """Tokens (B, t h w, D) to (B h w, t, D)."""
    return x.unflatten(1, (grid[0], -1)).transpose(1, 2).flatten(0, 1)  # type: ignore[no-any-return]


def undo_by_time(x: Tensor, grid: Sequence[int]) -> Tensor:
    """Tokens (B h w, t, D) to (B, t h w, D)."""
    return x.unflatten(0, (-1, grid[1] * grid[2])).transpose(1, 2).flatten(1, 2)  # type: ignore[no-any-return]
