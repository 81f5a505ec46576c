"""A product in the cosines or the sines of a grid of tokens, which have edges: `y = F^T (g * F x)`.

    cosines, DCT-II: cos(n pi (i + 1/2) / N), n = 0 .. N - 1       nothing flows through an edge (Neumann conditions)
    sines,   DST-II: sin(n pi (i + 1/2) / N), n = 1 .. N           a field is zero at an edge (Dirichlet conditions)

Both are read at the middles of the N cells of a side, and are what a torus of twice the side has for fields that are
mirrored at the edges, evenly or oddly. `F`, orthonormal, is a small matrix for each axis, and its inverse is their
transpose. Tokens stay channels last, as the projections around have them: nothing changes its layout.

On a CPU, what a batch makes does not fit a core's cache: there it goes through all of it some channels of some samples
at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from pdebench.ops import macs
from pdebench.ops.constants import kept
from pdebench.ops.operand import Handles, Macs
from pdebench.ops.precision import as_given

Basis = Literal["cosine", "sine"]

PIECE = 2**18
"""Elements that go through at a time on a CPU: 1 MiB in float32, a core's second cache."""


class TrigonometricProduct(torch.autograd.Function):
    """What tokens `x` (B, *grid, D) become, in their precision, where `factor` multiplies their coefficients.

    `factor` g is (*grid, D), which the batch shares, or (B, *grid, D), and of float32 at least.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, factor: Tensor, basis: Basis) -> Tensor:  # type: ignore[override]
        spectra = []
        with as_given(x):
            if not _in_pieces(x):
                spectra = [transform(x, basis)]
                y = inverse(spectra[0] * factor.to(x.dtype), basis)
            else:
                y = torch.empty_like(x, memory_format=torch.contiguous_format)
                for channels in _channels(x):
                    narrow = factor[..., channels].to(x.dtype)
                    for samples in _samples(x):
                        spectra.append(transform(x[samples, ..., channels], basis))
                        y[samples, ..., channels] = inverse(spectra[-1] * _of(narrow, samples, x), basis)
        ctx.save_for_backward(factor, *spectra)
        ctx.basis = basis  # type: ignore[attr-defined]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        factor, *spectra = ctx.saved_tensors  # type: ignore[attr-defined]
        basis: Basis = ctx.basis  # type: ignore[attr-defined]
        shared = factor.dim() < grad.dim()
        with as_given(grad):
            if len(spectra) == 1:
                grad_spectrum = transform(grad, basis)
                product = torch.mul(spectra[0], grad_spectrum)
                of_factor = product.sum(0, dtype=factor.dtype) if shared else product.to(factor.dtype)
                return inverse(grad_spectrum.mul_(factor.to(grad.dtype)), basis), of_factor, None
            grad_x = torch.empty_like(grad, memory_format=torch.contiguous_format)
            grad_factor, saved = torch.zeros_like(factor), iter(spectra)
            for channels in _channels(grad):
                narrow, correlation = factor[..., channels].to(grad.dtype), grad_factor[..., channels]
                for samples in _samples(grad):
                    grad_spectrum = transform(grad[samples, ..., channels], basis)
                    product = next(saved) * grad_spectrum
                    if shared:
                        correlation.add_(product.sum(0, dtype=factor.dtype))
                    else:
                        correlation[samples].copy_(product)
                    grad_x[samples, ..., channels] = inverse(grad_spectrum.mul_(_of(narrow, samples, grad)), basis)
        return grad_x, grad_factor, None


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


def _in_pieces(x: Tensor) -> bool:
    """Whether tokens go through some at a time; never in a graph, which would hold each piece's products."""
    return x.numel() > PIECE and x.device.type == "cpu" and not torch.compiler.is_compiling()


def _channels(x: Tensor) -> Iterator[slice]:
    """The channels of each piece of tokens (B, *grid, D): as even parts as multiples of 16 are."""
    parts = math.ceil(x[0].numel() / PIECE)
    return _slices(x.shape[-1], 16 * math.ceil(x.shape[-1] / parts / 16))


def _samples(x: Tensor) -> Iterator[slice]:
    """The samples of each piece: one, unless several fit with all channels."""
    return _slices(len(x), max(1, PIECE // x[0].numel()))


def _slices(length: int, step: int) -> Iterator[slice]:
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def _of(factor: Tensor, samples: slice, x: Tensor) -> Tensor:
    """The factor of some samples of `x`."""
    return factor if factor.dim() < x.dim() else factor[samples]


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """Of the matrices there and back; the factor is pointwise."""
    batch, *grid, channels = inputs[0].shape
    return {"matmul": 2 * batch * channels * macs.cosine_transform(*grid)}


HANDLES: Handles = {f"prim::PythonOp.{TrigonometricProduct.__name__}": _macs}
