"""Our gated linear attention: time a token as sequences grow, and beside softmax attention.

Forward and backward at width 384 with 6 heads, as in DiG-S. The same number of tokens is in every batch of the first
rows, so that a ratio of durations is one of times a token: 1 is linear in the length, 4 quadratic.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.ratio import Effort, Row, compare, timed
from pdebench.ops.gated_linear_attention import gated_linear_attention

HEADS, KEYS, VALUES = 6, 32, 64
LENGTHS = (256, 1024, 4096, 16384)
LINEAR = 1.1  # no work is saved on short sequences; what differs is how many tokens stay near the cache


def _work(attend: Callable[..., Tensor], inputs: list[Tensor], grad: Tensor) -> Callable[[], object]:
    inputs = [tensor.requires_grad_() for tensor in inputs]
    return lambda: torch.autograd.grad(attend(*inputs), inputs, grad)


def _gated(length: int) -> Callable[[], object]:
    """As many sequences of a length as make the tokens of one of the longest."""
    batch = max(LENGTHS) // length
    q, k, g = (torch.randn(batch, length, HEADS, KEYS) for _ in range(3))
    v = torch.randn(batch, length, HEADS, VALUES)
    return _work(gated_linear_attention, [q, k, v, F.logsigmoid(g) / 16], torch.randn_like(v))


def _softmax(length: int) -> Callable[[], object]:
    batch = max(LENGTHS) // length
    q, k, v = (torch.randn(batch, HEADS, length, VALUES) for _ in range(3))
    return _work(F.scaled_dot_product_attention, [q, k, v], torch.randn_like(v))


def run(effort: Effort) -> Iterator[Row]:
    """Four times the length over the length, each; then ours over softmax attention, without their projections."""
    torch.manual_seed(0)
    for shorter, longer in list(pairwise(LENGTHS))[: 1 if effort.quick else None]:
        name = f"{HEADS} heads, time a token: {longer} / {shorter} tokens"
        yield Row("gla", name, compare(timed(_gated(longer)), timed(_gated(shorter)), effort), LINEAR)
    for length in LENGTHS[: 1 if effort.quick else 2]:
        name = f"{length} tokens: gated linear / softmax attention"
        yield Row("gla", name, compare(timed(_gated(length)), timed(_softmax(length)), effort))
