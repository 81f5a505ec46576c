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
# side of the grid in tokens, batch; a GPU has too little to do with a CPU's batches
CASES = ((16, 8), (32, 8), (64, 4)) if DEVICE.type == "cpu" else ((16, 256), (32, 64), (64, 16), (128, 4))
# ours on a GPU takes tokens as a mixer has them; the bare transforms always take what suits them best
LAYOUT = torch.contiguous_format if DEVICE.type == "cpu" else torch.channels_last
TARGETS = {1: 1.1, 4: 1.3}  # by states


def run(effort: Effort) -> Iterator[Row]:
    """A row a case over `irfft2(rfft2(x))` with autograd's backward, and on a CPU one over packed complex transforms.

    Transforms have float32 only, so in bf16 it is an operator on bf16 tokens over the same transforms.
    """
    for side, batch in CASES[:1] if effort.quick else CASES:
        x = torch.randn(batch, CHANNELS, side, side, device=DEVICE, requires_grad=True)
        grad = torch.randn_like(x)
        bare = timed(partial(_bare, x, grad), finish=finish)
        packed = timed(partial(_packed, x.detach()), finish=finish)
        for states, target in TARGETS.items():
            for diffusion in ("full", "diagonal"):
                options = PDEOptions.model_validate({"states": states, "diffusion": diffusion})
                operator = PDEOperator(CHANNELS, (side, side), options).to(DEVICE)
                for precision in PRECISIONS:
                    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
                    given, back = (t.detach().to(dtype, memory_format=LAYOUT) for t in (x, grad))
                    ours = timed(partial(_operator, operator, given.requires_grad_(), back), finish=finish)
                    name = f"{side}x{side} S={states} K {diffusion}{'' if precision == 'fp32' else ' bf16'}"
                    yield Row("operator", f"{name} / rfft2+irfft2", compare(ours, bare, effort), target)
                    if DEVICE.type == "cpu":
                        yield Row("operator", f"{name} / packed", compare(ours, packed, effort))


def _operator(operator: PDEOperator, x: Tensor, grad: Tensor) -> None:
    torch.autograd.grad(operator(x), [x, *operator.parameters()], grad)


def _bare(x: Tensor, grad: Tensor) -> None:
    torch.autograd.grad(torch.fft.irfft2(torch.fft.rfft2(x)), x, grad)


def _packed(x: Tensor) -> None:
    """The least that we know on a CPU: two samples to a complex transform, there and back, twice."""
    half = len(x) // 2
    for _ in ("forward", "backward"):
        torch.fft.ifft2(torch.fft.fft2(torch.complex(x[:half], x[half:])))
