"""Our state space duality (Mamba-2): time a token as sequences grow, and against our selective scan (Mamba-1).

Forward and backward of one mixer's scan at inner width 768. The same number of tokens is in every batch of a row, so
that a ratio of durations is one of times a token: 1 is linear in the length, 4 quadratic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from benchmarks.ratio import Effort, Row, compare, timed
from pdebench.ops.selective_scan import selective_scan
from pdebench.ops.ssd import ssd

HEADS, SIZE, STATES = 12, 64, 128
LENGTHS = (256, 1024, 4096, 16384)
SHORT, SHORT_BATCH = 256, 8
# Of K chunks K - 1 hand on a state: 3/4 of that work at 256 tokens, all but all of it at 16,384. So a linear scan may
# take up to 1.25 times as long a token.
LINEAR = 1.25


def _inputs(batch: int, length: int, states: int = STATES) -> list[Tensor]:
    made = (
        torch.randn(batch, length, HEADS, SIZE),
        torch.rand(batch, length, HEADS) * 0.1,
        -1 - 15 * torch.rand(HEADS),
        torch.randn(batch, length, states),
        torch.randn(batch, length, states),
        torch.randn(HEADS),
    )
    return [tensor.requires_grad_() for tensor in made]


def _forward_and_backward(
    scan: Callable[..., Tensor], inputs: list[Tensor], grad: Tensor
) -> Callable[[], tuple[Tensor, ...]]:
    def work() -> tuple[Tensor, ...]:
        y = scan(*inputs)
        return y, *torch.autograd.grad(y, inputs, grad)

    return work


def _by_selective_scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """What `ssd` computes: Mamba-1's scan whose channels share the A and the step sizes of their head."""
    steps = dt.repeat_interleave(SIZE, dim=2)
    rates = a.repeat_interleave(SIZE)[:, None].expand(-1, b.shape[-1])
    return selective_scan(x.flatten(2), steps, rates, b, c).view(x.shape) + d[:, None] * x


def _selective(inputs: list[Tensor], grad: Tensor) -> Callable[[], object]:
    """Mamba-1's scan at the inner width and with the B and C of `inputs`, each channel with a step size of its own."""
    x, dt, a, b, c, _ = inputs
    own = [x.detach().flatten(2), dt.detach().repeat_interleave(SIZE, dim=2)]
    own += [a.detach().repeat_interleave(SIZE)[:, None].repeat(1, b.shape[-1]), b.detach(), c.detach()]
    return _forward_and_backward(selective_scan, [tensor.requires_grad_() for tensor in own], grad.flatten(2))


def _at(length: int) -> Callable[[], object]:
    """As many sequences of a length as make the tokens of one of the longest."""
    batch = max(LENGTHS) // length
    return _forward_and_backward(ssd, _inputs(batch, length), torch.randn(batch, length, HEADS, SIZE))


def run(effort: Effort) -> Iterator[Row]:
    """Four times the length over the length, each; then ours over our selective scan, once they were found to agree."""
    torch.manual_seed(0)
    for shorter, longer in list(pairwise(LENGTHS))[: 1 if effort.quick else None]:
        name = f"inner {HEADS * SIZE}, {STATES} states, time a token: {longer} / {shorter} tokens"
        yield Row("ssd", name, compare(timed(_at(longer)), timed(_at(shorter)), effort), LINEAR)

    grad = torch.randn(SHORT_BATCH, SHORT, HEADS, SIZE)
    mamba1 = _inputs(SHORT_BATCH, SHORT, states=16)
    ours = _forward_and_backward(ssd, mamba1, grad)
    for got, wanted in zip(ours(), _forward_and_backward(_by_selective_scan, mamba1, grad)(), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3 * wanted.abs().max().item())
    selective = timed(_selective(mamba1, grad))
    for states in (16, STATES)[: 1 if effort.quick else None]:
        ours = _forward_and_backward(ssd, _inputs(SHORT_BATCH, SHORT, states), grad)
        name = f"batch {SHORT_BATCH}, length {SHORT}: ssd, {states} states / selective, 16"
        yield Row("ssd", name, compare(timed(ours), selective, effort))
