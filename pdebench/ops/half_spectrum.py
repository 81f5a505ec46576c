"""The product by `rfft2` and `irfft2`, as cuFFT has them; also where the symbol depends on the sample."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable


class HalfSpectrumProduct(torch.autograd.Function):
    """The product for `x` (B, D, h, w) and a symbol (D, h, w // 2 + 1, 2), or one for each sample."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, symbol: Tensor) -> Tensor:  # type: ignore[override]
        spectrum, symbol = torch.fft.rfft2(x.contiguous()), torch.view_as_complex(symbol)
        ctx.save_for_backward(spectrum, symbol)
        ctx.grid = x.shape[-2:]  # type: ignore[attr-defined]
        return irfft2(spectrum * symbol, x.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[override]
        spectrum, symbol = ctx.saved_tensors  # type: ignore[attr-defined]
        h, w = ctx.grid  # type: ignore[attr-defined]
        grad_spectrum = torch.fft.rfft2(grad.contiguous())
        grad_x = grad_symbol = None
        if ctx.needs_input_grad[1]:  # type: ignore[attr-defined]
            # Parseval over the half spectrum: each column but the self-conjugate ones stands for two
            weight = torch.full((symbol.shape[-1],), 2 / (h * w), dtype=grad.dtype, device=grad.device)
            weight[0] = 1 / (h * w)
            if w % 2 == 0:
                weight[-1] = 1 / (h * w)
            correlation = torch.conj_physical(spectrum).mul_(grad_spectrum)
            if symbol.dim() == 3:
                correlation = correlation.sum(0)
            grad_symbol = torch.view_as_real(correlation * weight)
        if ctx.needs_input_grad[0]:  # type: ignore[attr-defined]
            grad_x = irfft2(grad_spectrum.mul_(symbol.conj()), w)
        return grad_x, grad_symbol


def irfft2(spectrum: Tensor, w: int, norm: str = "backward") -> Tensor:
    """`irfft2`; on a CPU with the column transforms made contiguous, which there is several times faster."""
    if spectrum.device.type == "cuda":
        return torch.fft.irfft2(spectrum, s=(spectrum.shape[-2], w), norm=norm)  # type: ignore[no-any-return]
    columns = torch.fft.ifft(spectrum.transpose(-1, -2).contiguous(), dim=-1, norm=norm)
    return torch.fft.irfft(columns.transpose(-1, -2).contiguous(), n=w, dim=-1, norm=norm)  # type: ignore[no-any-return]
