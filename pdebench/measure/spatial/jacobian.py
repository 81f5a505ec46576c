"""Rows of the Jacobian of a mixer, or of the whole stack of blocks, about given images.

A block of a row is D x D, and there are N of them: too much to hold for a wide model. One backward pass with a random
direction w at the output token gives `g(m) = J(m)^T w` for every m at once, and `E |g(m)|^2 = |J(m)|_F^2` where w is
standard normal (Hutchinson 1990). Each image of the batch has a direction of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from pdebench.errors import ModelError
from pdebench.models.backbone import Backbone
from pdebench.models.grid import KINDS
from pdebench.models.mixers.base import Mixer

Visit = Callable[[int, Mixer, Tensor, Tensor], None]


def visit_mixers(model: Backbone, x: Tensor, t: Tensor, visit: Visit) -> None:
    """Run the backbone on `x` (B, C, H, W) at times `t` (B,), without labels, and call `visit(layer, mixer, u, c)`
    for each mixer with the tokens (B, N, D) and the conditioning (B, D) that it meets there.

    Only one layer's tokens are held at a time. `visit` calls `mixer.forward`: calling the mixer itself would visit it
    again.
    """

    def met(layer: int) -> Callable[[torch.nn.Module, tuple[Tensor, Tensor]], None]:
        def hook(mixer: torch.nn.Module, given: tuple[Tensor, Tensor]) -> None:
            assert isinstance(mixer, Mixer)
            visit(layer, mixer, *(part.detach() for part in given))

        return hook

    mixers = [block.mixer for block in model.blocks]
    handles = [mixer.register_forward_pre_hook(met(layer)) for layer, mixer in enumerate(mixers)]  # type: ignore[union-attr, operator]
    try:
        with torch.no_grad():
            model.forward(x, t)  # not model(x, t): that may be compiled, and compiled code calls no new hooks
    finally:
        for handle in handles:
            handle.remove()


def mixer_row(mixer: Mixer, x: Tensor, c: Tensor, grid: tuple[int, int], directions: Tensor) -> Tensor:
    """`g(m) = J(m)^T w` of the mixer's centre token, (B, h, w, D), about tokens `x` (B, N, D).

    Args:
        mixer: called as `mixer(x, c)`.
        x: its input tokens, in raster order.
        c: its conditioning, (B, D).
        grid: tokens (h, w).
        directions: w, one for each sample, (B, D).
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        y = mixer.forward(x, c)
    return _pulled_back(y, x, grid, directions)


def network_row(model: Backbone, x: Tensor, t: Tensor, directions: Tensor) -> Tensor:
    """The same of all blocks: tokens that leave the last against tokens that enter the first, (B, h, w, D).

    The head and the embedding of patches, which act on each token by itself, are left out. Memory is that of a training
    step on as many images: give it one at a time.
    """
    ends: list[Tensor] = []

    def enter(_: torch.nn.Module, given: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        ends.append(given[0].detach().requires_grad_())
        return ends[0], given[1].detach()

    def leave(_: torch.nn.Module, given: tuple[Tensor, Tensor]) -> None:
        ends.append(given[0])

    handles = [model.blocks[0].register_forward_pre_hook(enter), model.final_layer.register_forward_pre_hook(leave)]
    try:
        with torch.enable_grad():
            model.forward(x, t)
    finally:
        for handle in handles:
            handle.remove()
    first, last = ends
    return _pulled_back(last, first, plane(model.grid), directions)


def plane(grid: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of an image's grid.

    Raises:
        ModelError: it is a clip's or a sequence's.
    """
    if len(grid) != 2:
        raise ModelError(f"what a mixer does in space is measured on images only, not on {KINDS[len(grid)]}")
    h, w = grid
    return h, w


def random_directions(batch: int, width: int, like: Tensor, seed: int) -> Tensor:
    """Standard normal directions (B, D): the same for a seed on every device and in every precision."""
    return torch.randn(batch, width, generator=Generator().manual_seed(seed)).to(like)


def _pulled_back(y: Tensor, x: Tensor, grid: tuple[int, int], directions: Tensor) -> Tensor:
    h, w = grid
    wanted = torch.zeros_like(y)
    wanted[:, (h // 2) * w + w // 2] = directions.to(y.dtype)
    row: Tensor = torch.autograd.grad(y, x, wanted)[0]
    return row.unflatten(1, grid)  # type: ignore[no-any-return]
