"""Orders in which a sequential mixer meets the tokens of a grid: a permutation of the raster order, and its inverse.

| kind | scans |
|---|---|
| `raster` | rows from the top, each from the left: the order in which a mixer is given its tokens |
| `reverse` | raster from its end |
| `transpose` | columns from the left, each from the top |
| `bidirectional` | raster, reverse |
| `cross` | raster, reverse, transpose, transpose from its end (VMamba's four directions, arXiv 2401.10166) |
| `zigzag-8` | serpentines from each corner, along the rows and along the columns (ZigMa, arXiv 2403.13802) |

`raster`, `reverse` and `bidirectional` are of grids of any number of axes, of which the last runs fastest: on (t, h, w)
a frame is done before the next. The others are of two axes.

A mixer that takes another scan in each layer picks `orders(kind, *grid)[layer % count]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

Order = NDArray[np.int64]  # at each step of a scan, the raster index of its token


def _raster(*grid: int) -> Order:
    return np.arange(math.prod(grid)).reshape(grid)


def _serpentine(grid: Order) -> Order:
    """Rows from the first, every second one backwards, so that each step goes to a neighbour."""
    path = grid.copy()
    path[1::2] = path[1::2, ::-1]
    return path.ravel()


def _cross(h: int, w: int) -> tuple[Order, ...]:
    rows, columns = _raster(h, w).ravel(), _raster(h, w).T.ravel()
    return rows, rows[::-1], columns, columns[::-1]


def _zigzag(h: int, w: int) -> tuple[Order, ...]:
    """Corners in ZigMa's order: top left, top right, bottom left, bottom right; at each the rows come first."""
    grid = _raster(h, w)
    corners = (grid, grid[:, ::-1], grid[::-1], grid[::-1, ::-1])
    return tuple(path for corner in corners for path in (_serpentine(corner), _serpentine(corner.T)))


_KINDS: dict[str, Callable[..., tuple[Order, ...]]] = {
    "raster": lambda *grid: (_raster(*grid).ravel(),),
    "reverse": lambda *grid: (_raster(*grid).ravel()[::-1],),
    "transpose": lambda h, w: _cross(h, w)[2:3],
    "bidirectional": lambda *grid: (_raster(*grid).ravel(), _raster(*grid).ravel()[::-1]),
    "cross": _cross,
    "zigzag-8": _zigzag,
}


@cache
def permutations(kind: str, *grid: int) -> tuple[Order, ...]:
    """The scans of a kind on a grid, of an image h rows and w columns, each (N,); read-only."""
    found = tuple(np.ascontiguousarray(order) for order in _KINDS[kind](*grid))
    for order in found:
        order.flags.writeable = False
    return found


class Reorder(torch.autograd.Function):
    """`x[:, order]` whose backward gathers too: autograd's own adds rows into zeros, one at a time."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, order: Tensor, inverse: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(order, inverse)
        return x.index_select(1, order)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        order, inverse = ctx.saved_tensors  # type: ignore[attr-defined]
        return Reorder.apply(grad, inverse, order), None, None


class Scan(nn.Module):
    """One order over a grid. `scan(x)` puts tokens (B, N, D) from raster order into it, `scan.undo(y)` puts them back.

    Both indices are buffers outside the state dict. Raster is the identity: it has none, and copies nothing.
    """

    order: Tensor | None
    inverse: Tensor | None

    def __init__(self, permutation: Order) -> None:
        super().__init__()
        moves = not np.array_equal(permutation, np.arange(len(permutation)))
        order = inverse = torch.tensor(permutation) if moves else None
        if order is not None and not order.is_meta:  # a model that is only counted needs no values
            inverse = torch.tensor(np.argsort(permutation))
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("inverse", inverse, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens `x` (B, N, D) in raster order, as the scan meets them."""
        return x if self.order is None else Reorder.apply(x, self.order, self.inverse)  # type: ignore[no-any-return]

    def undo(self, y: Tensor) -> Tensor:
        """Tokens `y` (B, N, D) as the scan meets them, in raster order."""
        return y if self.order is None else Reorder.apply(y, self.inverse, self.order)  # type: ignore[no-any-return]


def orders(kind: str, *grid: int) -> tuple[Scan, ...]:
    """New modules for the scans of a kind (see the table above) on a grid, of an image h rows and w columns."""
    return tuple(Scan(permutation) for permutation in permutations(kind, *grid))
