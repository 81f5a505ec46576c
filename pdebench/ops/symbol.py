"""The summed propagators of a channel's states, and their gradient as moments; on grids of any number of axes.

    G(k) = sum_s g_s exp(-k^T K_s k - i v_s . k)

The Nyquist frequency of an even side stands for both of its signs, and G there is the mean over the two: what the real
part of the inverse transform makes of the formula. In this sense the PDE is solved exactly: the trigonometric
polynomial of least oscillation through the tokens goes through it without an error, and is read at the tokens' places
again. A drift by whole tokens is a roll of anything, and the same weights are the same operator on a finer grid. Below
the Nyquist frequency it is the matrix exponential of the dense spectral differentiation matrices, and solving for two
times in turn is solving for their sum. At the Nyquist frequency it is neither: a wave that drift has moved by half a
token there is zero at every token, and gone. So white noise on n x n tokens that is moved by half a token twice is off
a whole token's roll by 1 / sqrt(n) of its amplitude, a quarter at 16 x 16. All of this holds along each axis by itself,
of clips too.

Every parameter stands in the exponent next to a monomial of k of degree at most two, so the gradient of a loss with
respect to all of them is read off the moments `M_ab.. = sum_k k_1^a k_2^b .. conj(P(k)) dL/dG(k)` with a, b, .. = 0, 1,
2 and `P` the propagator: one product and a thin matrix product an axis, where autograd walks back through every
exponential on the grid. Where K is diagonal the propagators are outer products over the axes, and in eager mode neither
direction ever forms a grid for each state.

The half spectrum halves the last axis; the others, which come before it, are the leading ones. Complex numbers stand as
pairs of real ones along a last axis: PyTorch's compiler hands each operator on complex tensors to a kernel of its own,
and fuses real ones. In eager mode complex products are fewer passes. A compiled graph has none, and forms the grid of
every state, whatever K is, as one expression.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from pdebench.ops.constants import kept
from pdebench.ops.precision import as_given


class Wavenumbers(NamedTuple):
    """What a half spectrum has of `k = 2 pi (m, n, ..) / domain`: all n of a leading axis, n // 2 + 1 of the last.

    On an even side there is one more, at the end: the Nyquist frequency with its other sign.

    Attributes:
        powers: by axis, 1, k and its square, (3, n).
        basis: takes pairs along the last axis, (2 n), to the real moments of its powers and then the imaginary ones,
            (6,).
        mirrors: by axis, where the other sign of each frequency stands, if in another place; without the one more.
        origins: by axis, the frequency of the half spectrum that each stands for.
        share: how much it counts there, (*n, 1).
    """

    powers: tuple[Tensor, ...]
    basis: Tensor
    mirrors: tuple[Tensor, ...]
    origins: tuple[Tensor, ...]
    share: Tensor

    def evens(self) -> list[tuple[int, int, int]]:
        """The axes that have the one more: axis, where its Nyquist frequency stands, and how many there are without."""
        counts = [(axis, len(mirror)) for axis, mirror in enumerate(self.mirrors)]
        last = len(counts) - 1
        return [
            (axis, count - 1 if axis == last else count // 2, count)
            for axis, count in counts
            if count < self.powers[axis].shape[1]
        ]

    def flat(self) -> tuple[Tensor, ...]:
        """All of it, as an `autograd.Function` takes it."""
        return (*self.powers, self.basis, *self.mirrors, *self.origins, self.share)

    @classmethod
    def of_flat(cls, tensors: Sequence[Tensor]) -> Wavenumbers:
        """The inverse of `flat`."""
        axes = tensors[-1].dim() - 1
        basis, share = tensors[axes], tensors[-1]
        mirrors, origins = tensors[axes + 1 : 2 * axes + 1], tensors[2 * axes + 1 : -1]
        return cls(tuple(tensors[:axes]), basis, tuple(mirrors), tuple(origins), share)


@kept
def wavenumbers(grid: tuple[int, ...], domain: float, dtype: torch.dtype, device: torch.device) -> Wavenumbers:
    """The wavenumbers of a grid over a torus whose side is `domain`."""
    counts = (*grid[:-1], grid[-1] // 2 + 1)
    signs = [_both_signs(points, count, device) for points, count in zip(grid, counts, strict=True)]
    waves = [along.to(dtype) * (2 * torch.pi / domain) for along, _, _ in signs]
    powers = tuple(torch.stack([torch.ones_like(k), k, k.square()]) for k in waves)
    real, none = powers[-1].t(), torch.zeros_like(powers[-1].t())
    basis = torch.stack((torch.cat((real, none), 1), torch.cat((none, real), 1)), 1).flatten(0, 1)
    at_nyquist = [1 * (2 * along.abs() == points) for points, (along, _, _) in zip(grid, signs, strict=True)]
    times = sum(_along(one, axis, len(grid)) for axis, one in enumerate(at_nyquist))
    share = torch.exp2(-times.to(dtype))[..., None]  # type: ignore[union-attr]
    return Wavenumbers(
        powers, basis, tuple(mirror for _, mirror, _ in signs), tuple(origin for _, _, origin in signs), share
    )


def _along(values: Tensor, axis: int, axes: int) -> Tensor:
    """`values` (..., n) of one axis, to be broadcast over a grid of so many: (..., 1, n, 1)."""
    return values[(..., *[None] * axis, slice(None), *[None] * (axes - 1 - axis))]


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
    return _exp(exponent.neg_())


def _exp(exponent: Tensor) -> Tensor:
    """`exp(exponent)` in place, exactly 0 where negligible."""
    return F.threshold(exponent, -NEGLIGIBLE, -torch.inf, inplace=True).exp_()


class SummedPropagators(torch.autograd.Function):
    """`skip` (...), `gain`, the terms of K and the drifts, each (..., S), to `G + skip` as pairs (..., *k, 2).

    K's terms are those on its diagonal by axis, then those below it, (1, 0), (2, 0), (2, 1); the drifts are by axis. A
    term that is off is None. `Wavenumbers.flat` comes last.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, skip: Tensor, gain: Tensor, *given: Tensor | None) -> Tensor:  # type: ignore[override]
        terms, waves = _split(given)
        axes = len(waves.powers)
        diagonal, crossed, drifts = terms[:axes], terms[axes:-axes], terms[-axes:]
        ctx.terms = [term is not None for term in terms]  # type: ignore[attr-defined]
        crosses = any(term is not None for term in crossed)
        ctx.on_grid = crosses or torch.compiler.is_compiling()  # type: ignore[attr-defined]
        if not ctx.on_grid:  # type: ignore[attr-defined]
            along = zip(diagonal, drifts, waves.powers, strict=True)
            factors = [torch.view_as_complex(_axis(gain, *term)) for term in along]
            ctx.save_for_backward(gain, *factors, *waves.flat())
            *leading, last = (
                _folded(factor, mirror, -1) for factor, mirror in zip(factors, waves.mirrors, strict=True)
            )
            symbol = torch.view_as_real(_outer(leading, gain).transpose(-1, -2) @ last)
            symbol = symbol.view(*gain.shape[:-1], *(len(mirror) for mirror in waves.mirrors), 2)
        else:
            decay = _decay_on_grid(diagonal, crossed, waves.powers)
            phases = [_axis(gain, None, *term) for term in zip(drifts, waves.powers, strict=True)]
            propagators = _phases_on_grid(phases)  # (..., S, *k, 2)
            if decay is not None:
                propagators.mul_(decay[..., None])
            symbol = _folded_on_grid(_summed(gain, propagators), waves)
            ctx.save_for_backward(gain, propagators, *waves.flat())
        symbol[..., 0] += skip[(..., *[None] * axes)]
        return symbol

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        gain, *saved = ctx.saved_tensors  # type: ignore[attr-defined]
        axes = saved[-1].dim() - 1
        of_skip = grad[..., 0].sum(tuple(range(-axes, 0)))
        with as_given(gain):
            if ctx.on_grid:  # type: ignore[attr-defined]
                propagators, waves = saved[0], Wavenumbers.of_flat(saved[1:])
                conjugate = _spread_conjugate(grad, waves)
                # P conj(dL/dG), (..., S, *k, 2), its moments along the last axis, (..., S, *k, 6), and the others
                moments = _product(propagators, conjugate.unsqueeze(-axes - 2)).flatten(-2) @ waves.basis
                for powers in reversed(waves.powers[:-1]):
                    moments = (powers @ moments).flatten(-2)
                real, imaginary = moments.unflatten(-1, (3,) * (axes - 1) + (2, 3)).unbind(-2)
                imaginary = -imaginary
            else:
                factors, waves = saved[:axes], Wavenumbers.of_flat(saved[axes:])
                along = zip(factors, waves.powers, waves.mirrors, strict=True)
                *bases, last = (_folded(f.conj()[..., None, :] * powers, mirror, -1) for f, powers, mirror in along)
                rows = torch.view_as_complex(grad).unsqueeze(-axes - 1).flatten(-axes - 1, -2)  # (..., leading k, k)
                thin = rows @ last.flatten(-3, -2).transpose(-1, -2)  # (..., leading k, 3 S)
                moments = thin.unflatten(-1, (-1, 3)).movedim(-2, -3)  # (..., S, leading k, 3)
                for basis in reversed(bases):
                    moments = moments.unflatten(-2, (-1, basis.shape[-1]))  # (..., S, k before it, k, 3, 9 ..)
                    moments = (basis.unsqueeze(-3) @ moments).flatten(-2)
                moments = moments.squeeze(-2).unflatten(-1, (3,) * axes)
                real, imaginary = moments.real, moments.imag
        dims = tuple(range(-axes, 0))
        even, odd = (part.movedim(dims, tuple(range(axes))) for part in (real, imaginary))

        def degrees(*of: int) -> tuple[int, ...]:
            return tuple(of.count(axis) for axis in range(axes))

        by_term = [-gain * even[degrees(axis, axis)] for axis in range(axes)]
        by_term += [-2 * gain * even[degrees(*pair)] for pair in below_diagonal(axes)]
        by_term += [-gain * odd[degrees(axis)] for axis in range(axes)]
        grads = [term if on else None for term, on in zip(by_term, ctx.terms, strict=True)]  # type: ignore[attr-defined]
        return (of_skip, even[degrees()], *grads, *[None] * len(waves.flat()))


def below_diagonal(axes: int) -> list[tuple[int, int]]:
    """Rows and columns of a symmetric matrix's entries below its diagonal, in the order in which terms have them."""
    return [(row, column) for row in range(axes) for column in range(row)]


def _split(given: Sequence[Tensor | None]) -> tuple[Sequence[Tensor | None], Wavenumbers]:
    """Terms and wavenumbers: 3 of these an axis, and two."""
    share = given[-1]
    assert share is not None
    count = 3 * (share.dim() - 1) + 2
    return given[:-count], Wavenumbers.of_flat(given[-count:])  # type: ignore[arg-type]


def _outer(leading: Sequence[Tensor], gain: Tensor) -> Tensor:
    """`gain` (..., S) times the product of factors (..., S, k), one an axis, over their grid: (..., S, all k)."""
    if not leading:
        return torch.complex(gain, torch.zeros_like(gain))[..., None]
    found = leading[0] * gain[..., None]
    for factor in leading[1:]:
        found = (found[..., None] * factor[..., None, :]).flatten(-2)
    return found


def _folded_on_grid(z: Tensor, waves: Wavenumbers) -> Tensor:
    """`_folded` along all axes of `z` (..., *k, 2); eager within its memory, where only Nyquist's planes change."""
    for axis, nyquist, count in waves.evens():
        dim = axis - len(waves.powers) - 1
        if torch.compiler.is_compiling():
            z = _folded(z, waves.mirrors[axis], dim)
        else:
            plane = z.select(dim, nyquist)
            plane.copy_(torch.lerp(plane, z.select(dim, count), 0.5))
            z = z.narrow(dim, 0, count)
    return z


def _spread_conjugate(z: Tensor, waves: Wavenumbers) -> Tensor:
    """The conjugate of the adjoint of `_folded_on_grid`, of `z` (..., *k, 2)."""
    axes = len(waves.powers)
    if torch.compiler.is_compiling():
        for axis, _, _ in waves.evens():
            z = z.index_select(axis - axes - 1, waves.origins[axis])
        real, imaginary = (z * waves.share).unbind(-1)
        return torch.stack((real, -imaginary), -1)
    spread = z.new_empty(*z.shape[: -axes - 1], *(powers.shape[1] for powers in waves.powers), 2)
    filled = spread
    for axis, _, count in waves.evens():
        filled = filled.narrow(axis - axes - 1, 0, count)
    torch.conj_physical(torch.view_as_complex(z), out=torch.view_as_complex(filled))
    for place, (axis, nyquist, count) in enumerate(waves.evens()):
        dim, filled = axis - axes - 1, spread
        for later, _, others in waves.evens()[place + 1 :]:
            filled = filled.narrow(later - axes - 1, 0, others)
        filled.select(dim, count).copy_(filled.select(dim, nyquist).mul_(0.5))
    return spread


def _axis(like: Tensor, diffusion: Tensor | None, drift: Tensor | None, powers: Tensor) -> Tensor:
    """`exp(-diffusion k^2 - i drift k)` along one axis, pairs (..., S, len(k), 2); ones where both are off."""
    _, k, squares = powers
    angle = k.new_zeros((*like.shape, len(k))) if drift is None else -drift[..., None] * k
    decay = torch.ones_like(angle) if diffusion is None else _decay(diffusion[..., None] * squares)
    if torch.compiler.is_compiling():
        return torch.stack((decay * angle.cos(), decay * angle.sin()), -1)
    return torch.view_as_real(torch.polar(decay, angle))


def _phases_on_grid(phases: Sequence[Tensor]) -> Tensor:
    """The product of pairs (..., S, k, 2), one an axis, over their grid, (..., S, *k, 2), in memory of its own."""
    found = phases[0]
    for axis, phase in enumerate(phases[1:], 1):
        found = _product(found.unsqueeze(-2), phase[(..., *[None] * axis, slice(None), slice(None))])
    return found


def _decay_on_grid(
    diagonal: Sequence[Tensor | None], crossed: Sequence[Tensor | None], powers: Sequence[Tensor]
) -> Tensor | None:
    """`exp(-k^T K k)` (..., S, *k), or None where K is off.

    The exponent is summed before exp: a cross term alone may overflow, `k^T K k >= 0` never does. As a product of rank
    three, of the leading axes and the last, it is one pass over the grid; fused, a sum of products is.
    """
    axes, diffusion = len(powers), [term for term in diagonal if term is not None]
    if not diffusion:
        return None
    mixed = [(pair, term) for pair, term in zip(below_diagonal(axes), crossed, strict=True) if term is not None]
    if torch.compiler.is_compiling():
        exponent = _quadratic(diffusion, mixed, powers)
        return _decay(exponent.clamp(min=0))
    *leading, (ones_x, x, squares_x) = powers
    before = [(pair, term) for pair, term in mixed if axes - 1 not in pair]
    shape = [len(ones) for ones, _, _ in leading]
    left = [_quadratic(diffusion[:-1], before, leading).flatten(-len(shape)), ones_x.new_ones(math.prod(shape))]
    right = [ones_x, diffusion[-1][..., None] * squares_x]
    with_last = [
        (2 * term)[(..., *[None] * len(shape))] * _along(leading[column][1], column, len(shape))
        for (row, column), term in mixed
        if row == axes - 1
    ]
    if with_last:
        left.append(_total(with_last).expand(*diffusion[0].shape, *shape).flatten(-len(shape)))
        right.append(x)
    tall, wide = (torch.stack([part.expand(*diffusion[0].shape, -1) for part in side], -2) for side in (left, right))
    with as_given(diffusion[0]):
        exponent = (tall.neg_().transpose(-1, -2) @ wide).clamp_(max=0)
    return _exp(exponent).unflatten(-2, shape)  # type: ignore[no-any-return]


def _quadratic(
    diffusion: Sequence[Tensor], mixed: Sequence[tuple[tuple[int, int], Tensor]], powers: Sequence[Tensor]
) -> Tensor:
    """`k^T K k` (..., S, *k), of K's diagonal and the entries below it, each with its row and column."""
    axes = len(powers)
    over = (..., *[None] * axes)
    terms = [term[over] * _along(powers[axis][2], axis, axes) for axis, term in enumerate(diffusion)]
    terms += [
        (2 * term)[over] * (_along(powers[column][1], column, axes) * _along(powers[row][1], row, axes))
        for (row, column), term in mixed
    ]
    return _total(terms)


def _total(terms: Sequence[Tensor]) -> Tensor:
    """Their sum, from the first on."""
    found = terms[0]
    for term in terms[1:]:
        found = found + term
    return found


def _summed(gain: Tensor, propagators: Tensor) -> Tensor:
    """The sum over states of `gain` (..., S) times grids (..., S, *k, 2)."""
    if torch.compiler.is_compiling():
        weights = gain[(..., *[None] * (propagators.dim() - gain.dim()))]
        return (weights * propagators).sum(gain.dim() - 1)
    if gain.shape[-1] == 1:
        return (propagators * gain[(..., *[None] * (propagators.dim() - gain.dim()))]).squeeze(gain.dim() - 1)
    with as_given(gain):
        summed = gain[..., None, :] @ propagators.flatten(gain.dim())
    return summed.view(*gain.shape[:-1], *propagators.shape[gain.dim() :])


def _product(first: Tensor, second: Tensor) -> Tensor:
    """`first second` of pairs, in new memory."""
    if torch.compiler.is_compiling():
        (a, b), (c, d) = first.unbind(-1), second.unbind(-1)
        return torch.stack((a * c - b * d, a * d + b * c), -1)
    return torch.view_as_real(torch.view_as_complex(first) * torch.view_as_complex(second))
