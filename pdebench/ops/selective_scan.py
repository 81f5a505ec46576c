"""Mamba's selective scan in plain PyTorch, with memory linear in the length.

    h_t = exp(dt_t A) h_(t-1) + dt_t B_t u_t        y_t = C_t . h_t          (arXiv 2312.00752, eq. 2 with ZOH on A)

Only the state at the start of each chunk is kept; backward forms each chunk's states again. The work is done in tiles,
one chunk of tokens of some samples, so that the dozen passes over it stay near the cache. States are float32 under any
autocast: they diverge in bfloat16.

Both passes are operators that the compiler calls as they are: traced, 256 tokens are a graph of a thousand nodes, which
takes it ten seconds a layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from pdebench.ops import macs
from pdebench.ops.operand import Handles, Macs, backward

CHUNK = 16  # tokens
TILE = 2**20  # states that are worked on at a time: 4 MiB in float32, as measured best on two cores
TILE_GPU = 2**24  # enough work for a launch


def _tiles(states: Tensor) -> Iterator[slice]:
    """Slices of the batch so that a chunk has about TILE states; `states` (chunks, B, N, E)."""
    _, batch, *each = states.shape
    size = max(1, (TILE_GPU if states.is_cuda else TILE) // (CHUNK * each[0] * each[1]))
    for begin in range(0, batch, size):
        yield slice(begin, min(batch, begin + size))


def _advance(
    dt: Tensor, driven: Tensor, a: Tensor, b: Tensor, state: Tensor, states: Tensor, decay: Tensor
) -> tuple[Tensor, Tensor]:
    """States (T, B, N, E) of one chunk after `state` (B, N, E), and their decays exp(dt A); `driven` is dt u.

    Both are written into the last two arguments, of CHUNK tokens: fresh memory costs more than what is computed in it.
    """
    states, decay = states[: len(dt)], decay[: len(dt)]
    torch.mul(dt.unsqueeze(2), a, out=decay).exp_()
    torch.mul(driven.unsqueeze(2), b.unsqueeze(3), out=states)
    for now, keep in zip(states.unbind(), decay.unbind(), strict=True):
        state = now.addcmul_(keep, state)
    return states, decay


def _time_first(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Views (L, B, ...) of tensors (B, L, ...)."""
    return tuple(tensor.transpose(0, 1) for tensor in tensors)


@torch.library.custom_op("pdebench::selective_scan", mutates_args=())
def _scan(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """`u`, `dt` (B, L, E), `a` (N, E), `b`, `c` (B, L, N), all contiguous, give `y` (B, L, E).

    And the states (chunks, B, N, E) with which the chunks start.
    """
    outputs, starts = _outputs(u, dt, a, b, c)
    y, u, dt, b, c = _time_first(outputs, u, dt, b, c)
    starts[0] = 0
    for tile in _tiles(starts):
        scratch = [starts.new_empty(CHUNK, *starts[0, tile].shape) for _ in range(2)]
        for i in range(len(starts)):
            part = (slice(i * CHUNK, (i + 1) * CHUNK), tile)
            states, _ = _advance(dt[part], dt[part] * u[part], a, b[part], starts[i, tile], *scratch)
            y[part] = (c[part].unsqueeze(2) @ states).squeeze(2)
            starts[i + 1 : i + 2, tile] = states[-1]
    return outputs, starts


@_scan.register_fake
def _outputs(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(u), u.new_empty(-(-u.shape[1] // CHUNK), u.shape[0], *a.shape)


@torch.library.custom_op("pdebench::selective_scan_backward", mutates_args=())
def _scan_backward(
    grad_y: Tensor, u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of `u`, `dt`, `a`, `b` and `c`."""
    gradients = _gradients(u, dt, a, b, c)
    grad_a = gradients[2].zero_()
    grad_u, grad_dt, grad_b, grad_c = _time_first(*gradients[:2], *gradients[3:])
    grad_y, u, dt, b, c = _time_first(grad_y, u, dt, b, c)
    for tile in _tiles(starts):
        carried = torch.zeros_like(starts[0, tile])  # gradient of the state that a chunk ends with
        *scratch, all_grads = (starts.new_empty(CHUNK, *carried.shape) for _ in range(3))
        for i in reversed(range(len(starts))):
            part = (slice(i * CHUNK, (i + 1) * CHUNK), tile)
            driven = dt[part] * u[part]
            states, decay = _advance(dt[part], driven, a, b[part], starts[i, tile], *scratch)
            # a row times a matrix: with a column on the right, the same product takes ten times as long on a CPU
            grad_c[part] = (grad_y[part].unsqueeze(2) @ states.transpose(2, 3)).squeeze(2)
            grads = all_grads[: len(states)]  # of each state, (T, B, N, E)
            torch.mul(c[part].unsqueeze(3), grad_y[part].unsqueeze(2), out=grads)
            for t in reversed(range(len(grads))):
                carried = grads[t].addcmul_(decay[t + 1], carried) if t + 1 < len(grads) else grads[t].add_(carried)
            grad_driven = (b[part].unsqueeze(2) @ grads).squeeze(2)
            grad_b[part] = (driven.unsqueeze(2) @ grads.transpose(2, 3)).squeeze(2)
            carried = carried * decay[0]
            # of the exponent dt A: gradient times decay times the state before
            exponent = decay.mul_(grads)
            exponent[1:].mul_(states[:-1])
            exponent[0].mul_(starts[i, tile])
            torch.mul(exponent, a, out=grads)
            grad_dt[part] = torch.addcmul(grads.sum(2), grad_driven, u[part])
            grad_a += exponent.mul_(dt[part].unsqueeze(2)).sum((0, 1))
            grad_u[part] = grad_driven.mul_(dt[part])
    return gradients


def _gradients(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return torch.empty_like(u), torch.empty_like(dt), torch.empty_like(a), torch.empty_like(b), torch.empty_like(c)


@_scan_backward.register_fake
def _(grad_y: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return _gradients(*inputs[:5])


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[1])
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad_y: Tensor, _: None) -> tuple[Tensor, ...]:
    return _scan_backward(grad_y, *ctx.saved_tensors)  # type: ignore[no-any-return]


_scan.register_autograd(_backward, setup_context=_save)
for _operator in (_scan, _scan_backward):
    for _device in ("cpu", "cuda"):
        _operator.register_autocast(_device, torch.float32)  # also for the products within; float64 stays


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """Each channel has N states of its own."""
    u, _, a = inputs[:3]
    return {"scan": macs.scan(u.size * a.shape[0])}


HANDLES: Handles = {"pdebench::selective_scan": _macs, "pdebench::selective_scan_backward": backward(_macs)}


def selective_scan(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Run the scan over `u` and step sizes `dt` (B, L, E), `a` (E, N) negative, `b` and `c` (B, L, N); gives (B, L, E).

    Float64 stays float64; everything else is computed, and returned, in float32.
    """
    kind = torch.promote_types(u.dtype, torch.float32)
    y, _ = _scan(*(tensor.to(kind).contiguous() for tensor in (u, dt, a.t(), b, c)))
    return y  # type: ignore[no-any-return]
