"""The product by real transforms there and back, as cuFFT has them; also where the symbol depends on the sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


class HalfSpectrumProduct(torch.autograd.Function):
    """The product for `x` (B, D, *grid) and a symbol (D, *grid[:-1], grid[-1] // 2 + 1, 2), or one for each sample."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, symbol: Tensor) -> Tensor:  # type: ignore[override]
        axes = tuple(range(2, x.dim()))
        spectrum, symbol = torch.fft.rfftn(x.contiguous(), dim=axes), torch.view_as_complex(symbol.contiguous())
        ctx.save_for_backward(spectrum, symbol)
        return irfftn(spectrum * symbol, axes, x.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[override]
        spectrum, symbol = ctx.saved_tensors  # type: ignore[attr-defined]
        grid, axes = grad.shape[2:], tuple(range(2, grad.dim()))
        grad_spectrum = torch.fft.rfftn(grad.contiguous(), dim=axes)
        grad_x = grad_symbol = None
        if ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
            # Parseval over the half spectrum: each of the last axis but the self-conjugate ones stands for two
            points = math.prod(grid)
            weight = torch.full((symbol.shape[-1],), 2 / points, dtype=grad.dtype, device=grad.device)
            weight[0] = 1 / points
            if grid[-1] % 2 == 0:
                weight[-1] = 1 / points
            correlation = torch.conj_physical(spectrum).mul_(grad_spectrum)
            if symbol.dim() < grad.dim():
                correlation = correlation.sum(0)
            grad_symbol = torch.view_as_real(correlation * weight)
        if ctx.needs_input_grad[0]:  # type: ignore[attr-defined]
            grad_x = irfftn(grad_spectrum.mul_(symbol.conj()), axes, grid[-1])
        return grad_x, grad_symbol


def irfftn(spectrum: Tensor, axes: tuple[int, ...], last: int, norm: str = "backward") -> Tensor:
    """`irfftn` over the last `axes`, the very last of which has `last` points.

    On a CPU the transforms of the other axes are made along memory, which there is several times faster.
    """
    if spectrum.device.type == "cuda":
        sides = (*(spectrum.shape[axis] for axis in axes[:-1]), last)
        return torch.fft.irfftn(spectrum, s=sides, dim=axes, norm=norm)  # type: ignore[no-any-return]
    if len(axes) > 1:
        moved = spectrum.movedim(-1, axes[0]).contiguous()
        moved = torch.fft.ifftn(moved, dim=tuple(axis + 1 for axis in axes[:-1]), norm=norm)
        spectrum = moved.movedim(axes[0], -1).contiguous()
    return torch.fft.irfft(spectrum, n=last, dim=-1, norm=norm)  # type: ignore[no-any-return]
