"""A gain for each cosine of a grid: `y = F^T (gain * F x)`, `F` the orthonormal two-dimensional DCT-II.

The cosines `cos(n pi (i + 1/2) / N)` are those of a domain whose edges nothing crosses (Neumann conditions), read at
the middles of its N cells. On a grid of tokens `F` is two small matrices, one for each axis, and its inverse is their
transpose. Tokens stay channels last, as the projections around have them: nothing changes its layout.

What a large grid makes does not fit a core's cache: there, on a CPU, a sample goes through all four products some
channels at a time.
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

# The most tokens of a grid that goes through in one piece on a CPU, and the elements of a piece of a larger one: 1 MiB
# in float32, half of a core's second cache. One core, 384 channels, forward and backward: a piece at a time took 1.2
# to 1.4 times as long on 16 x 16 tokens, as long on 32 x 32, and 0.6 times as long on 64 x 64.
IN_ONE_PIECE = 32 * 32
PIECE = 2**18


class CosineProduct(torch.autograd.Function):
    """The product for tokens `x` (B, h, w, D) and a `gain` (h, w, D) that the batch shares, in the precision of `x`."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, gain: Tensor) -> Tensor:  # type: ignore[override]
        gain = gain.to(x.dtype)
        with as_given(x):
            if not _in_pieces(x):
                spectra = [transform(x)]
                y = inverse(spectra[0] * gain)
            else:
                spectra, y = [], torch.empty_like(x, memory_format=torch.contiguous_format)
                for sample, channels in _pieces(x):
                    spectra.append(transform(x[sample, ..., channels]))
                    y[sample, ..., channels] = inverse(spectra[-1] * gain[..., channels])
        ctx.save_for_backward(gain, *spectra)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        gain, *spectra = ctx.saved_tensors  # type: ignore[attr-defined]
        wide = torch.promote_types(grad.dtype, torch.float32)
        with as_given(grad):
            if len(spectra) == 1:
                grad_spectrum = transform(grad)
                grad_gain = torch.mul(spectra[0], grad_spectrum).sum(0, dtype=wide)
                return inverse(grad_spectrum.mul_(gain)), grad_gain
            grad_x = torch.empty_like(grad, memory_format=torch.contiguous_format)
            grad_gain = torch.zeros(gain.shape, dtype=wide, device=grad.device)
            for (sample, channels), spectrum in zip(_pieces(grad), spectra, strict=True):
                grad_spectrum = transform(grad[sample, ..., channels])
                grad_gain[..., channels].add_(spectrum.mul(grad_spectrum)[0])
                grad_x[sample, ..., channels] = inverse(grad_spectrum.mul_(gain[..., channels]))
        return grad_x, grad_gain


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
    """Whether tokens go through some channels at a time; never in a graph, which would hold each piece's products."""
    large = x.shape[1] * x.shape[2] > IN_ONE_PIECE and x.numel() > PIECE
    return large and x.device.type == "cpu" and not torch.compiler.is_compiling()


def _pieces(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """The sample and the channels of each piece of tokens (B, h, w, D)."""
    batch, h, w, channels = x.shape
    step = max(16, PIECE // (h * w) // 16 * 16)
    for sample in range(batch):
        for start in range(0, channels, step):
            yield slice(sample, sample + 1), slice(start, min(start + step, channels))


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """Of the matrices there and back; the gain is pointwise."""
    batch, h, w, channels = inputs[0].shape
    return {"matmul": 2 * batch * channels * macs.cosine_transform(h, w)}


HANDLES: Handles = {f"prim::PythonOp.{CosineProduct.__name__}": _macs}
