"""The summed propagators of a channel's states, and their gradient as a 3 x 3 matrix of moments.

    G(k) = sum_s g_s exp(-k^T K_s k - i v_s . k)

The Nyquist frequency of an even side stands for both of its signs, and G there is the mean over the two: what the real
part of the inverse transform makes of the formula. In this sense the PDE is solved exactly: the trigonometric
polynomial of least oscillation through the tokens goes through it without an error, and is read at the tokens' places
again. A drift by whole tokens is a roll of anything, and the same weights are the same operator on a finer grid. Below
the Nyquist frequency it is the matrix exponential of the dense spectral differentiation matrices, and solving for two
times in turn is solving for their sum. At the Nyquist frequency it is neither: a wave that drift has moved by half a
token there is zero at every token, and gone. So white noise on n x n tokens that is moved by half a token twice is off
a whole token's roll by 1 / sqrt(n) of its amplitude, a quarter at 16 x 16.

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

from pdebench.ops.constants import kept
from pdebench.ops.precision import as_given


class Wavenumbers(NamedTuple):
    """What a half spectrum has of `k = 2 pi (m, n) / domain`: h rows of y and w' = w // 2 + 1 columns of x.

    On an even side there is one more, at the end: the Nyquist frequency with its other sign.

    Attributes:
        powers_y, powers_x: 1, k and its square, (3, h) and (3, w'), or one more.
        basis_x: takes pairs along x, (2 w'), to the real moments of `powers_x` and then the imaginary ones, (6,).
        mirror_y, mirror_x: where the other sign of each frequency stands, if in another place, (h,) and (w',).
        origin_y, origin_x: the frequency of the half spectrum that each stands for, (h,) and (w',), or one more.
        share: how much it counts there, (h, w', 1), or one more of each.
    """

    powers_y: Tensor
    powers_x: Tensor
    basis_x: Tensor
    mirror_y: Tensor
    mirror_x: Tensor
    origin_y: Tensor
    origin_x: Tensor
    share: Tensor


@kept
def wavenumbers(h: int, w: int, domain: float, dtype: torch.dtype, device: torch.device) -> Wavenumbers:
    """The wavenumbers of an h x w grid over a torus whose side is `domain`."""
    (m, mirror_y, origin_y), (n, mirror_x, origin_x) = _both_signs(h, h, device), _both_signs(w, w // 2 + 1, device)
    waves = (along.to(dtype) * (2 * torch.pi / domain) for along in (m, n))
    powers_y, powers_x = (torch.stack([torch.ones_like(k), k, k.square()]) for k in waves)
    real, none = powers_x.t(), torch.zeros_like(powers_x.t())
    basis_x = torch.stack((torch.cat((real, none), 1), torch.cat((none, real), 1)), 1).flatten(0, 1)
    at_nyquist = 1 * (2 * m.abs() == h)[:, None] + 1 * (2 * n.abs() == w)
    share = torch.exp2(-at_nyquist.to(dtype))[..., None]
    return Wavenumbers(powers_y, powers_x, basis_x, mirror_y, mirror_x, origin_y, origin_x, share)


def _both_signs(points: int, count: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Of the `count` first frequencies of an axis: their waves with both signs of Nyquist, `mirror` and `origin`."""
    even, nyquist = points % 2 == 0, points // 2
    place = torch.arange(count + even, device=device)
    waves = torch.where(2 * place <= points, place, place - points)
    origin, mirror = place, place[:count]
    if even:
        waves = torch.where(place == count, -nyquist, waves)
        origin = torch.where(place == count, nyquist, place)
        mirror = torch.where(mirror == nyquist, count, mirror)
    return waves, mirror, origin


def _folded(z: Tensor, mirror: Tensor, dim: int) -> Tensor:
    """The mean over both signs of the Nyquist frequency along `dim`."""
    if z.shape[dim] == len(mirror):
        return z
    return torch.lerp(z.narrow(dim, 0, len(mirror)), z.index_select(dim, mirror), 0.5)


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
        powers_y: Tensor,
        powers_x: Tensor,
        basis_x: Tensor,
        mirror_y: Tensor,
        mirror_x: Tensor,
        origin_y: Tensor,
        origin_x: Tensor,
        share: Tensor,
    ) -> Tensor:
        ctx.terms = [term is not None for term in (k_yy, k_xx, k_yx, v_y, v_x)]  # type: ignore[attr-defined]
        ctx.on_grid = k_yx is not None or torch.compiler.is_compiling()  # type: ignore[attr-defined]
        if not ctx.on_grid:  # type: ignore[attr-defined]
            rows = torch.view_as_complex(_axis(gain, k_yy, v_y, powers_y))
            columns = torch.view_as_complex(_axis(gain, k_xx, v_x, powers_x))
            ctx.save_for_backward(gain, rows, columns, powers_y, powers_x, mirror_y, mirror_x)
            folded = _folded(rows, mirror_y, -1) * gain[..., None]
            symbol = torch.view_as_real(folded.transpose(-1, -2) @ _folded(columns, mirror_x, -1))
        else:
            decay = _decay_on_grid(k_yy, k_xx, k_yx, powers_y, powers_x)
            rows, columns = _axis(gain, None, v_y, powers_y), _axis(gain, None, v_x, powers_x)
            propagators = _product(rows[..., :, None, :], columns[..., None, :, :])  # (..., S, h, w', 2)
            if decay is not None:
                propagators.mul_(decay[..., None])
            symbol = _folded(_folded(_summed(gain, propagators), mirror_y, -3), mirror_x, -2)
            ctx.save_for_backward(gain, propagators, powers_y, basis_x, origin_y, origin_x, share)
        symbol[..., 0] += skip[..., None, None]
        return symbol

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        gain, *saved = ctx.saved_tensors  # type: ignore[attr-defined]
        of_skip = grad[..., 0].sum((-2, -1))
        with as_given(gain):
            if ctx.on_grid:  # type: ignore[attr-defined]
                propagators, powers_y, basis_x, origin_y, origin_x, share = saved
                grad = _spread(grad, origin_y, origin_x, share)
                # conj(P) dL/dG, (..., S, h, w', 2), its moments along x, (..., S, h, 6), and along y, (..., S, 3, 6)
                moments = powers_y @ (_product(propagators, grad.unsqueeze(-4), conjugate=True).flatten(-2) @ basis_x)
                real, imaginary = moments.unflatten(-1, (2, 3)).unbind(-2)
            else:
                rows, columns, powers_y, powers_x, mirror_y, mirror_x = saved
                grad = torch.view_as_complex(grad)
                basis = _folded(columns.conj()[..., None, :] * powers_x, mirror_x, -1).flatten(-3, -2)  # (..., 3 S, w')
                thin = grad @ basis.transpose(-1, -2)  # (..., h, 3 S)
                thin = thin.unflatten(-1, (-1, 3)).movedim(-2, -3)  # (..., S, h, 3)
                moments = _folded(rows.conj()[..., None, :] * powers_y, mirror_y, -1) @ thin
                real, imaginary = moments.real, moments.imag
        even, odd = (part.movedim((-2, -1), (0, 1)) for part in (real, imaginary))
        by_term = (-gain * even[2, 0], -gain * even[0, 2], -2 * gain * even[1, 1], -gain * odd[1, 0], -gain * odd[0, 1])
        grads = [term if on else None for term, on in zip(by_term, ctx.terms, strict=True)]  # type: ignore[attr-defined]
        return (of_skip, even[0, 0], *grads, *[None] * 8)


def _spread(z: Tensor, origin_y: Tensor, origin_x: Tensor, share: Tensor) -> Tensor:
    """The adjoint of `_folded` along both axes of `z` (..., h, w', 2)."""
    if z.shape[-3:-1] == share.shape[:2]:
        return z
    return z.index_select(-3, origin_y).index_select(-2, origin_x) * share


def _axis(like: Tensor, diffusion: Tensor | None, drift: Tensor | None, powers: Tensor) -> Tensor:
    """`exp(-diffusion k^2 - i drift k)` along one axis, pairs (..., S, len(k), 2); ones where both are off."""
    _, k, squares = powers
    angle = k.new_zeros((*like.shape, len(k))) if drift is None else -drift[..., None] * k
    decay = torch.ones_like(angle) if diffusion is None else _decay(diffusion[..., None] * squares)
    if torch.compiler.is_compiling():
        return torch.stack((decay * angle.cos(), decay * angle.sin()), -1)
    return torch.view_as_real(torch.polar(decay, angle))


def _decay_on_grid(
    k_yy: Tensor | None, k_xx: Tensor | None, k_yx: Tensor | None, powers_y: Tensor, powers_x: Tensor
) -> Tensor | None:
    """`exp(-k^T K k)` (..., S, h, w'), or None where K is off.

    The exponent is summed before exp: the cross term alone may overflow, `k^T K k >= 0` never does. As a product of
    rank three it is one pass over the grid; fused, a sum of products is.
    """
    if k_yy is None or k_xx is None:
        return None
    (ones_y, y, squares_y), (ones_x, x, squares_x) = powers_y, powers_x
    if torch.compiler.is_compiling():
        exponent = k_yy[..., None, None] * squares_y[:, None] + k_xx[..., None, None] * squares_x
        if k_yx is not None:
            exponent = exponent + (2 * k_yx)[..., None, None] * (y[:, None] * x)
        return _decay(exponent.clamp(min=0))
    left = [k_yy[..., None] * squares_y, ones_y]
    right = [ones_x, k_xx[..., None] * squares_x]
    if k_yx is not None:
        left.append((2 * k_yx)[..., None] * y)
        right.append(x)
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
