"""The product by matrix products: on a small grid a discrete Fourier transform is two small matrices.

    y = F^T (G * F x)      F = W H,  H (2 h', h) real,  W (2 w, 2 w) real,  h' = h // 2 + 1

`H` takes the rows of a real grid to the real and imaginary parts of its half spectrum, `W` the columns of that,
complex, to theirs. Both are scaled so that `F^T F = 1`: the inverse is the transpose, and the gradient runs through the
same two matrices. Tokens stay channels last, as the projections around the product have them, so nothing changes
layout; the products run in the precision of `x`, bf16 under autocast, and torch.compile sees all of it.

Forward it takes 6 n multiply-accumulates a token and channel of an n x n grid; the projections around it take 2 D.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from pdebench.models.mixers.constants import kept
from pdebench.models.mixers.precision import as_given
from pdebench.models.mixers.spectra import full_spectrum, full_spectrum_adjoint


class MatrixProduct(torch.autograd.Function):
    """The product for one symbol (D, h, w // 2 + 1) shared by the batch; `x` (B, D, h, w), best channels last.

    The result lies channels last.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, symbol: Tensor) -> Tensor:  # type: ignore[override]
        with as_given(x):
            rows = full_spectrum(symbol, x.shape[-1])[:, : x.shape[-2] // 2 + 1]  # (D, h', w)
            planes = torch.view_as_real(rows).permute(1, 3, 2, 0).to(x.dtype, memory_format=torch.contiguous_format)
            spectrum = _transform(x.permute(0, 2, 3, 1))
            ctx.save_for_backward(spectrum, planes)
            return _inverse(_times(spectrum, planes), x.shape[-2]).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[override]
        spectrum, planes = ctx.saved_tensors  # type: ignore[attr-defined]
        h, grad_x, grad_symbol = grad.shape[-2], None, None
        with as_given(grad):
            grad_spectrum = _transform(grad.permute(0, 2, 3, 1))
            if ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
                rows = _correlation(spectrum, grad_spectrum)  # (h', 2, w, D)
                whole = rows.new_zeros(rows.shape[-1], h, rows.shape[-2], 2)
                whole[:, : len(rows)] = rows.permute(3, 0, 2, 1)
                whole[..., 1].neg_()  # the conjugate, as the adjoint wants it
                grad_symbol = full_spectrum_adjoint(torch.view_as_complex(whole))
            if ctx.needs_input_grad[0]:  # type: ignore[attr-defined]
                grad_x = _inverse(_times(grad_spectrum, planes, conjugate=True), h).permute(0, 3, 1, 2)
        return grad_x, grad_symbol


def _transform(x: Tensor) -> Tensor:
    """F: real (B, h, w, D) to the two planes of its half spectrum, (B, h', 2, w, D)."""
    batch, h, w, channels = x.shape
    half = h // 2 + 1
    by_rows = torch.bmm(_over_rows(h, like=x).expand(batch, -1, -1), x.reshape(batch, h, w * channels))
    columns = _over_columns(w, like=x).expand(batch * half, -1, -1)
    return torch.bmm(columns, by_rows.view(batch * half, 2 * w, channels)).view(batch, half, 2, w, channels)


def _inverse(spectrum: Tensor, h: int) -> Tensor:
    """F^T: (B, h', 2, w, D) to (B, h, w, D)."""
    batch, half, _, w, channels = spectrum.shape
    columns = _over_columns(w, like=spectrum).t().expand(batch * half, -1, -1)
    by_rows = torch.bmm(columns, spectrum.view(batch * half, 2 * w, channels)).view(batch, 2 * half, w * channels)
    rows = _over_rows(h, like=spectrum).t().expand(batch, -1, -1)
    return torch.bmm(rows, by_rows).view(batch, h, w, channels)


def _times(spectrum: Tensor, symbol: Tensor, *, conjugate: bool = False) -> Tensor:
    """The complex product of planes (B, h', 2, w, D) and (h', 2, w, D), or with the symbol's conjugate."""
    sign = -1 if conjugate else 1
    (real, imaginary), (c, d) = spectrum.unbind(2), symbol.unbind(1)
    product = spectrum * c.unsqueeze(1)
    product[:, :, 0].addcmul_(imaginary, d, value=-sign)
    product[:, :, 1].addcmul_(real, d, value=sign)
    return product


def _correlation(spectrum: Tensor, grad: Tensor) -> Tensor:
    """`sum_b conj(X) G` of planes (B, h', 2, w, D): the gradient of the symbol, (h', 2, w, D), summed in float32."""
    wide = torch.promote_types(grad.dtype, torch.float32)
    (a, b), (c, d) = spectrum.unbind(2), grad.unbind(2)
    real = torch.mul(a, c).addcmul_(b, d).sum(0, dtype=wide)
    imaginary = torch.mul(a, d).addcmul_(b, c, value=-1).sum(0, dtype=wide)
    return torch.stack((real, imaginary), 1)


@kept
def _over_rows(h: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """H, (2 h', h): real and imaginary part of each frequency in turn.

    Each but the self-conjugate ones stands for two.
    """
    angles = _angles(h, device)[: h // 2 + 1]
    weight = torch.full((h // 2 + 1, 1, 1), math.sqrt(2 / h), dtype=torch.float64, device=device)
    weight[0] = math.sqrt(1 / h)
    if h % 2 == 0:
        weight[-1] = math.sqrt(1 / h)
    return (torch.stack((angles.cos(), -angles.sin()), 1) * weight).flatten(0, 1).to(dtype)


@kept
def _over_columns(w: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """W, (2 w, 2 w): a complex transform on real parts above imaginary parts."""
    angles = _angles(w, device)
    real, imaginary = angles.cos() / math.sqrt(w), -angles.sin() / math.sqrt(w)
    upper, lower = torch.cat((real, -imaginary), 1), torch.cat((imaginary, real), 1)
    return torch.cat((upper, lower)).to(dtype)


def _angles(points: int, device: torch.device) -> Tensor:
    """`2 pi m n / points`, reduced before it is multiplied: exact to rounding for any product."""
    index = torch.arange(points, device=device)
    return (index[:, None] * index % points).double() * (2 * math.pi / points)
