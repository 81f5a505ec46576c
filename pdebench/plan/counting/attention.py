"""Attention: as a trace on the meta device records it, and the kernels that PyTorch dispatches it to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pdebench.ops.macs import attention, attention_backward
from pdebench.ops.operand import Handles, Macs


def _forward(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    q, k, v = (operand.shape for operand in inputs[:3])
    return {"attention": attention(math.prod(outputs[0].shape[:-1]) * k[-2], q[-1], v[-1])}


def _backward(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """Given the output's gradient first. More than twice forward: no kernel keeps the scores."""
    gradient, q, k, v = (operand.shape for operand in inputs[:4])
    return {"attention": attention_backward(math.prod(gradient[:-1]) * k[-2], q[-1], v[-1])}


_KERNELS = [
    f"aten::_scaled_dot_product_{kind}"
    for kind in (
        "flash_attention",
        "flash_attention_for_cpu",
        "efficient_attention",
        "cudnn_attention",
        "fused_attention_overrideable",
    )
]

HANDLES: Handles = {
    **dict.fromkeys(("aten::scaled_dot_product_attention", *_KERNELS), _forward),
    **dict.fromkeys((f"{kernel}_backward" for kernel in _KERNELS), _backward),
}
