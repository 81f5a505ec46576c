"""AFNO's mixer: a small complex MLP on every frequency, the same one for all of them.

    y = x + irfftn(shrink(W2 relu(W1 rfftn(x) + b1) + b2))        (arXiv 2111.13587, sec. 4)

`W1` and `W2` are complex and block-diagonal; `relu` and `shrink` (soft shrinkage, `sign(z) max(|z| - 0.01, 0)`) act on
real and imaginary parts apart. A shift of the grid turns the phases of the spectrum, which neither of them follows:
unlike the filters of GFNet and the PDE, AFNO does not commute with translations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.ops.half_spectrum import irfftn
from pdebench.ops.macs import fft
from pdebench.ops.operand import Handles, Macs

BLOCKS, SPARSITY, SCALE = 8, 0.01, 0.02  # the published defaults


class AdaptiveFourier(Mixer):
    """The whole mixer of AFNO (arXiv 2111.13587; NVlabs/AFNO-transformer), no projections.

    Kept: 8 blocks, hidden factor 1, all frequencies, soft shrinkage at 0.01, transforms normalised by `sqrt(h w)`, all
    weights and biases N(0, 0.02), and the residual of the mixer's own input. Changed: DiT's block puts a residual and
    an adaLN gate around the mixer alone; AFNO's has one residual around mixer and MLP, unless asked for two.
    """

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        self.grid = place.grid
        self.implementation = "rfft2" if len(place.grid) == 2 else "rfftn"
        block = place.width // BLOCKS
        # real and imaginary parts; a block's outputs, then its inputs
        self.weight1 = nn.Parameter(torch.empty(2, BLOCKS, block, block))
        self.bias1 = nn.Parameter(torch.empty(2, BLOCKS, block))
        self.weight2 = nn.Parameter(torch.empty(2, BLOCKS, block, block))
        self.bias2 = nn.Parameter(torch.empty(2, BLOCKS, block))

    def initialise(self) -> None:
        """N(0, 0.02) throughout, as published."""
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=SCALE)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Mix tokens `x` (B, N, D); the transforms run in float32 under any autocast."""
        batch, tokens, width = x.shape
        u = x.transpose(1, 2)
        u = u.to(torch.promote_types(u.dtype, torch.float32), memory_format=torch.contiguous_format)
        spectrum = torch.view_as_real(RealTransform.apply(u.reshape(batch, width, *self.grid)))
        z = spectrum.view(batch, BLOCKS, width // BLOCKS, -1, 2).movedim(-1, 2).flatten(2, 3)  # (B, 8, 2 D / 8, K)
        z = F.relu(_as_real(self.weight1) @ z + _as_column(self.bias1))
        z = F.softshrink(_as_real(self.weight2) @ z + _as_column(self.bias2), SPARSITY)
        parts = z.unflatten(2, (2, -1)).movedim(2, -1).reshape(batch, width, *self.grid[:-1], -1, 2)
        mixed: Tensor = InverseRealTransform.apply(torch.view_as_complex(parts), self.grid[-1])
        return x + mixed.reshape(batch, width, tokens).transpose(1, 2)


def _as_real(weight: Tensor) -> Tensor:
    """Complex matrices (2, 8, o, i) as real ones (8, 2 o, 2 i) that act on real parts above imaginary ones."""
    real, imaginary = weight
    return torch.cat((torch.cat((real, -imaginary), -1), torch.cat((imaginary, real), -1)), -2)


def _as_column(bias: Tensor) -> Tensor:
    """(2, 8, o) to (8, 2 o, 1)."""
    return bias.transpose(0, 1).reshape(BLOCKS, -1, 1)


class RealTransform(torch.autograd.Function):
    """Unitary `rfftn` of `x` (B, D, *grid), whose backward is a real transform too: autograd's own is a complex one."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:  # type: ignore[override]
        ctx.w = x.shape[-1]  # type: ignore[attr-defined]
        return torch.fft.rfftn(x, dim=_axes(x), norm="ortho")  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> Tensor:  # type: ignore[override]
        w = ctx.w  # type: ignore[attr-defined]
        return irfftn(grad * _mirrored(grad, w, 0.5), _axes(grad), w, "ortho")


class InverseRealTransform(torch.autograd.Function):
    """Unitary `irfftn` of a half spectrum (B, D, *grid[:-1], w // 2 + 1) to a grid (B, D, *grid[:-1], w)."""

    @staticmethod
    def forward(ctx: FunctionCtx, spectrum: Tensor, w: int) -> Tensor:  # type: ignore[override]
        return irfftn(spectrum, _axes(spectrum), w, "ortho")

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        spectrum = torch.fft.rfftn(grad, dim=_axes(grad), norm="ortho")
        return spectrum.mul_(_mirrored(grad, grad.shape[-1], 2.0)), None


def _axes(x: Tensor) -> tuple[int, ...]:
    return tuple(range(2, x.dim()))


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """Of one transform, there or back."""
    batch, channels, *grid = max(inputs[0].shape, outputs[0].shape)  # the half spectrum has fewer columns
    return {"fft": batch * channels * fft(*grid)}


HANDLES: Handles = {f"prim::PythonOp.{one.__name__}": _macs for one in (RealTransform, InverseRealTransform)}


def _mirrored(like: Tensor, w: int, factor: float) -> Tensor:
    """(w // 2 + 1,), along the last axis: `factor` for what stands for its mirror image as well, 1 for the others."""
    weight = torch.ones(w // 2 + 1, dtype=like.real.dtype, device=like.device)
    weight[1 : (w + 1) // 2] = factor
    return weight
