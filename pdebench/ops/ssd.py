"""Mamba-2's scan as matrix products over chunks (state space duality, arXiv 2405.21060), memory linear in the length.

    h_t = exp(dt_t A) h_(t-1) + dt_t B_t x_t^T        y_t = C_t . h_t + D x_t        A < 0, one number a head

Within a chunk of Q tokens this is attention without softmax, `y_i = sum_(j <= i) (C_i . B_j) exp(a_(j+1) + ... + a_i)
dt_j x_j` with `a = dt A`; between chunks one state a head is handed on. B and C are shared by the heads.

Nothing but the inputs is held for backward, which forms the rest again. The work is done in tiles, some chunks of some
samples, so that the passes over it stay near the cache. Everything is float32 under any autocast: states diverge in
bfloat16.

No decay is ever divided by another, and no positive number is exponentiated. An exponent is a sum over a segment of
`a`, formed as the difference of two float64 running sums within a chunk, so that a short segment after a huge step
keeps all of its float32 digits; so is the gradient of `a`.

Both passes are operators that the compiler calls as they are: traced, every tile would add a hundred nodes to a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from pdebench.ops import macs
from pdebench.ops.operand import Handles, Macs, backward
from pdebench.ops.precision import as_given
from pdebench.ops.tiles import tiles

CHUNK = 64  # tokens, at most; as measured best of 16, 32, 64 and 128 on two cores at 128 states and heads of 64
TILE = 2**18  # numbers of x that are worked on at a time: 1 MiB in float32, as measured best on two cores
TILE_GPU = 2**24  # where launches cost more than caches save
FLOOR = -60.0  # e^-60 stands for every smaller decay, far below float32's resolution: subnormal numbers are slow


def _decay(exponents: Tensor, kind: torch.dtype) -> Tensor:
    return exponents.clamp(FLOOR, 0).to(kind).exp_()


class _Chunks(NamedTuple):
    """Some chunks of some samples."""

    x: Tensor  # (B, K, Q, H, P)
    dt: Tensor  # (B, K, Q, H)
    b: Tensor  # (B, K, Q, N)
    c: Tensor  # (B, K, Q, N)
    sums: Tensor  # (B, K, H, Q), float64: a_1 + ... + a_t within a chunk

    def part(self, which: slice) -> _Chunks:
        """Some of the chunks."""
        return _Chunks(*(tensor[:, which] for tensor in self))

    def enter(self) -> Tensor:
        """Decays from a chunk's start to each token, (B, K, Q, H, 1)."""
        return _decay(self.sums, self.x.dtype).transpose(2, 3).unsqueeze(-1)

    def leave(self) -> Tensor:
        """Decays from each token to its chunk's end, (B, K, Q, H, 1)."""
        return _decay(self.sums[..., -1:] - self.sums, self.x.dtype).transpose(2, 3).unsqueeze(-1)

    def through(self) -> Tensor:
        """Decays of whole chunks, (B, K, 1, H, 1) to multiply states (B, K, N, H, P)."""
        return _decay(self.sums[..., -1], self.x.dtype)[:, :, None, :, None]

    def driven(self) -> Tensor:
        """dt x, head by head: (B, K, H, Q, P)."""
        return (self.x.transpose(2, 3) * self.dt.transpose(2, 3).unsqueeze(-1)).contiguous()

    def scores(self) -> Tensor:
        """C_i . B_j for j <= i, (B, K, 1, Q, Q)."""
        return (self.c @ self.b.mT).tril_().unsqueeze(2)

    def decays(self) -> Tensor:
        """Decays from token j to token i, (B, K, H, Q, Q); 1 for j > i, where the scores are zero."""
        return _decay(self.sums.unsqueeze(-1) - self.sums.unsqueeze(-2), self.x.dtype)


def _chunks(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> _Chunks:
    """Cut into chunks of equal length; the last is filled up with steps of size zero, which change nothing."""
    chunks = -(-x.shape[1] // CHUNK)
    x, dt, b, c = (_cut(tensor, chunks) for tensor in (x, dt, b, c))
    return _Chunks(x, dt, b, c, (dt * a).transpose(2, 3).double().cumsum(-1))


def _cut(tensor: Tensor, chunks: int) -> Tensor:
    missing = -tensor.shape[1] % chunks
    if missing:
        filling = tensor.new_zeros(tensor.shape[0], missing, *tensor.shape[2:])
        tensor = torch.cat([tensor, filling], dim=1)
    return tensor.unflatten(1, (chunks, -1))  # type: ignore[no-any-return]


def _tile(x: Tensor) -> tuple[int, int]:
    """Samples and chunks that make a tile of `x` (B, L, H, P)."""
    _, length, heads, size = x.shape
    numbers = TILE_GPU if x.is_cuda else TILE
    chunks = -(-length // CHUNK)
    together = max(1, numbers // (-(-length // chunks) * heads * size))
    return max(1, together // chunks), together


def _states(chunks: _Chunks, span: int) -> Tensor:
    """The states (B, K - 1, N, H, P) that all chunks but the last end with."""
    batch, count, _, heads, size = chunks.x.shape
    ends = chunks.x.new_empty(batch, count - 1, chunks.b.shape[-1], heads, size)
    for which in tiles(count - 1, span):
        part = chunks.part(which)
        weighted = part.x * (part.leave() * part.dt.unsqueeze(-1))
        ends[:, which] = (part.b.mT @ weighted.flatten(3)).unflatten(3, (heads, size))
    through = chunks.through()
    for k in range(1, count - 1):
        ends[:, k].addcmul_(ends[:, k - 1], through[:, k])
    return ends


def _forward(chunks: _Chunks, d: Tensor, span: int) -> Tensor:
    """`y` (B, K, Q, H, P)."""
    ends = _states(chunks, span)
    y = chunks.x * d.unsqueeze(-1)
    for which in tiles(y.shape[1], span):
        part = chunks.part(which)
        y[:, which] += (part.decays().mul_(part.scores()) @ part.driven()).transpose(2, 3)
    for which in tiles(y.shape[1] - 1, span):
        later = chunks.part(slice(which.start + 1, which.stop + 1))
        read = (later.c @ ends[:, which].flatten(3)).unflatten(3, y.shape[3:])
        y[:, which.start + 1 : which.stop + 1].addcmul_(read, later.enter())
    return y


def _backward(chunks: _Chunks, a: Tensor, d: Tensor, grad_y: Tensor, span: int) -> tuple[Tensor, ...]:
    """Gradients of x, dt, a, b, c and d, those of tokens in chunks."""
    (x, dt, b, c, sums), kind = chunks, chunks.x.dtype
    count, heads = x.shape[1], x.shape[3:]
    ends, through = _states(chunks, span), chunks.through()
    grad_ends = torch.empty_like(ends)
    grad_x = grad_y * d.unsqueeze(-1)
    grad_dt, grad_b, grad_c = torch.zeros_like(dt), torch.zeros_like(b), torch.zeros_like(c)
    # of the exponents that end at a token, of those that begin after it, and of both
    ending, beginning = torch.zeros_like(sums), torch.zeros_like(sums)

    for which in tiles(count - 1, span):  # what later chunks read of the states
        after = slice(which.start + 1, which.stop + 1)
        part, before = chunks.part(after), ends[:, which].flatten(3)
        entered = grad_y[:, after] * part.enter()
        read = (part.c @ before).unflatten(3, heads)
        ending[:, after] = read.mul_(entered).sum(-1).transpose(2, 3)
        flat = entered.flatten(3)
        grad_c[:, after] = flat @ before.mT
        grad_ends[:, which] = (part.c.mT @ flat).unflatten(3, heads)
    for k in reversed(range(count - 2)):
        grad_ends[:, k].addcmul_(grad_ends[:, k + 1], through[:, k + 1])

    for which in tiles(count, span):  # within chunks
        part = chunks.part(which)
        scores, decays, driven = part.scores(), part.decays(), part.driven()
        grads = grad_y[:, which].transpose(2, 3).contiguous()
        grad_scores = (grads @ driven.mT).mul_(decays)
        grad_near = grad_scores.sum(2).tril_()
        grad_b[:, which] = grad_near.mT @ part.c
        grad_c[:, which] += grad_near @ part.b
        grad_driven = (decays.mul_(scores).mT @ grads).transpose(2, 3)
        grad_dt[:, which] = (part.x * grad_driven).sum(-1)
        grad_x[:, which].addcmul_(grad_driven, part.dt.unsqueeze(-1))
        exponents = grad_scores.mul_(scores)
        ending[:, which] += exponents.sum(-1, dtype=torch.float64)
        beginning[:, which] = exponents.sum(-2, dtype=torch.float64)
    grad_a = (ending - beginning).flip(-1).cumsum(-1).flip(-1)  # segments with j < k <= i, for each k

    for which in tiles(count - 1, span):  # what chunks add to the states
        part, grad_states = chunks.part(which), grad_ends[:, which].flatten(3)
        leave, steps = part.leave(), part.dt.unsqueeze(-1)
        weighted = part.x * (leave * steps)
        grad_b[:, which] += weighted.flatten(3) @ grad_states.mT
        grad_driven = (part.b @ grad_states).unflatten(3, heads).mul_(leave)
        left = (part.x * grad_driven).sum(-1)
        grad_dt[:, which] += left
        grad_x[:, which].addcmul_(grad_driven, steps)
        earlier = (left * part.dt).transpose(2, 3).double()
        grad_a[:, which] += earlier.cumsum(-1) - earlier
    if count > 2:
        handed = (grad_ends[:, 1:] * ends[:, :-1]).sum((2, 4)) * through[:, 1:-1, 0, :, 0]
        grad_a[:, 1:-1] += handed.unsqueeze(-1)

    grad_a = grad_a.transpose(2, 3)
    grad_dt += (grad_a * a).to(kind)
    grad_d = (grad_y * x).sum((0, 1, 2, 4))
    return grad_x, grad_dt, (grad_a * dt).sum((0, 1, 2)).to(kind), grad_b, grad_c, grad_d


@torch.library.custom_op("pdebench::ssd", mutates_args=())
def _scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """The arguments and the result of `ssd`, in one precision."""
    y = _output(x, dt, a, b, c, d)
    samples, span = _tile(x)
    with as_given(x):
        for some in tiles(len(x), samples):
            found = _forward(_chunks(x[some], dt[some], a, b[some], c[some]), d, span)
            y[some] = found.flatten(1, 2)[:, : x.shape[1]]
    return y  # type: ignore[no-any-return]


@_scan.register_fake
def _output(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.custom_op("pdebench::ssd_backward", mutates_args=())
def _scan_backward(
    grad_y: Tensor, x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `x`, `dt`, `a`, `b`, `c` and `d`."""
    grads = _gradients(grad_y, x, dt, a, b, c, d)
    grads[2].zero_()
    grads[5].zero_()
    samples, span = _tile(x)
    with as_given(x):
        for some in tiles(len(x), samples):
            chunks = _chunks(x[some], dt[some], a, b[some], c[some])
            found = _backward(chunks, a, d, _cut(grad_y[some], chunks.x.shape[1]), span)
            for i in (0, 1, 3, 4):
                grads[i][some] = found[i].flatten(1, 2)[:, : x.shape[1]]
            for i in (2, 5):
                grads[i].add_(found[i])
    return grads  # type: ignore[no-any-return]


@_scan_backward.register_fake
def _gradients(
    grad_y: Tensor, x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    shapes = (tensor.new_empty(tensor.shape) for tensor in (x, dt, a, b, c, d))
    return tuple(shapes)  # type: ignore[return-value]


def _save(ctx: FunctionCtx, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: FunctionCtx, grad_y: Tensor) -> tuple[Tensor, ...]:
    return _scan_backward(grad_y, *ctx.saved_tensors)  # type: ignore[attr-defined, no-any-return]


_scan.register_autograd(_differentiate, setup_context=_save)


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """Each channel has N states, whatever the chunks are."""
    x, _, _, b = inputs[:4]
    return {"scan": macs.scan(x.size * b.shape[-1])}


HANDLES: Handles = {"pdebench::ssd": _macs, "pdebench::ssd_backward": backward(_macs)}


def ssd(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Run the scan over `x` (B, L, H, P) and step sizes `dt` (B, L, H); gives `y` (B, L, H, P).

    `a` (H,) is negative, `b` and `c` (B, L, N) are shared by the heads, `d` (H,) is the skip. Float64 stays float64;
    everything else is computed, and returned, in float32.
    """
    kind = torch.promote_types(x.dtype, torch.float32)
    return _scan(*(tensor.to(kind) for tensor in (x, dt, a, b, c, d)))  # type: ignore[no-any-return]
