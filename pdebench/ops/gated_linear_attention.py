"""Gated linear attention as matrix products over chunks (arXiv 2312.06635), memory linear in the length.

    S_t = diag(exp(g_t)) S_(t-1) + k_t^T v_t        y_t = d^(-1/2) q_t S_t        g_t <= 0, one number a key channel

Between chunks one state a head is handed on. Within a chunk it is attention without softmax, `y_i = sum_(j <= i) a_ij
v_j`, whose scores `a_ij = sum_c q_ic k_jc exp(g_(j+1) + ... + g_i)_c` are no matrix product: the decay depends on all
three indices, and taken apart as `exp(G_i) exp(-G_j)` it overflows. So a chunk is halved, and its halves, down to
single tokens. A token of a right half sees one of its left half through a decay that is a product of two, from the one
to the middle and from the middle to the other: a halving is one batched matrix product, and every pair of tokens
belongs to one halving.

Both factors are at most 1 for any g. Nothing is divided, no positive number is exponentiated, no sums are subtracted;
decays are multiplied up from half to half, so that rounding grows with the logarithm of the chunk. The gradient of g is
added up in the same tree, from the whole to the halves.

Kept for backward are the inputs and one state a tile; the rest is formed again. A tile is some chunks of some samples,
so that the passes over it stay near the cache. Everything in it is float32 under any autocast: states diverge in
bfloat16. Both passes are operators that the compiler calls as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pdebench.ops import macs
from pdebench.ops.operand import Handles, Macs, backward
from pdebench.ops.precision import as_given
from pdebench.ops.tiles import tiles

CHUNK = 32  # tokens, a power of two; as measured best of 16, 32 and 64 at heads of 32 keys and 64 values
TILE = 2**17  # numbers of q that are worked on at a time: 512 KiB in float32, as measured best on one core
TILE_GPU = 2**24  # where launches cost more than caches save


class _Halving(NamedTuple):
    """Blocks of `2 half` tokens, each cut in the middle: what its right half asks of its left half.

    All have shape (blocks, half, K). Only backward needs the decays.
    """

    half: int
    queries: Tensor  # of the right half, decayed from the middle
    keys: Tensor  # of the left half, decayed to the middle
    from_middle: Tensor
    to_middle: Tensor


def _halves(x: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """Views of the left and the right halves of `x` (M, chunk, K) cut in blocks; each (blocks, half, K)."""
    left, right = x.view(-1, 2, half, x.shape[-1]).unbind(1)
    return left, right


def _quadrants(scores: Tensor, half: int) -> Tensor:
    """A view of `scores` (M, chunk, chunk): where right halves meet left ones, (M, blocks of a chunk, half, half)."""
    blocks = scores.shape[-1] // (2 * half)
    cut = scores.view(-1, blocks, 2 * half, blocks, 2 * half).diagonal(0, 1, 3)
    return cut[:, half:, :half].permute(0, 3, 1, 2)


def _product(scores: Tensor, x: Tensor) -> Tensor:
    """`scores` (blocks, half, half) times `x` (blocks, half, K)."""
    if scores.shape[-1] > 2:
        return scores @ x
    # on a CPU a batch of thousands of products as small as these takes ten times as long
    y = scores[..., :1] * x[:, :1]
    for j in range(1, scores.shape[-1]):
        y.addcmul_(scores[..., j : j + 1], x[:, j : j + 1])
    return y


class _Tile:
    """Some chunks of some samples, M = samples x chunks x heads of them.

    Attributes:
        q, k, v: (M, chunk, K), (M, chunk, K) and (M, chunk, V).
        halvings: from pairs of tokens to the whole chunk.
        enter: decays from a chunk's start to each token, it included, (M, chunk, K).
        leave: decays from each token, it excluded, to the chunk's end.
        through: decays of whole chunks, (samples, chunks, heads, K, 1) to multiply states.
        shape: samples, chunks, heads.
    """

    def __init__(self, inputs: list[Tensor], chunk: int, kind: torch.dtype, *, keep: bool) -> None:
        q, k, v, g = inputs
        self.q = _cut(q, chunk, kind) * q.shape[-1] ** -0.5
        self.k, self.v = _cut(k, chunk, kind), _cut(v, chunk, kind)
        g = _cut(g, chunk, kind)
        self.enter = g.exp()
        self.leave = torch.ones_like(self.enter)
        self.shape = (q.shape[0], -(-q.shape[1] // chunk), q.shape[2])
        # rounded once, not at every token: over thousands of chunks a product of products drifts
        self.through = g.sum(1).exp().view(*self.shape, -1, 1)
        self.halvings: list[_Halving] = []
        half = 1
        while half < chunk:
            enter_left, enter_right = _halves(self.enter, half)
            leave_left = _halves(self.leave, half)[0]
            queries, keys = _halves(self.q, half)[1] * enter_right, _halves(self.k, half)[0] * leave_left
            decays = (enter_right.clone(), leave_left.clone()) if keep else (enter_right, leave_left)
            self.halvings.append(_Halving(half, queries, keys, *decays))
            leave_left.mul_(enter_right[:, -1:])  # before the next line changes it
            enter_right.mul_(enter_left[:, -1:])
            half *= 2

    def scores(self) -> Tensor:
        """The lower triangle a_ij, (M, chunk, chunk)."""
        chunk = self.q.shape[1]
        scores: Tensor = self.q.new_zeros(len(self.q), chunk, chunk)
        scores.diagonal(0, 1, 2).copy_((self.q * self.k).sum(-1))
        for halving in self.halvings:
            quadrants = _quadrants(scores, halving.half)
            quadrants.copy_((halving.queries @ halving.keys.mT).view(quadrants.shape))
        return scores

    def states(self, first: Tensor) -> tuple[Tensor, Tensor]:
        """States (samples, chunks, heads, K, V) that chunks start with, given the first; and what follows the last."""
        added = ((self.k * self.leave).mT @ self.v).view(*self.shape, *first.shape[-2:])
        through, states = self.through, torch.empty_like(added)
        states[:, 0] = first
        for i in range(self.shape[1] - 1):
            torch.addcmul(added[:, i], through[:, i], states[:, i], out=states[:, i + 1])
        return states, torch.addcmul(added[:, -1], through[:, -1], states[:, -1])

    def outputs(self, states: Tensor) -> Tensor:
        """`y` (M, chunk, V)."""
        y: Tensor = self.scores() @ self.v
        return y.baddbmm_(self.q * self.enter, states.flatten(0, 2))

    def gradients(self, grad: Tensor, states: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Of q, k, v, g and the first state, given that of `y` (M, chunk, V) and of the state after the last chunk."""
        queries, keys = self.q * self.enter, self.k * self.leave
        read = (queries.mT @ grad).view_as(states)
        through, ends = self.through, torch.empty_like(states)  # of the states that chunks end with
        ends[:, -1] = last
        for i in reversed(range(1, self.shape[1])):
            torch.addcmul(read[:, i], through[:, i], ends[:, i], out=ends[:, i - 1])
        first = torch.addcmul(read[:, 0], through[:, 0], ends[:, 0])
        # of the logarithms of the decays: those into a token, out of it, and through a block, (blocks, 1, K)
        passed = (states * ends).sum(-1, keepdim=True).mul_(through).view(-1, 1, self.q.shape[-1])
        states, ends = states.flatten(0, 2), ends.flatten(0, 2)
        entered, left = grad @ states.mT, self.v @ ends.mT
        grad_v = (self.scores().mT @ grad).baddbmm_(keys, ends)
        grad_scores = grad @ self.v.mT
        near = grad_scores.diagonal(0, 1, 2).unsqueeze(-1)
        grad_q, grad_k = (
            torch.addcmul(entered * self.enter, near, self.k),
            torch.addcmul(left * self.leave, near, self.q),
        )
        entered.mul_(queries)
        left.mul_(keys)
        for half, queries, keys, from_middle, to_middle in reversed(self.halvings):
            into, out_of = _halves(entered, half)[1], _halves(left, half)[0]
            passed = torch.cat([passed + into.sum(1, keepdim=True), passed + out_of.sum(1, keepdim=True)], 1)
            passed = passed.view(-1, 1, passed.shape[-1])
            quadrants = _quadrants(grad_scores, half).reshape(-1, half, half)
            asked, given = _product(quadrants, keys), _product(quadrants.mT, queries)
            _halves(grad_q, half)[1].addcmul_(asked, from_middle)
            _halves(grad_k, half)[0].addcmul_(given, to_middle)
            into.addcmul_(asked, queries)
            out_of.addcmul_(given, keys)
        return grad_q * self.q.shape[-1] ** -0.5, grad_k, grad_v, entered.add_(passed.view_as(entered)), first

    def write(self, cut: Tensor, into: Tensor) -> None:
        """Put `cut` (M, chunk, E) where the tile's tokens are, `into` (samples, tokens, heads, E)."""
        tokens = cut.view(*self.shape, *cut.shape[1:]).transpose(2, 3).flatten(1, 2)
        into.copy_(tokens[:, : into.shape[1]])


def _cut(x: Tensor, chunk: int, kind: torch.dtype) -> Tensor:
    """`x` (samples, tokens, heads, E) as (M, chunk, E), filled up with zeros, which change no other token."""
    missing = -x.shape[1] % chunk
    if missing:
        x = F.pad(x, (0, 0, 0, 0, 0, missing))
    heads_first: Tensor = x.to(kind).unflatten(1, (-1, chunk)).transpose(2, 3)
    return heads_first.reshape(-1, chunk, x.shape[-1]).contiguous()  # reshape alone may give a strided view


def _plan(q: Tensor) -> tuple[int, int, int]:
    """Tokens of a chunk, samples and tokens of a tile, for `q` (B, L, H, K)."""
    _, length, heads, channels = q.shape
    chunk = min(CHUNK, 1 << (length - 1).bit_length())
    chunks = -(-length // chunk)
    together = max(1, (TILE_GPU if q.is_cuda else TILE) // (chunk * heads * channels))
    tiles = -(-chunks // together)  # of a sample, of about the same length
    return chunk, max(1, together // chunks), chunk * -(-chunks // tiles)


@torch.library.custom_op("pdebench::gated_linear_attention", mutates_args=())
def _attend(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """`y` (B, L, H, V), and the states (tiles of a sample, B, H, K, V) with which the tiles start."""
    y, starts = _outputs(q, k, v, g)
    chunk, samples, span = _plan(q)
    with as_given(q):
        for some in tiles(len(q), samples):
            state = torch.zeros_like(starts[0, some])
            for start, tokens in zip(starts, tiles(q.shape[1], span), strict=True):
                start[some] = state
                tile = _Tile([x[some, tokens] for x in (q, k, v, g)], chunk, y.dtype, keep=False)
                states, state = tile.states(state)
                tile.write(tile.outputs(states), y[some, tokens])
    return y, starts


@_attend.register_fake
def _outputs(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    kind = torch.promote_types(v.dtype, torch.float32)
    (batch, length, heads, channels), values = q.shape, v.shape[-1]
    tiles = -(-length // _plan(q)[2])
    y = v.new_empty(batch, length, heads, values, dtype=kind)
    return y, v.new_empty(tiles, batch, heads, channels, values, dtype=kind)


@torch.library.custom_op("pdebench::gated_linear_attention_backward", mutates_args=())
def _attend_backward(
    grad_y: Tensor, q: Tensor, k: Tensor, v: Tensor, g: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `q`, `k`, `v` and `g`."""
    grads: tuple[Tensor, Tensor, Tensor, Tensor] = _gradients(grad_y, q, k, v, g, starts)
    chunk, samples, span = _plan(q)
    with as_given(q):
        for some in tiles(len(q), samples):
            last = torch.zeros_like(starts[0, some])
            for i, tokens in reversed(list(enumerate(tiles(q.shape[1], span)))):
                tile = _Tile([x[some, tokens] for x in (q, k, v, g)], chunk, starts.dtype, keep=True)
                states, _ = tile.states(starts[i, some])
                *found, last = tile.gradients(_cut(grad_y[some, tokens], chunk, starts.dtype), states, last)
                for cut, whole in zip(found, grads, strict=True):
                    tile.write(cut, whole[some, tokens])
    return grads


@_attend_backward.register_fake
def _gradients(
    grad_y: Tensor, q: Tensor, k: Tensor, v: Tensor, g: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    q, k, v, g = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (q, k, v, g))
    return q, k, v, g


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[1])
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad_y: Tensor, _: None) -> tuple[Tensor, ...]:
    return _attend_backward(grad_y, *ctx.saved_tensors)  # type: ignore[no-any-return]


_attend.register_autograd(_backward, setup_context=_save)


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """A head has a state for each pair of a key's and a value's channel."""
    q, _, v = inputs[:3]
    return {"scan": macs.scan(q.size * v.shape[-1])}


HANDLES: Handles = {
    "pdebench::gated_linear_attention": _macs,
    "pdebench::gated_linear_attention_backward": backward(_macs),
}


def gated_linear_attention(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Tensor:
    """Attend with `q`, `k` and log-decays `g <= 0` (B, L, H, K) to `v` (B, L, H, V); gives `y` (B, L, H, V).

    Float64 stays float64; everything else is computed, and returned, in float32.
    """
    return _attend(q, k, v, g)[0]  # type: ignore[no-any-return]
