"""The pointwise operations that are counted: products of complex numbers, and norms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pdebench.ops.macs import norm
from pdebench.ops.operand import Handles, Macs, Operand, real_products


def _complex_product(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs | None:
    """Of two complex tensors, element by element; with a real one it is pointwise as any other."""
    if not all(isinstance(one, Operand) and one.complex for one in inputs[:2]):
        return None
    return {"complex product": outputs[0].size * real_products(*inputs[:2], summed=False)}


def _norm(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    return {"norm": norm(inputs[0].size)}


HANDLES: Handles = {
    **dict.fromkeys((f"aten::{name}" for name in ("mul", "mul_", "multiply", "multiply_")), _complex_product),
    **dict.fromkeys((f"aten::{kind}_norm" for kind in ("layer", "rms", "group", "batch", "instance")), _norm),
}
