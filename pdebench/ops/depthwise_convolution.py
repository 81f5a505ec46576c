"""A small depthwise convolution over the grid of tokens, without leaving the tokens' layout.

Tokens are a channels-last image as they lie in memory. On a CPU `conv2d` of it takes about a quarter of the time that
it takes of a channels-first copy, or that a sum of nine shifted products takes (0.9 against 3.3 and 3.4 ms forward and
backward of 8 samples of 16 x 16 tokens, 384 channels, one core).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional as F

from pdebench.ops.macs import convolution
from pdebench.ops.operand import Handles, Macs
from pdebench.ops.precision import as_given


class DepthwiseProduct(torch.autograd.Function):
    """`conv2d` of `x` (B, D, h, w) by `weight` (D, 1, s, s), zero-padded; its own, as `conv2d` has no trace on meta."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(x, weight)
        if x.is_meta:
            return torch.empty_like(x)  # shapes are all there is
        with as_given(x):
            return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        groups, padding, wanted = len(weight), [weight.shape[-1] // 2] * 2, ctx.needs_input_grad  # type: ignore[attr-defined]
        return torch.ops.aten.convolution_backward(  # type: ignore[no-any-return]
            grad, x, weight, [groups], [1, 1], padding, [1, 1], False, [0, 0], groups, wanted
        )


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    x, weight = inputs[:2]
    return {"conv": convolution(x.size, math.prod(weight.shape[1:]))}


HANDLES: Handles = {f"prim::PythonOp.{DepthwiseProduct.__name__}": _macs}


class DepthwiseConvolution(nn.Module):
    """Each channel of a token and its neighbours; the identity at first, as in DiG (arXiv 2405.18428).

    It stands on the residual stream, so it computes in the stream's precision under any autocast.

    Args:
        width: channels.
        grid: (h, w) of the tokens.
        side: weights along each axis, an odd number: 3 for a token and its eight neighbours.
    """

    def __init__(self, width: int, grid: tuple[int, ...], side: int = 3) -> None:
        super().__init__()
        h, w = grid
        self.grid = (h, w)
        self.weight = nn.Parameter(torch.zeros(width, 1, side, side))
        self.bias = nn.Parameter(torch.zeros(width))
        with torch.no_grad():
            self.weight[:, :, side // 2, side // 2] = 1

    def forward(self, x: Tensor) -> Tensor:
        """Convolve tokens `x` (B, N, D), zero beyond the grid."""
        image = x.unflatten(1, self.grid).permute(0, 3, 1, 2)
        mixed: Tensor = DepthwiseProduct.apply(image, self.weight.to(x.dtype), self.bias.to(x.dtype))
        return mixed.permute(0, 2, 3, 1).flatten(1, 2)

    def initialise_as_convolution(self) -> None:
        """PyTorch's own initialisation of a convolution: all uniform within 1 / side, by its side^2 taps."""
        bound = 1 / self.weight.shape[-1]
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
