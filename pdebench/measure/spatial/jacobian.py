"""Rows of the Jacobian of a mixer, or of the whole stack of blocks, about given images.

A block of a row is D x D, and there are N of them: too much to hold for a wide model. One backward pass with a random
direction w at the output token gives `g(m) = J(m)^T w` for every m at once, and `E |g(m)|^2 = |J(m)|_F^2` where w is
standard normal (Hutchinson 1990). Each image of the batch has a direction of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from pdebench.models.backbone import Backbone
from pdebench.models.mixers.base import Mixer

Visit = Callable[[int, Mixer, Tensor, Tensor | None], None]
"""Of layer, mixer, tokens and conditioning; None in a shell without conditioning."""


def visit_mixers(model: Backbone, x: Tensor, t: Tensor, visit: Visit) -> None:
    """Run the backbone on `x` (B, C, *sides) at times `t` (B,), without labels, and call `visit(layer, mixer, u, c)`
    for each mixer with the tokens (B, N, D) and the conditioning (B, D), if any, that it meets there.

    Only one layer's tokens are held at a time. `visit` calls `mixer.forward`: calling the mixer itself would visit it
    again.
    """

    def met(layer: int) -> Callable[[torch.nn.Module, tuple[Tensor, Tensor | None]], None]:
        def hook(mixer: torch.nn.Module, given: tuple[Tensor, Tensor | None]) -> None:
            assert isinstance(mixer, Mixer)
            x, c = given
            visit(layer, mixer, x.detach(), None if c is None else c.detach())

        return hook

    mixers = [block.mixer for block in model.blocks]
    handles = [mixer.register_forward_pre_hook(met(layer)) for layer, mixer in enumerate(mixers)]  # type: ignore[union-attr, operator]
    try:
        with torch.no_grad():
            model.forward(x, t)  # not model(x, t): that may be compiled, and compiled code calls no new hooks
    finally:
        for handle in handles:
            handle.remove()


def mixer_row(mixer: Mixer, x: Tensor, c: Tensor | None, grid: tuple[int, ...], directions: Tensor) -> Tensor:
    """`g(m) = J(m)^T w` of the mixer's centre token, (B, *grid, D), about tokens `x` (B, N, D).

    Args:
        mixer: called as `mixer(x, c)`.
        x: its input tokens, in raster order.
        c: its conditioning, (B, D), if any.
        grid: tokens (h, w), of a clip (t, h, w).
        directions: w, one for each sample, (B, D).
    """
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        y = mixer.forward(x, c)
    return _pulled_back(y, x, grid, directions)


def network_row(model: Backbone, x: Tensor, t: Tensor, directions: Tensor) -> Tensor:
    """The same of all blocks: tokens that leave the last against tokens that enter the first, (B, *grid, D).

    The head and the embedding of patches, which act on each token by itself, are left out. Memory is that of a training
    step on as many images: give it one at a time.
    """
    ends: list[Tensor] = []

    def enter(_: torch.nn.Module, given: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
        ends.append(given[0].detach().requires_grad_())
        return ends[0], None if given[1] is None else given[1].detach()

    def leave(_: torch.nn.Module, given: tuple[Tensor, Tensor | None]) -> None:
        ends.append(given[0])

    handles = [model.blocks[0].register_forward_pre_hook(enter), model.final_layer.register_forward_pre_hook(leave)]
    try:
        with torch.enable_grad():
            model.forward(x, t)
    finally:
        for handle in handles:
            handle.remove()
    first, last = ends
    return _pulled_back(last, first, model.grid, directions)


def centre(grid: tuple[int, ...]) -> tuple[int, ...]:
    """The place of the token in the centre, n0."""
    return tuple(side // 2 for side in grid)


def random_directions(batch: int, width: int, like: Tensor, seed: int) -> Tensor:
    """Standard normal directions (B, D): the same for a seed on every device and in every precision."""
    return torch.randn(batch, width, generator=Generator().manual_seed(seed)).to(like)


def _pulled_back(y: Tensor, x: Tensor, grid: tuple[int, ...], directions: Tensor) -> Tensor:
    wanted = torch.zeros_like(y)
    wanted.unflatten(1, grid)[(slice(None), *centre(grid))] = directions.to(y.dtype)
    row: Tensor = torch.autograd.grad(y, x, wanted)[0]
    return row.unflatten(1, grid)  # type: ignore[no-any-return]
