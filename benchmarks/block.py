"""DiT's block over PDE-SSM-DiT's block, forward and backward: above 1, ours is the faster one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from benchmarks.here import DEVICE, PRECISIONS, finish
from benchmarks.ratio import Effort, Row, compare, timed
from pdebench.models.backbone import Block
from pdebench.models.mixers.base import MixerContext
from pdebench.models.registry import FAMILIES
from pdebench.models.shell import DIT
from pdebench.ops.precision import autocast
from pdebench.train.compiled import begin_pass, compile_in_place

WIDTH, HEADS = 384, 6
# side of the grid in tokens, batch; a GPU has too little to do with a CPU's batches
CASES = ((16, 8), (32, 8), (64, 2)) if DEVICE.type == "cpu" else ((16, 256), (32, 64), (64, 16), (128, 4))
# compiled, and from CUDA graphs, on a GPU only, in what `auto` trains in: on a CPU it takes 20 s a block and changes
# neither by more than 13%
MODES = {"eager": "eager", "compiled": "compile", "graphed": "compile-graphs"}
COMPILED = [] if DEVICE.type == "cpu" else [(PRECISIONS[-1], "compiled"), (PRECISIONS[-1], "graphed")]


def run(effort: Effort) -> Iterator[Row]:
    """One row for each number of tokens; again in the precision that `auto` would train in, compiled and graphed."""
    for side, batch in CASES[:1] if effort.quick else CASES:
        for precision, mode in [*((precision, "eager") for precision in PRECISIONS), *COMPILED]:
            blocks = [block_of(family, side) for family in ("DiT", "PDE-SSM-DiT")]
            if mode != "eager":
                torch.compiler.reset()
            for block in blocks:
                compile_in_place(block, MODES[mode], DEVICE)
            a, b = (timed(passes(block, side, batch, precision, MODES[mode]), finish=finish) for block in blocks)
            about = precision if mode == "eager" else f"{precision} {mode}"
            yield Row("block", f"{side * side} tokens {about}: DiT / PDE-SSM-DiT", compare(a, b, effort))


def block_of(family: str, side: int) -> nn.Module:
    """A family's block with its default options."""
    torch.manual_seed(0)
    place = MixerContext(WIDTH, HEADS, (side, side), layer=0, depth=1, mlp=True)
    options, mixer = FAMILIES[family].options(), FAMILIES[family].mixer_class()
    return Block(place, mixer(place, options), DIT, 4 * WIDTH)  # type: ignore[call-arg]


def passes(block: nn.Module, side: int, batch: int, precision: str, mode: str = "eager") -> Callable[[], None]:
    """One forward and backward pass of a block, compiled as `mode` says or not, on random tokens."""
    torch.manual_seed(0)
    block = block.to(DEVICE)
    x = torch.randn(batch, side * side, WIDTH, device=DEVICE, requires_grad=True)
    c, grad = torch.randn(batch, WIDTH, device=DEVICE), torch.randn_like(x)
    wanted = [x, *block.parameters()]

    def work() -> None:
        begin_pass(mode, DEVICE)
        with autocast(precision, DEVICE):
            y = block(x, c)
        torch.autograd.grad(y, wanted, grad.to(y.dtype))

    return work
