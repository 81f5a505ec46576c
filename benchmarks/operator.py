"""The PDE operator over bare Fourier transforms of the same tensor, forward and backward, 384 channels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.here import DEVICE, PRECISIONS, finish
from benchmarks.ratio import Effort, Row, compare, timed
from pdebench.models.mixers.pde import PDEOperator
from pdebench.models.options import PDEOptions

CHANNELS = 384
# grid in tokens, batch; a GPU has too little to do with a CPU's batches
CASES: tuple[tuple[tuple[int, ...], int], ...] = (
    (((16, 16), 8), ((32, 32), 8), ((64, 64), 4), ((8, 16, 16), 8), ((16, 32, 32), 4))
    if DEVICE.type == "cpu"
    else (((16, 16), 256), ((32, 32), 64), ((64, 64), 16), ((128, 128), 4), ((8, 16, 16), 32), ((16, 32, 32), 8))
)
# ours on a GPU takes tokens as a mixer has them; the bare transforms always take what suits them best
CHANNELS_LAST = DEVICE.type != "cpu"
TARGETS = {1: 1.1, 4: 1.3}  # by states, of images
CLIPS_TARGETS = {1: 1.3, 4: None}


def run(effort: Effort) -> Iterator[Row]:
    """A row a case over `irfftn(rfftn(x))` with autograd's backward, and on a CPU one over packed complex transforms.

    Transforms have float32 only, so in bf16 it is an operator on bf16 tokens over the same transforms.
    """
    for grid, batch in CASES[:1] if effort.quick else CASES:
        x = torch.randn(batch, CHANNELS, *grid, device=DEVICE, requires_grad=True)
        transforms = "rfft2+irfft2" if len(grid) == 2 else "rfftn+irfftn"
        grad = torch.randn_like(x)
        bare = timed(partial(_bare, x, grad), finish=finish)
        packed = timed(partial(_packed, x.detach()), finish=finish)
        for states, target in (TARGETS if len(grid) == 2 else CLIPS_TARGETS).items():
            for diffusion in ("full", "diagonal"):
                options = PDEOptions.model_validate({"states": states, "diffusion": diffusion})
                operator = PDEOperator(CHANNELS, grid, options).to(DEVICE)
                for precision in PRECISIONS:
                    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
                    given, back = (_laid_out(t.detach().to(dtype)) for t in (x, grad))
                    ours = timed(partial(_operator, operator, given.requires_grad_(), back), finish=finish)
                    name = (
                        f"{'x'.join(map(str, grid))} S={states} K {diffusion}{'' if precision == 'fp32' else ' bf16'}"
                    )
                    yield Row("operator", f"{name} / {transforms}", compare(ours, bare, effort), target)
                    if DEVICE.type == "cpu":
                        yield Row("operator", f"{name} / packed", compare(ours, packed, effort))


def _laid_out(x: Tensor) -> Tensor:
    return x.movedim(1, -1).contiguous().movedim(-1, 1) if CHANNELS_LAST else x


def _operator(operator: PDEOperator, x: Tensor, grad: Tensor) -> None:
    torch.autograd.grad(operator(x), [x, *operator.parameters()], grad)


def _bare(x: Tensor, grad: Tensor) -> None:
    axes = tuple(range(2, x.dim()))
    torch.autograd.grad(torch.fft.irfftn(torch.fft.rfftn(x, dim=axes), s=x.shape[2:], dim=axes), x, grad)


def _packed(x: Tensor) -> None:
    """The least that we know on a CPU: two samples to a complex transform, there and back, twice."""
    half, axes = len(x) // 2, tuple(range(2, x.dim()))
    for _ in ("forward", "backward"):
        torch.fft.ifftn(torch.fft.fftn(torch.complex(x[:half], x[half:]), dim=axes), dim=axes)
