"""DiT's block over PDE-SSM-DiT's block, forward and backward: above 1, ours is the faster one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from benchmarks.ratio import Effort, Row, compare, timed
from pdebench.models.backbone import Block
from pdebench.models.mixers.base import Place
from pdebench.models.registry import FAMILIES
from pdebench.models.shell import DIT
from pdebench.training import autocast, resolve_precision

WIDTH, HEADS = 384, 6
CASES = ((16, 8), (32, 8), (64, 2))  # side of the grid in tokens, batch


def run(effort: Effort) -> Iterator[Row]:
    """One row for each number of tokens, and again in bf16 where `auto` would train in it."""
    cpu = torch.device("cpu")
    precisions = ["fp32"] if resolve_precision("auto", cpu) == "fp32" else ["fp32", "bf16"]
    for side, batch in CASES[:1] if effort.quick else CASES:
        for precision in precisions:
            attention, pde = (timed(_work(family, side, batch, precision)) for family in ("DiT", "PDE-SSM-DiT"))
            yield Row(
                "block",
                f"{side * side} tokens {precision}: DiT / PDE-SSM-DiT",
                compare(attention, pde, effort),
            )


def _work(family: str, side: int, batch: int, precision: str) -> Callable[[], None]:
    torch.manual_seed(0)
    place = Place(WIDTH, HEADS, (side, side), layer=0, depth=1)
    options, mixer = FAMILIES[family].options(), FAMILIES[family].mixer_class()
    block = Block(place, mixer(place, options), DIT, 4 * WIDTH)  # type: ignore[call-arg]
    x = torch.randn(batch, side * side, WIDTH, requires_grad=True)
    c, grad = torch.randn(batch, WIDTH), torch.randn_like(x)
    wanted = [x, *block.parameters()]

    def work() -> None:
        with autocast(precision, x.device):
            y = block(x, c)
        torch.autograd.grad(y, wanted, grad.to(y.dtype))

    return work
