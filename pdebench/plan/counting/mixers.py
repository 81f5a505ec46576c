"""What the mixers and the shell of this package do in operators of their own, and attention and norms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pdebench.ops.macs import fft, scan
from pdebench.ops.operand import Handles, Operand, real_products

Macs = Mapping[str, float]


def _attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """q k^T and its product with v: 2 x B x heads x N x M x head width."""
    q, k, v = (operand.shape for operand in inputs[:3])
    pairs = math.prod(outputs[0].shape[:-1]) * k[-2]
    return {"attention": pairs * (q[-1] + v[-1])}


def _spectral_product(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """rfft2, a complex product (4 multiplications, 2 additions: 3 MACs) on the half spectrum, irfft2."""
    batch, channels, h, w = inputs[0].shape
    planes = batch * channels
    return {"fft": round(planes * 2 * fft(h * w)), "complex product": planes * 3 * h * (w // 2 + 1)}


def _real_transform(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """One rfft2 (B, D, h, w), or an irfft2 back to it."""
    planes = max(inputs[0].shape, outputs[0].shape)  # the half spectrum has fewer columns
    return {"fft": round(math.prod(planes[:2]) * fft(math.prod(planes[2:])))}


def _long_convolution(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """rfft of the padded sequence, a complex product, irfft; the kernel's transform is once a batch."""
    sequences, points = math.prod(inputs[0].shape[:2]), inputs[1].shape[-1]
    return {"fft": round(sequences * 2 * fft(points)), "complex product": sequences * 3 * (points // 2 + 1)}


def _complex_product(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs | None:
    """Of two complex tensors, element by element; with a real one it is pointwise as any other."""
    if not all(isinstance(one, Operand) and one.complex for one in inputs[:2]):
        return None
    return {"complex product": outputs[0].size * real_products(*inputs[:2], summed=False)}


def _selective_scan(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """Of Mamba-1: each channel has its own states."""
    return {"scan": scan(inputs[0].size * inputs[2].shape[0])}


def _state_space_duality(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """Of Mamba-2, whatever the chunks are."""
    return {"scan": scan(inputs[0].size * inputs[3].shape[-1])}


def _gated_linear_attention(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """Of a head: its keys' width times its values'."""
    return {"scan": scan(inputs[0].size * inputs[2].shape[-1])}


def _causal_convolution(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    return {"conv": inputs[0].size * inputs[1].shape[1]}


def _depthwise_convolution(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    return {"conv": 9 * inputs[0].size}


def _norm(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    return {"norm": inputs[0].size}


HANDLES: Handles = {
    "aten::scaled_dot_product_attention": _attention,
    **dict.fromkeys((f"aten::{name}" for name in ("mul", "mul_", "multiply", "multiply_")), _complex_product),
    **dict.fromkeys((f"aten::{kind}_norm" for kind in ("layer", "rms", "group", "batch", "instance")), _norm),
    "prim::PythonOp.PackedProduct": _spectral_product,
    "prim::PythonOp.HalfSpectrumProduct": _spectral_product,
    "prim::PythonOp.MatrixProduct": _spectral_product,  # by convention, whatever backend computes it
    "prim::PythonOp.RealTransform": _real_transform,
    "prim::PythonOp.InverseRealTransform": _real_transform,
    "prim::PythonOp.LongConvolution": _long_convolution,
    "prim::PythonOp.CausalConvolution": _causal_convolution,
    "prim::PythonOp.DepthwiseProduct": _depthwise_convolution,
    "pdebench::selective_scan": _selective_scan,
    "pdebench::ssd": _state_space_duality,
    "pdebench::gated_linear_attention": _gated_linear_attention,
}
