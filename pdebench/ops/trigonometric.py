"""A product in the cosines or the sines of a grid of tokens, which have edges: `y = F^T (g * F x)`.

    cosines, DCT-II: cos(n pi (i + 1/2) / N), n = 0 .. N - 1       nothing flows through an edge (Neumann conditions)
    sines,   DST-II: sin(n pi (i + 1/2) / N), n = 1 .. N           a field is zero at an edge (Dirichlet conditions)

Both are read at the middles of the N cells of a side, and are what a torus of twice the side has for fields that are
mirrored at the edges, evenly or oddly. `F`, orthonormal, is a small matrix for each axis, and its inverse is their
transpose. Tokens stay channels last, as the projections around have them: nothing changes its layout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from pdebench.ops import macs
from pdebench.ops.constants import kept
from pdebench.ops.operand import Handles, Macs
from pdebench.ops.precision import as_given

Basis = Literal["cosine", "sine"]


class TrigonometricProduct(torch.autograd.Function):
    """What tokens `x` (B, *grid, D) become, in their precision, where `factor` multiplies their coefficients.

    `factor` g is (*grid, D), which the batch shares, or (B, *grid, D), and of float32 at least.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, factor: Tensor, basis: Basis) -> Tensor:  # type: ignore[override]
        with as_given(x):
            spectrum = transform(x, basis)
            y = inverse(spectrum * factor.to(x.dtype), basis)
        ctx.save_for_backward(factor, spectrum)
        ctx.basis = basis  # type: ignore[attr-defined]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        factor, spectrum = ctx.saved_tensors  # type: ignore[attr-defined]
        basis: Basis = ctx.basis  # type: ignore[attr-defined]
        with as_given(grad):
            grad_spectrum = transform(grad, basis)
            product = torch.mul(spectrum, grad_spectrum)
            shared = factor.dim() < grad.dim()
            of_factor = product.sum(0, dtype=factor.dtype) if shared else product.to(factor.dtype)
            return inverse(grad_spectrum.mul_(factor.to(grad.dtype)), basis), of_factor, None


def transform(x: Tensor, basis: Basis = "cosine") -> Tensor:
    """F: values (B, *grid, D) to coefficients (B, *grid, D), the lowest frequency first."""
    for axis in reversed(range(1, x.dim() - 1)):
        x = _along(axis, MATRICES[basis](x.shape[axis], like=x), x)
    return x


def inverse(coefficients: Tensor, basis: Basis = "cosine") -> Tensor:
    """F^T, which is the inverse of F."""
    for axis in range(1, coefficients.dim() - 1):
        coefficients = _along(axis, MATRICES[basis](coefficients.shape[axis], like=coefficients).t(), coefficients)
    return coefficients


def _along(axis: int, matrix: Tensor, x: Tensor) -> Tensor:
    """The product of a matrix with one axis of `x`."""
    before = math.prod(x.shape[:axis])
    return torch.bmm(matrix.expand(before, -1, -1), x.reshape(before, x.shape[axis], -1)).view(x.shape)


@kept
def cosines(points: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The orthonormal DCT-II of so many points, (frequencies, points)."""
    index = torch.arange(points, device=device)
    # the angle over pi / (2 N), reduced before it is multiplied: exact to rounding for any product
    angles = (index[:, None] * (2 * index + 1) % (4 * points)).double() * (math.pi / (2 * points))
    scale = torch.full((points, 1), math.sqrt(2 / points), dtype=torch.float64, device=device)
    scale[0] = math.sqrt(1 / points)
    return (angles.cos() * scale).to(dtype)


@kept
def sines(points: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The orthonormal DST-II of so many points, (frequencies, points), the frequency 1 first.

    `sin(n pi (i + 1/2) / N) = (-1)^i cos((N - n) pi (i + 1/2) / N)`: cosines, the highest first, signs in turn.
    """
    signs = (1 - 2 * (torch.arange(points, device=device) % 2)).to(dtype)
    return cosines(points, like=signs).flip(0) * signs


MATRICES = {"cosine": cosines, "sine": sines}


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """Of the matrices there and back; the factor is pointwise."""
    batch, *grid, channels = inputs[0].shape
    return {"matmul": 2 * batch * channels * macs.cosine_transform(*grid)}


HANDLES: Handles = {f"prim::PythonOp.{TrigonometricProduct.__name__}": _macs}
