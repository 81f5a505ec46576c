"""The PDE operator over bare Fourier transforms of the same tensor, forward and backward, 384 channels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.ratio import Effort, Row, compare, timed
from pdebench.models.mixers.pde import PDEOperator
from pdebench.models.options import PDEOptions

CHANNELS = 384
CASES = ((16, 8), (32, 8), (64, 4))  # side of the grid in tokens, batch
TARGETS = {1: 1.1, 4: 1.3}  # by states


def run(effort: Effort) -> Iterator[Row]:
    """Two rows a case: over `irfft2(rfft2(x))` with autograd's backward, and over packed complex ones."""
    for side, batch in CASES[:1] if effort.quick else CASES:
        x = torch.randn(batch, CHANNELS, side, side, requires_grad=True)
        grad = torch.randn_like(x)
        bare, packed = timed(partial(_bare, x, grad)), timed(partial(_packed, x.detach()))
        for states, target in TARGETS.items():
            for diffusion in ("full", "diagonal"):
                options = PDEOptions.model_validate({"states": states, "diffusion": diffusion})
                ours = timed(partial(_operator, PDEOperator(CHANNELS, (side, side), options), x, grad))
                name = f"{side}x{side} S={states} K {diffusion}"
                yield Row("operator", f"{name} / rfft2+irfft2", compare(ours, bare, effort), target)
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
