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

from pdebench.ops.constants import kept
from pdebench.ops.precision import as_given


class MatrixProduct(torch.autograd.Function):
    """The product for one symbol (D, h, w // 2 + 1, 2) shared by the batch; `x` (B, D, h, w), best channels last.

    The result lies channels last.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, symbol: Tensor) -> Tensor:  # type: ignore[override]
        with as_given(x):
            planes = _planes(symbol, x.shape[-1], x.dtype)
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
                grad_symbol = _planes_adjoint(_correlation(spectrum, grad_spectrum), h)
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
    """`sum_b conj(X) G` of planes (B, h', 2, w, D): the gradient of the symbol, (h', w, 2, D), summed in float32."""
    wide = torch.promote_types(grad.dtype, torch.float32)
    (a, b), (c, d) = spectrum.unbind(2), grad.unbind(2)
    real = torch.mul(a, c).addcmul_(b, d).sum(0, dtype=wide)
    imaginary = torch.mul(a, d).addcmul_(b, c, value=-1).sum(0, dtype=wide)
    return torch.stack((real, imaginary), 2)


def _planes(symbol: Tensor, w: int, dtype: torch.dtype) -> Tensor:
    """The upper rows of a whole spectrum, by `G(-k) = conj G(k)`: (D, h, w // 2 + 1, 2) to (h', 2, w, D)."""
    index, sign = _mirrored(symbol.shape[1], w, like=symbol)
    rows: Tensor = symbol.flatten(1, 2).index_select(1, index).unflatten(1, (-1, w)) * sign  # (D, h', w, 2)
    return rows.permute(1, 3, 2, 0).to(dtype, memory_format=torch.contiguous_format, copy=True)


def _planes_adjoint(rows: Tensor, h: int) -> Tensor:
    """Adjoint of `_planes` before its change of layout: (h', w, 2, D) to (D, h, w // 2 + 1, 2).

    What is anti-Hermitian in the argument cancels: between a column and its mirror image here, and in the
    self-conjugate columns when the gradient is pulled back to a real kernel's parameters.
    """
    own, mirror, here, there = _mirrored_adjoint(h, rows.shape[1], like=rows)
    flat = rows.flatten(0, 1)
    image = flat.index_select(0, mirror) * there
    both = torch.addcmul(image, flat.index_select(0, own), here)  # (h (w // 2 + 1), 2, D)
    return both.permute(2, 0, 1).contiguous().view(-1, h, rows.shape[1] // 2 + 1, 2)


@kept
def _mirrored(h: int, w: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where in a flat half spectrum each of the upper rows' frequencies stands, (h' w,), and its signs, (w, 2)."""
    half = w // 2 + 1
    m, n = torch.arange(h // 2 + 1, device=device)[:, None], torch.arange(w, device=device)
    index = torch.where(n < half, m * half + n, -m % h * half + (w - n))
    sign = torch.ones(w, 2, dtype=dtype, device=device)
    sign[half:, 1] = -1
    return index.flatten(), sign


@kept
def _mirrored_adjoint(
    h: int, w: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Where in the flat upper rows each of a half spectrum's frequencies and its mirror image stand, and their factors.

    (h (w // 2 + 1),) twice, then (h (w // 2 + 1), 1 or 2, 1): 0 for what does not stand there, -1 for a conjugate.
    """
    half = w // 2 + 1
    m, n = torch.arange(h, device=device)[:, None].expand(h, half), torch.arange(half, device=device).expand(h, half)
    upper, mirrored = m <= h // 2, (-m % h <= h // 2) & (n > 0) & (n <= w - half)
    own = torch.where(upper, m * w + n, 0).flatten()
    mirror = torch.where(mirrored, -m % h * w + (w - n), 0).flatten()
    here, there = (there.flatten().to(dtype) for there in (upper, mirrored))
    return own, mirror, here[:, None, None], torch.stack((there, -there), 1)[..., None]


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
