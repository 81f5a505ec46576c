"""The damped wave equation on a torus, solved for a displacement and a velocity at once.

    u_tt + alpha u_t = c^2 Laplace(u)        u(0) = u, u_t(0) = v

At a frequency of `k` radians a side the solution at t = 1 is `P u_hat + Q v_hat` with

    P = exp(-alpha / 2) (cos(w) + alpha / 2 sin(w) / w)      Q = exp(-alpha / 2) sin(w) / w
    w^2 = (c k)^2 - (alpha / 2)^2

(arXiv 2601.08602, eq. 6 and 7, which have the case w^2 > 0 only). Where the damping is stronger than the oscillation,
`w` is imaginary: `cos` becomes `cosh` and `sin(w) / w` `sinh(|w|) / |w|`. Both are smooth functions of `w^2`, at 0 too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from pdebench.ops.constants import kept
from pdebench.ops.macs import COMPLEX_PRODUCT, fft
from pdebench.ops.operand import Handles, Macs

NEAR = 0.5  # |w^2| below which the series stand for their functions
TERMS = 9  # of the series: the rest is below 0.5^9 / 18!


def propagators(speed: Tensor, damping: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
    """P and Q on the frequencies of an h x w grid, (D, h, w) each; `speed` c and `damping` alpha (D,) are positive.

    Both depend on `k^2` alone: they are formed for a quarter of the frequencies and copied to the others. At the
    Nyquist frequency of an even side they are the mean over both of its signs, which is the same number.
    """
    squared, rows, columns = _quarter(h, w, like=speed)
    half = (damping / 2)[:, None, None]
    discriminant = speed.square()[:, None, None] * squared - half.square()
    cosine, sine = _damped(discriminant, half)
    both = torch.stack((cosine + half * sine, sine))
    whole = both.index_select(2, rows).index_select(3, columns)
    return whole[0], whole[1]


def _damped(z: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """`exp(-half) cos(sqrt z)` and `exp(-half) sin(sqrt z) / sqrt z` for z >= -half^2, with gradients at z = 0 too.

    Of a negative z both are sums of exponentials whose exponents are not positive: nothing overflows.
    """
    near = z.clamp(-NEAR, NEAR)
    damp = torch.exp(-half)
    fast = z.clamp(min=NEAR).sqrt()
    slow = (-z).clamp(min=NEAR).sqrt()
    rising, falling = torch.exp((slow - half).clamp(max=0)), torch.exp(-slow - half)
    small, positive = z.abs() < NEAR, z > 0
    cosine = torch.where(positive, damp * fast.cos(), (rising + falling) / 2)
    sine = torch.where(positive, damp * fast.sin() / fast, (rising - falling) / (2 * slow))
    return torch.where(small, damp * _series(near, 0), cosine), torch.where(small, damp * _series(near, 1), sine)


def _series(z: Tensor, odd: int) -> Tensor:
    """`cos(sqrt z)` (odd = 0) or `sin(sqrt z) / sqrt z` (odd = 1) by its powers of z."""
    total = torch.zeros_like(z)
    for power in reversed(range(TERMS)):
        total = total * z + (-1) ** power / math.factorial(2 * power + odd)
    return total


@kept
def _quarter(h: int, w: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """`k^2` (h // 2 + 1, w // 2 + 1) in radians a side squared, and where each row and column of the whole stands."""
    rows, columns = (torch.arange(side, device=device) for side in (h, w))
    rows, columns = torch.minimum(rows, h - rows), torch.minimum(columns, w - columns)
    ky, kx = (2 * math.pi * torch.arange(side // 2 + 1, dtype=torch.float64, device=device) for side in (h, w))
    return (ky[:, None].square() + kx.square()).to(dtype), rows, columns


class WaveProduct(torch.autograd.Function):
    """The solution (B, D, h, w) for `u` and `v` (B, D, h, w) and propagators (D, h, w), all of float32 or float64.

    With real kernels p and q, `p * u + q * v` is the real part of what `P - i Q` makes of `u + i v`: one complex
    transform there and one back carry both fields. Tokens may lie channels last; what comes out does.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, u: Tensor, v: Tensor, p: Tensor, q: Tensor) -> Tensor:  # type: ignore[override]
        symbol = torch.complex(p, -q)
        spectrum = torch.fft.fft2(torch.complex(*(field.contiguous() for field in (u, v))))
        ctx.save_for_backward(spectrum, symbol)
        wave: Tensor = torch.fft.ifft2(spectrum * symbol).real
        return wave.contiguous(memory_format=torch.channels_last)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        # The kernels are even, so they are their own adjoints: p * g + i q * g is what P + i Q makes of g.
        spectrum, symbol = ctx.saved_tensors  # type: ignore[attr-defined]
        grad_spectrum = torch.fft.fft2(grad.contiguous())
        # Parseval; what is odd in the frequency cancels where the gradient is pulled back to an even symbol
        correlation = (spectrum * grad_spectrum.conj()).sum(0) / math.prod(grad.shape[-2:])
        fields = torch.fft.ifft2(grad_spectrum * symbol.conj())
        grad_u, grad_v = (part.contiguous(memory_format=torch.channels_last) for part in (fields.real, fields.imag))
        return grad_u, grad_v, correlation.real, correlation.imag


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """A complex transform there and one back, and a product at every frequency."""
    batch, channels, *grid = inputs[0].shape
    points = math.prod(grid)
    return {"fft": 4 * batch * channels * fft(*grid), "complex product": COMPLEX_PRODUCT * batch * channels * points}


HANDLES: Handles = {f"prim::PythonOp.{WaveProduct.__name__}": _macs}
