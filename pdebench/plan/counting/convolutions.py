"""Convolutions: how they get into a trace on the meta device, and what they cost.

PyTorch records a convolution where `aten::convolution` calls `aten::_convolution`. On the meta device it does not come
to that: the shape is worked out in Python, which runs while the trace is on, finds sizes that are traced tensors, and
refuses them ("cond must be a bool"). Called directly, `aten::_convolution` is recorded first, and its shape is worked
out with the trace off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pdebench.ops.macs import convolution
from pdebench.ops.operand import Handles, Macs, Operand, backward, real_products


def _recorded(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Tensor:
    """`torch.convolution`, its sizes single numbers or one a dimension, by the operators that are recorded."""
    dimensions = weight.dim() - 2

    def each(given: Any) -> list[int]:
        sizes = [given] if isinstance(given, int) else list(given)
        return sizes * dimensions if len(sizes) == 1 else sizes

    batched = x.dim() == weight.dim()
    images = x if batched else x.unsqueeze(0)
    if isinstance(padding, str):
        y = torch._convolution_mode(images, weight, bias, each(stride), padding, each(dilation), groups)
    else:
        y = torch._convolution(
            images, weight, bias, each(stride), each(padding), each(dilation), transposed, each(output_padding), groups,
            benchmark=False, deterministic=False, cudnn_enabled=False, allow_tf32=False,
        )  # fmt: skip
    return y if batched else y.squeeze(0)


def _forward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """`conv1d` to `conv3d`."""
    return _recorded(x, weight, bias, stride, padding, dilation, False, 0, groups)


def _transposed(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """`conv_transpose1d` to `conv_transpose3d`, whose arguments stand in another order."""
    return _recorded(x, weight, bias, stride, padding, dilation, True, output_padding, groups)


_INSTEAD: dict[Any, Callable[..., Tensor]] = {
    **dict.fromkeys((torch.conv1d, torch.conv2d, torch.conv3d), _forward),
    **dict.fromkeys((torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d), _transposed),
    **dict.fromkeys((torch.convolution, torch.ops.aten.convolution, torch.ops.aten.convolution.default), _recorded),
}


class Recorded(TorchFunctionMode):
    """Where this is entered, a trace on the meta device has the convolutions."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _INSTEAD:
            func = _INSTEAD[func]
            args = (kwargs.pop("input"), *args) if "input" in kwargs else args
        return func(*args, **kwargs)


def _convolution(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """Each output a sum over the kernel and a group's inputs; transposed, each input is spread over as many outputs.

    A weight is (outputs, inputs / groups, ...), transposed (inputs, outputs / groups, ...): either way its first
    dimension is that of the elements, and the rest is what each of them is multiplied with.
    """
    x, weight, *_, transposed = inputs[:7]
    return _macs(x if transposed is True else outputs[0], weight.shape[1:], x, weight)


def _padded_by_a_word(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """`padding="same"` and `"valid"`, which a transposed convolution does not have."""
    x, weight = inputs[:2]
    return _macs(outputs[0], weight.shape[1:], x, weight)


def _time_first(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """`conv_tbc`, whose weight is (kernel, inputs, outputs)."""
    x, weight = inputs[:2]
    return _macs(outputs[0], weight.shape[:2], x, weight)


def _macs(elements: Operand, taps: Sequence[int], x: Operand, weight: Operand) -> Macs:
    return {"conv": convolution(elements.size, math.prod(taps)) * real_products(x, weight)}


HANDLES: Handles = {
    "aten::_convolution": _convolution,
    "aten::convolution": _convolution,  # as it is dispatched
    "aten::convolution_backward": backward(_convolution),
    "aten::_convolution_mode": _padded_by_a_word,
    "aten::conv_tbc": _time_first,
}
