"""The convolution of tokens by a free symbol as an operator of `torch.library`: one Triton kernel on a GPU.

As `pde_mixing.py` has the PDE's: `torch.compile` keeps it as one node, and off a GPU it computes the same in PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pdebench.ops import macs
from pdebench.ops.half_spectrum import HalfSpectrumProduct
from pdebench.ops.operand import Handles, Macs, backward
from pdebench.ops.pde_symbol import Context


@torch.library.custom_op("pdebench::filter_mixing", mutates_args=())
def _mix(x: Tensor, symbol: Tensor) -> Tensor:
    """`y` (B, h, w, D)."""
    if x.is_cuda:
        from pdebench.ops.spectral_launch import convolve  # Triton is not everywhere

        return convolve(x.contiguous(), symbol)
    y = HalfSpectrumProduct.forward(Context(), _wide(x), symbol)  # type: ignore[arg-type]
    return y.permute(0, 2, 3, 1).to(x.dtype, memory_format=torch.contiguous_format, copy=True)


@_mix.register_fake
def _output(x: Tensor, symbol: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@torch.library.custom_op("pdebench::filter_mixing_backward", mutates_args=())
def _mix_backward(dy: Tensor, x: Tensor, symbol: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of `x` and of `symbol`."""
    if x.is_cuda:
        from pdebench.ops.spectral_launch import convolve_gradients

        return convolve_gradients(x.contiguous(), dy.to(x.dtype).contiguous(), symbol)
    context = Context(needs_input_grad=(True, True))
    HalfSpectrumProduct.forward(context, _wide(x), symbol)  # type: ignore[arg-type]
    dx, of_symbol = HalfSpectrumProduct.backward(context, _wide(dy))  # type: ignore[arg-type]
    assert dx is not None
    assert of_symbol is not None
    return dx.permute(0, 2, 3, 1).to(x.dtype, memory_format=torch.contiguous_format, copy=True), of_symbol.contiguous()


@_mix_backward.register_fake
def _gradients(dy: Tensor, x: Tensor, symbol: Tensor) -> tuple[Tensor, Tensor]:
    return tuple(torch.empty_like(given, memory_format=torch.contiguous_format) for given in (x, symbol))  # type: ignore[return-value]


def _wide(x: Tensor) -> Tensor:
    """Tokens (B, h, w, D) to (B, D, h, w), in float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32)).permute(0, 3, 1, 2)


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor]:
    return _mix_backward(dy, *ctx.saved_tensors)  # type: ignore[no-any-return]


_mix.register_autograd(_backward, setup_context=_save)


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """By convention those of real transforms, whatever computes them, as of every product in Fourier space."""
    batch, h, w, channels = inputs[0].shape
    return {name: batch * channels * number for name, number in macs.spectral_product(h, w).items()}


HANDLES: Handles = {"pdebench::filter_mixing": _macs, "pdebench::filter_mixing_backward": backward(_macs)}


def filter_mixing(x: Tensor, symbol: Tensor) -> Tensor:
    """The convolution of tokens `x` (B, h, w, D) by `symbol` (D, h, w // 2 + 1, 2), the transform of a real kernel.

    The result has the shape and the precision of `x` and is contiguous.
    """
    return _mix(x, symbol)  # type: ignore[no-any-return]
