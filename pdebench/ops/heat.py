"""The heat equation over a grid of tokens, its edges closed: `y = F^T (exp(-k omega^2) * F x)`, `F` the DCT-II.

The cosines `cos(n pi (i + 1/2) / N)` are those of a domain whose edges nothing crosses (Neumann conditions), read at
the middles of its N cells. On a grid of tokens `F`, orthonormal, is two small matrices, one for each axis, and its
inverse is their transpose. Tokens stay channels last, as the projections around have them: nothing changes its layout.

On a CPU, what a batch makes does not fit a core's cache: there it goes through all of it some channels of some samples
at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from pdebench.ops import macs
from pdebench.ops.constants import kept
from pdebench.ops.operand import Handles, Macs
from pdebench.ops.precision import as_given

PIECE = 2**18
"""Elements that go through at a time on a CPU: 1 MiB in float32, a core's second cache."""


class HeatProduct(torch.autograd.Function):
    """The solution at t = 1 for tokens `x` (B, h, w, D), in their precision.

    `k` (h, w, D) is the conductivity of each frequency and channel in tokens squared, which the batch shares.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, k: Tensor) -> Tensor:  # type: ignore[override]
        spectra = []
        with as_given(x):
            if not _in_pieces(x):
                spectra = [transform(x)]
                y = inverse(spectra[0] * decay(k).to(x.dtype))
            else:
                y = torch.empty_like(x, memory_format=torch.contiguous_format)
                for channels in _channels(x):
                    factor = decay(k[..., channels]).to(x.dtype)
                    for samples in _samples(x):
                        spectra.append(transform(x[samples, ..., channels]))
                        y[samples, ..., channels] = inverse(spectra[-1] * factor)
        ctx.save_for_backward(k, *spectra)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        k, *spectra = ctx.saved_tensors  # type: ignore[attr-defined]
        wide = torch.promote_types(grad.dtype, torch.float32)
        with as_given(grad):
            if len(spectra) == 1:
                grad_spectrum, factor = transform(grad), decay(k)
                correlation = torch.mul(spectra[0], grad_spectrum).sum(0, dtype=wide)
                return inverse(grad_spectrum.mul_(factor.to(grad.dtype))), _of_conductivity(correlation, factor)
            grad_x = torch.empty_like(grad, memory_format=torch.contiguous_format)
            grad_k, saved = torch.empty_like(k), iter(spectra)
            for channels in _channels(grad):
                factor = decay(k[..., channels])
                narrow, correlation = factor.to(grad.dtype), torch.zeros_like(factor, dtype=wide)
                for samples in _samples(grad):
                    grad_spectrum = transform(grad[samples, ..., channels])
                    correlation.add_((next(saved) * grad_spectrum).sum(0, dtype=wide))
                    grad_x[samples, ..., channels] = inverse(grad_spectrum.mul_(narrow))
                grad_k[..., channels] = _of_conductivity(correlation, factor)
        return grad_x, grad_k


def decay(k: Tensor) -> Tensor:
    """What is left of each cosine at t = 1, (h, w, D), of its conductivity; of the constant all."""
    h, w, _ = k.shape
    return torch.exp(-squared_frequencies(h, w, like=k).unsqueeze(-1) * k)


def _of_conductivity(correlation: Tensor, factor: Tensor) -> Tensor:
    """The gradient of k, of that of `exp(-k omega^2)`."""
    h, w, _ = factor.shape
    return correlation.mul_(factor).mul_(-squared_frequencies(h, w, like=factor).unsqueeze(-1))


def transform(x: Tensor) -> Tensor:
    """F: values (B, h, w, D) to coefficients (B, h, w, D), frequency (0, 0) first."""
    batch, h, w, channels = x.shape
    columns = cosines(w, like=x).expand(batch * h, -1, -1)
    by_columns = torch.bmm(columns, x.reshape(batch * h, w, channels))
    rows = cosines(h, like=x).expand(batch, -1, -1)
    return torch.bmm(rows, by_columns.view(batch, h, w * channels)).view(batch, h, w, channels)


def inverse(coefficients: Tensor) -> Tensor:
    """F^T, which is the inverse of F."""
    batch, h, w, channels = coefficients.shape
    rows = cosines(h, like=coefficients).t().expand(batch, -1, -1)
    by_rows = torch.bmm(rows, coefficients.reshape(batch, h, w * channels))
    columns = cosines(w, like=coefficients).t().expand(batch * h, -1, -1)
    return torch.bmm(columns, by_rows.view(batch * h, w, channels)).view(batch, h, w, channels)


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
def squared_frequencies(h: int, w: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`(n pi / h)^2 + (m pi / w)^2` of the cosines, (h, w), in radians a token squared."""
    rows, columns = (torch.arange(side, dtype=torch.float64, device=device) * (math.pi / side) for side in (h, w))
    return (rows[:, None].square() + columns.square()).to(dtype)


def _in_pieces(x: Tensor) -> bool:
    """Whether tokens go through some at a time; never in a graph, which would hold each piece's products."""
    return x.numel() > PIECE and x.device.type == "cpu" and not torch.compiler.is_compiling()


def _channels(x: Tensor) -> Iterator[slice]:
    """The channels of each piece of tokens (B, h, w, D): as even parts as multiples of 16 are."""
    parts = math.ceil(x[0].numel() / PIECE)
    return _slices(x.shape[-1], 16 * math.ceil(x.shape[-1] / parts / 16))


def _samples(x: Tensor) -> Iterator[slice]:
    """The samples of each piece: one, unless several fit with all channels."""
    return _slices(len(x), max(1, PIECE // x[0].numel()))


def _slices(length: int, step: int) -> Iterator[slice]:
    for start in range(0, length, step):
        yield slice(start, min(start + step, length))


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """Of the matrices there and back; what they decay by is pointwise."""
    batch, h, w, channels = inputs[0].shape
    return {"matmul": 2 * batch * channels * macs.cosine_transform(h, w)}


HANDLES: Handles = {f"prim::PythonOp.{HeatProduct.__name__}": _macs}
