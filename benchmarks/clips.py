"""Blocks over PDE-SSM-DiT's block on clips, forward and backward: above 1, ours is the faster one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from benchmarks.here import DEVICE, PRECISIONS, finish
from benchmarks.ratio import Effort, Row, compare, timed
from pdebench.models.backbone import Block
from pdebench.models.mixers.base import MixerContext
from pdebench.models.registry import FAMILIES
from pdebench.models.shell import DIT
from pdebench.ops.precision import autocast

WIDTH, HEADS = 384, 6
GRID, BATCH = (16, 16, 16), 1 if DEVICE.type == "cpu" else 16
# a cell's least is 3 for full attention; factorised attention is the other way to make 4,096 tokens cheap
OTHERS = {"full": 3.0, "factorised": None}


def run(effort: Effort) -> Iterator[Row]:
    """A row for each form of attention on 4,096 tokens: one block of each, factorised the mean of its two kinds."""
    for precision in PRECISIONS[:1] if effort.quick else PRECISIONS:
        ours = timed(passes([_block("PDE-SSM-DiT", 0)] * 2, precision), finish=finish)
        for form, least in OTHERS.items():
            blocks = [_block("DiT", layer, attention=form) for layer in (0, 1)]
            theirs = timed(passes(blocks, precision), finish=finish)
            name = f"{'x'.join(map(str, GRID))} {precision}: DiT {form} / PDE-SSM-DiT, two blocks"
            yield Row("clips", name, compare(theirs, ours, effort), least=least)


def _block(family: str, layer: int, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    place = MixerContext(WIDTH, HEADS, GRID, layer=layer, depth=2, mlp=True)
    chosen, mixer = FAMILIES[family].options(**options), FAMILIES[family].mixer_class()
    return Block(place, mixer(place, chosen), DIT, 4 * WIDTH).to(DEVICE)  # type: ignore[call-arg]


def passes(blocks: list[nn.Module], precision: str) -> Callable[[], None]:
    """Forward and backward passes of the blocks, each by itself, on random tokens."""
    torch.manual_seed(0)
    x = torch.randn(BATCH, GRID[0] * GRID[1] * GRID[2], WIDTH, device=DEVICE, requires_grad=True)
    c, grad = torch.randn(BATCH, WIDTH, device=DEVICE), torch.randn_like(x)

    def work() -> None:
        for block in blocks:
            with autocast(precision, DEVICE):
                y = block(x, c)
            torch.autograd.grad(y, [x, *block.parameters()], grad.to(y.dtype))

    return work
