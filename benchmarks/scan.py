"""Our selective scan over mambapy's parallel one (pure PyTorch, arXiv 2312.00752), forward and backward."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from mambapy.pscan import pscan
from torch import Tensor

from benchmarks.ratio import Effort, Row, compare, timed
from pdebench.models.mixers.selective_scan import selective_scan

BATCH, LENGTH, INNER, STATES = 8, 256, 384, 16


def run(effort: Effort) -> Iterator[Row]:
    """One row, after values and gradients of both were found to agree."""
    torch.manual_seed(0)
    inputs = [
        torch.randn(BATCH, LENGTH, INNER),
        torch.rand(BATCH, LENGTH, INNER) * 0.1,
        -torch.arange(1.0, STATES + 1).expand(INNER, -1).contiguous(),
        torch.randn(BATCH, LENGTH, STATES),
        torch.randn(BATCH, LENGTH, STATES),
    ]
    inputs = [tensor.requires_grad_() for tensor in inputs]
    grad = torch.randn(BATCH, LENGTH, INNER)

    def ours() -> tuple[Tensor, ...]:
        y = selective_scan(*inputs)
        return y, *torch.autograd.grad(y, inputs, grad)

    def theirs() -> tuple[Tensor, ...]:
        u, dt, a, b, c = inputs
        decay = torch.exp(dt.unsqueeze(-1) * a)
        driven = dt.unsqueeze(-1) * b.unsqueeze(2) * u.unsqueeze(-1)
        y = (pscan(decay, driven) @ c.unsqueeze(-1)).squeeze(3)
        return y, *torch.autograd.grad(y, inputs, grad)

    for got, wanted in zip(ours(), theirs(), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3 * wanted.abs().max().item())
    name = f"batch {BATCH}, length {LENGTH}, inner {INNER}, {STATES} states: ours / mambapy"
    yield Row("scan", name, compare(timed(ours), timed(theirs), effort))
