"""Mamba's selective scan in plain PyTorch, with memory linear in the length.

    h_t = exp(dt_t A) h_(t-1) + dt_t B_t u_t        y_t = C_t . h_t          (arXiv 2312.00752, eq. 2 with ZOH on A)

Only the state at the start of each chunk is kept; backward forms each chunk's states again. The work is done in tiles,
one chunk of tokens of some samples, so that the dozen passes over it stay near the cache. States are float32 under any
autocast: they diverge in bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

CHUNK = 16  # tokens
TILE = 2**20  # states that are worked on at a time: 4 MiB in float32, as measured best on two cores


def _tiles(batch: int, states: int, width: int) -> Iterator[slice]:
    """Slices of the batch so that a chunk has about TILE states."""
    size = max(1, TILE // (CHUNK * states * width))
    for begin in range(0, batch, size):
        yield slice(begin, min(batch, begin + size))


def _advance(dt: Tensor, driven: Tensor, a: Tensor, b: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """States (T, B, N, E) of one chunk after `state` (B, N, E), and their decays exp(dt A); `driven` is dt u."""
    decay = (dt.unsqueeze(2) * a).exp_()
    states = driven.unsqueeze(2) * b.unsqueeze(3)
    for now, keep in zip(states.unbind(), decay.unbind(), strict=True):
        state = now.addcmul_(keep, state)
    return states, decay


class SelectiveScan(torch.autograd.Function):
    """The scan over time-first tensors: `u`, `dt` (L, B, E), `a` (N, E), `b`, `c` (L, B, N) to `y` (L, B, E)."""

    @staticmethod
    def forward(ctx: FunctionCtx, u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:  # type: ignore[override]
        length, batch, _ = u.shape
        if u.is_meta:
            return torch.empty_like(u)  # shapes are all there is
        starts = u.new_zeros(-(-length // CHUNK), batch, *a.shape)
        y = torch.empty_like(u)
        for tile in _tiles(batch, *a.shape):
            state = starts[0, tile]
            for i, begin in enumerate(range(0, length, CHUNK)):
                part = (slice(begin, begin + CHUNK), tile)
                starts[i, tile] = state
                states, _ = _advance(dt[part], dt[part] * u[part], a, b[part], state)
                torch.matmul(c[part].unsqueeze(2), states, out=y[part].unsqueeze(2))
                state = states[-1]
        ctx.save_for_backward(u, dt, a, b, c, starts)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad_y: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        u, dt, a, b, c, starts = ctx.saved_tensors  # type: ignore[attr-defined]
        grad_u, grad_dt, grad_b, grad_c = map(torch.empty_like, (u, dt, b, c))
        grad_a = torch.zeros_like(a)
        for tile in _tiles(u.shape[1], *a.shape):
            carried = torch.zeros_like(starts[0, tile])  # gradient of the state that a chunk ends with
            for i in reversed(range(len(starts))):
                part = (slice(i * CHUNK, (i + 1) * CHUNK), tile)
                driven = dt[part] * u[part]
                states, decay = _advance(dt[part], driven, a, b[part], starts[i, tile])
                grad_c[part] = (states @ grad_y[part].unsqueeze(3)).squeeze(3)
                grads = c[part].unsqueeze(3) * grad_y[part].unsqueeze(2)  # of each state, (T, B, N, E)
                for t in reversed(range(len(grads))):
                    carried = grads[t].addcmul_(decay[t + 1], carried) if t + 1 < len(grads) else grads[t].add_(carried)
                grad_driven = (b[part].unsqueeze(2) @ grads).squeeze(2)
                grad_b[part] = (grads @ driven.unsqueeze(3)).squeeze(3)
                carried = carried * decay[0]
                # of the exponent dt A: gradient times decay times the state before
                exponent = decay.mul_(grads)
                exponent[1:].mul_(states[:-1])
                exponent[0].mul_(starts[i, tile])
                torch.mul(exponent, a, out=grads)
                grad_dt[part] = torch.addcmul(grads.sum(2), grad_driven, u[part])
                grad_a += exponent.mul_(dt[part].unsqueeze(2)).sum((0, 1))
                grad_u[part] = grad_driven.mul_(dt[part])
        return grad_u, grad_dt, grad_a, grad_b, grad_c


def selective_scan(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Run the scan over `u` and step sizes `dt` (B, L, E), `a` (E, N) negative, `b` and `c` (B, L, N); gives (B, L, E).

    Float64 stays float64; everything else is computed, and returned, in float32.
    """
    kind = torch.promote_types(u.dtype, torch.float32)

    def time_first(tensor: Tensor) -> Tensor:
        return tensor.transpose(0, 1).to(kind).contiguous()

    y = SelectiveScan.apply(time_first(u), time_first(dt), a.to(kind).t().contiguous(), time_first(b), time_first(c))
    return y.transpose(0, 1)  # type: ignore[no-any-return]
