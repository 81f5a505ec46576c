"""The summed propagators of a channel's states, and their gradient as a 3 x 3 matrix of moments.

    G(k) = sum_s g_s exp(-k^T K_s k - i v_s . k)

Every parameter stands in the exponent next to a monomial of k of degree at most two, so the gradient of a loss with
respect to all of them is read off the moments `M_ij = sum_k y_i x_j conj(P(k)) dL/dG(k)` with `y = (1, k_y, k_y^2)`,
`x = (1, k_x, k_x^2)` and `P` the propagator: one product and two thin matrix products, where autograd walks back
through every exponential on the grid. Where K is diagonal the propagators are outer products over the two axes, and
neither direction ever forms a grid for each state.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from pdebench.models.mixers.constants import kept
from pdebench.models.mixers.precision import as_given


class Wavenumbers(NamedTuple):
    """What a half spectrum has of `k = 2 pi (m, n) / domain`: (h,) of `y` and (w // 2 + 1,) of `x`.

    The odd ones are zero at the Nyquist frequency of an even side, which has no sign: only so is `G(-k) = conj G(k)`.
    `powers` stack 1, the odd one and the square.
    """

    squares_y: Tensor
    squares_x: Tensor
    odd_y: Tensor
    odd_x: Tensor
    powers_y: Tensor
    powers_x: Tensor


@kept
def wavenumbers(h: int, w: int, domain: float, dtype: torch.dtype, device: torch.device) -> Wavenumbers:
    """The wavenumbers of an h x w grid over a torus whose side is `domain`."""
    unit = 2 * torch.pi / domain
    y = torch.fft.fftfreq(h, 1 / h, dtype=dtype, device=device) * unit
    x = torch.fft.rfftfreq(w, 1 / w, dtype=dtype, device=device) * unit
    odd_y, odd_x = _without_nyquist(y, h), _without_nyquist(x, w)
    powers = (torch.stack([torch.ones_like(k), odd, k.square()]) for k, odd in ((y, odd_y), (x, odd_x)))
    return Wavenumbers(y.square(), x.square(), odd_y, odd_x, *powers)


def _without_nyquist(k: Tensor, points: int) -> Tensor:
    if points % 2:
        return k
    k = k.clone()
    k[points // 2] = 0
    return k


# exp(-40) = 4e-18 is below the rounding of 1 in float64. What lies beyond is set to exactly 0: left alone it becomes
# subnormal numbers, in which a CPU computes many times slower: at 32 x 32 tokens and 4 states, two thirds of the time.
NEGLIGIBLE = 40.0


def _decay(exponent: Tensor) -> Tensor:
    """`exp(-exponent)` in place, exactly 0 where negligible."""
    exponent = exponent.neg_()
    return F.threshold(exponent, -NEGLIGIBLE, -torch.inf, inplace=True).exp_()


class SummedPropagators(torch.autograd.Function):
    """`gain`, K_yy, K_xx, K_yx, v_y, v_x, each (..., S), to G (..., h, w'). A term that is off is None."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: FunctionCtx,
        gain: Tensor,
        k_yy: Tensor | None,
        k_xx: Tensor | None,
        k_yx: Tensor | None,
        v_y: Tensor | None,
        v_x: Tensor | None,
        squares_y: Tensor,
        squares_x: Tensor,
        odd_y: Tensor,
        odd_x: Tensor,
        powers_y: Tensor,
        powers_x: Tensor,
    ) -> Tensor:
        ctx.terms = [term is not None for term in (k_yy, k_xx, k_yx, v_y, v_x)]  # type: ignore[attr-defined]
        if k_yx is None:
            rows = _axis(gain, k_yy, v_y, squares_y, odd_y)
            columns = _axis(gain, k_xx, v_x, squares_x, odd_x)
            ctx.save_for_backward(gain, rows, columns, powers_y, powers_x)
            return (rows * gain[..., None]).transpose(-1, -2) @ columns
        assert k_yy is not None
        assert k_xx is not None
        # The exponent is summed before exp: the cross term alone may overflow, k^T K k >= 0 never does. As a product
        # of rank three it is one pass over the grid.
        ones_y, ones_x = powers_y[0], powers_x[0]
        left = torch.stack(
            [k_yy[..., None] * squares_y, ones_y.expand(*k_yy.shape, -1), (2 * k_yx)[..., None] * odd_y], -1
        )
        right = torch.stack(
            [ones_x.expand(*k_xx.shape, -1), k_xx[..., None] * squares_x, odd_x.expand(*k_xx.shape, -1)], -2
        )
        with as_given(gain):
            decay = _decay((left @ right).clamp_(min=0))
        rows, columns = _axis(gain, None, v_y, squares_y, odd_y), _axis(gain, None, v_x, squares_x, odd_x)
        propagators = rows[..., :, None] * columns[..., None, :]
        torch.view_as_real(propagators).mul_(decay[..., None])
        ctx.save_for_backward(gain, propagators, None, powers_y, powers_x)  # type: ignore[arg-type]
        flat = torch.view_as_real(propagators).flatten(-3)  # (..., S, h w' 2)
        with as_given(gain):
            summed = gain[..., None, :] @ flat
        return torch.view_as_complex(summed.view(*gain.shape[:-1], len(odd_y), len(odd_x), 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        gain, rows, columns, powers_y, powers_x = ctx.saved_tensors  # type: ignore[attr-defined]
        if columns is None:
            weighted = torch.conj_physical(rows).mul_(grad[..., None, :, :])  # conj(P) dL/dG: (..., S, h, w')
            moments = powers_y.to(grad.dtype) @ (weighted @ powers_x.t().to(grad.dtype))
        else:
            basis_x = (columns.conj()[..., None, :] * powers_x).flatten(-3, -2)  # (..., 3 S, w')
            thin = grad @ basis_x.transpose(-1, -2)  # (..., h, 3 S)
            thin = thin.unflatten(-1, (-1, 3)).movedim(-2, -3)  # (..., S, h, 3)
            moments = (rows.conj()[..., None, :] * powers_y) @ thin
        even, odd = moments.real, -gain * moments.imag.movedim((-2, -1), (0, 1))
        even = even.movedim((-2, -1), (0, 1))
        by_term = (-gain * even[2, 0], -gain * even[0, 2], -2 * gain * even[1, 1], odd[1, 0], odd[0, 1])
        grads = [term if on else None for term, on in zip(by_term, ctx.terms, strict=True)]  # type: ignore[attr-defined]
        return (even[0, 0], *grads, *[None] * 6)


def _axis(like: Tensor, diffusion: Tensor | None, drift: Tensor | None, squares: Tensor, odd: Tensor) -> Tensor:
    """`exp(-diffusion k^2 - i drift k)` along one axis, complex (..., S, len(k)); ones where both are off."""
    shape = (*like.shape, len(squares))
    decay = squares.new_ones(shape) if diffusion is None else _decay(diffusion[..., None] * squares)
    angle = torch.zeros_like(decay) if drift is None else -drift[..., None] * odd
    return torch.polar(decay, angle)
