"""The summed propagators of a channel's states, and their gradient as a 3 x 3 matrix of moments.

    G(k) = sum_s g_s exp(-k^T K_s k - i v_s . k)

Every parameter stands in the exponent next to a monomial of k of degree at most two, so the gradient of a loss with
respect to all of them is read off the moments `M_ij = sum_k y_i x_j conj(P(k)) dL/dG(k)` with `y = (1, k_y, k_y^2)`,
`x = (1, k_x, k_x^2)` and `P` the propagator: one product and two thin matrix products, where autograd walks back
through every exponential on the grid. Where K is diagonal the propagators are outer products over the two axes, and in
eager mode neither direction ever forms a grid for each state.

Complex numbers stand as pairs of real ones along a last axis: PyTorch's compiler hands each operator on complex tensors
to a kernel of its own, and fuses real ones. In eager mode complex products are fewer passes. A compiled graph has none,
and forms the grid of every state, whatever K is, as one expression.
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
    `powers` stack 1, the odd one and the square; `basis_x` is what takes pairs along x, (2 w'), to the real moments of
    `powers_x` and then the imaginary ones, (6,).
    """

    squares_y: Tensor
    squares_x: Tensor
    odd_y: Tensor
    odd_x: Tensor
    powers_y: Tensor
    powers_x: Tensor
    basis_x: Tensor


@kept
def wavenumbers(h: int, w: int, domain: float, dtype: torch.dtype, device: torch.device) -> Wavenumbers:
    """The wavenumbers of an h x w grid over a torus whose side is `domain`."""
    unit = 2 * torch.pi / domain
    y = torch.fft.fftfreq(h, 1 / h, dtype=dtype, device=device) * unit
    x = torch.fft.rfftfreq(w, 1 / w, dtype=dtype, device=device) * unit
    odd_y, odd_x = _without_nyquist(y, h), _without_nyquist(x, w)
    powers_y, powers_x = (torch.stack([torch.ones_like(k), odd, k.square()]) for k, odd in ((y, odd_y), (x, odd_x)))
    real, none = powers_x.t(), torch.zeros_like(powers_x.t())
    basis_x = torch.stack((torch.cat((real, none), 1), torch.cat((none, real), 1)), 1).flatten(0, 1)
    return Wavenumbers(y.square(), x.square(), odd_y, odd_x, powers_y, powers_x, basis_x)


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
    """`skip` (...) and `gain`, K_yy, K_xx, K_yx, v_y, v_x, each (..., S), to `G + skip` as pairs (..., h, w', 2).

    A term that is off is None.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: FunctionCtx,
        skip: Tensor,
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
        basis_x: Tensor,
    ) -> Tensor:
        ctx.terms = [term is not None for term in (k_yy, k_xx, k_yx, v_y, v_x)]  # type: ignore[attr-defined]
        if k_yx is None and not torch.compiler.is_compiling():
            rows = torch.view_as_complex(_axis(gain, k_yy, v_y, squares_y, odd_y))
            columns = torch.view_as_complex(_axis(gain, k_xx, v_x, squares_x, odd_x))
            ctx.save_for_backward(gain, rows, columns, powers_y, powers_x, basis_x)
            symbol = torch.view_as_real((rows * gain[..., None]).transpose(-1, -2) @ columns)
        else:
            decay = _decay_on_grid(k_yy, k_xx, k_yx, squares_y, squares_x, odd_y, odd_x)
            rows, columns = _axis(gain, None, v_y, squares_y, odd_y), _axis(gain, None, v_x, squares_x, odd_x)
            propagators = _product(rows[..., :, None, :], columns[..., None, :, :])  # (..., S, h, w', 2)
            if decay is not None:
                propagators.mul_(decay[..., None])
            symbol = _summed(gain, propagators)
            ctx.save_for_backward(gain, propagators, None, powers_y, powers_x, basis_x)  # type: ignore[arg-type]
        symbol[..., 0] += skip[..., None, None]
        return symbol

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        gain, rows, columns, powers_y, powers_x, basis_x = ctx.saved_tensors  # type: ignore[attr-defined]
        of_skip = grad[..., 0].sum((-2, -1))
        with as_given(gain):
            if columns is None:
                # conj(P) dL/dG, (..., S, h, w', 2), its moments along x, (..., S, h, 6), and along y, (..., S, 3, 6)
                moments = powers_y @ (_product(rows, grad.unsqueeze(-4), conjugate=True).flatten(-2) @ basis_x)
                real, imaginary = moments.unflatten(-1, (2, 3)).unbind(-2)
            else:
                grad = torch.view_as_complex(grad)
                basis = (columns.conj()[..., None, :] * powers_x).flatten(-3, -2)  # (..., 3 S, w')
                thin = grad @ basis.transpose(-1, -2)  # (..., h, 3 S)
                thin = thin.unflatten(-1, (-1, 3)).movedim(-2, -3)  # (..., S, h, 3)
                moments = (rows.conj()[..., None, :] * powers_y) @ thin
                real, imaginary = moments.real, moments.imag
        even, odd = (part.movedim((-2, -1), (0, 1)) for part in (real, imaginary))
        by_term = (-gain * even[2, 0], -gain * even[0, 2], -2 * gain * even[1, 1], -gain * odd[1, 0], -gain * odd[0, 1])
        grads = [term if on else None for term, on in zip(by_term, ctx.terms, strict=True)]  # type: ignore[attr-defined]
        return (of_skip, even[0, 0], *grads, *[None] * 7)


def _axis(like: Tensor, diffusion: Tensor | None, drift: Tensor | None, squares: Tensor, odd: Tensor) -> Tensor:
    """`exp(-diffusion k^2 - i drift k)` along one axis, pairs (..., S, len(k), 2); ones where both are off."""
    angle = squares.new_zeros((*like.shape, len(squares))) if drift is None else -drift[..., None] * odd
    decay = torch.ones_like(angle) if diffusion is None else _decay(diffusion[..., None] * squares)
    if torch.compiler.is_compiling():
        return torch.stack((decay * angle.cos(), decay * angle.sin()), -1)
    return torch.view_as_real(torch.polar(decay, angle))


def _decay_on_grid(
    k_yy: Tensor | None,
    k_xx: Tensor | None,
    k_yx: Tensor | None,
    squares_y: Tensor,
    squares_x: Tensor,
    odd_y: Tensor,
    odd_x: Tensor,
) -> Tensor | None:
    """`exp(-k^T K k)` (..., S, h, w'), or None where K is off.

    The exponent is summed before exp: the cross term alone may overflow, `k^T K k >= 0` never does. As a product of
    rank three it is one pass over the grid; fused, a sum of products is.
    """
    if k_yy is None or k_xx is None:
        return None
    if torch.compiler.is_compiling():
        exponent = k_yy[..., None, None] * squares_y[:, None] + k_xx[..., None, None] * squares_x
        if k_yx is not None:
            exponent = exponent + (2 * k_yx)[..., None, None] * (odd_y[:, None] * odd_x)
        return _decay(exponent.clamp(min=0))
    left = [k_yy[..., None] * squares_y, torch.ones_like(odd_y)]
    right = [torch.ones_like(odd_x), k_xx[..., None] * squares_x]
    if k_yx is not None:
        left.append((2 * k_yx)[..., None] * odd_y)
        right.append(odd_x)
    tall, wide = (torch.stack([part.expand(*k_yy.shape, -1) for part in side], -2) for side in (left, right))
    with as_given(k_yy):
        return _decay((tall.transpose(-1, -2) @ wide).clamp_(min=0))


def _summed(gain: Tensor, propagators: Tensor) -> Tensor:
    """The sum over states of `gain` (..., S) times grids (..., S, h, w', 2)."""
    if torch.compiler.is_compiling():
        return (gain[..., None, None, None] * propagators).sum(-4)
    with as_given(gain):
        return (gain[..., None, :] @ propagators.flatten(-3)).view(*gain.shape[:-1], *propagators.shape[-3:])


def _product(first: Tensor, second: Tensor, *, conjugate: bool = False) -> Tensor:
    """`first second` of pairs, or `conj(first) second`, in new memory."""
    if torch.compiler.is_compiling():
        (a, b), (c, d) = first.unbind(-1), second.unbind(-1)
        b = -b if conjugate else b
        return torch.stack((a * c - b * d, a * d + b * c), -1)
    one, other = torch.view_as_complex(first), torch.view_as_complex(second)
    return torch.view_as_real(torch.conj_physical(one).mul_(other) if conjugate else one * other)
