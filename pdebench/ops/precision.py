"""The arithmetic of a model: what it is on a device, autocast, and where autocast must not reach or would not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn


def resolve_precision(asked: str, device: torch.device) -> str:
    """`fp32` or `bf16`: `auto` takes bf16 where the device has matrix units for it."""
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.cpu._is_amx_tile_supported() else "fp32"


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The autocast context of a precision."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


@contextmanager
def cast_once(model: nn.Module, precision: str, device: torch.device) -> Iterator[None]:
    """The autocast context of a precision, in which each weight is cast once, not in each evaluation.

    PyTorch keeps the casts of weights that require a gradient, and of no others: averaged weights, which are frozen,
    would be cast anew whenever they are used. Nothing is recorded for a backward pass here.
    """
    frozen = [p for p in model.parameters() if not p.requires_grad and p.is_floating_point()]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        with torch.no_grad(), autocast(precision, device):
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def as_given(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which products are formed in the precision of their factors, on `tensor`'s device."""
    if tensor.is_meta:  # autocast knows no such device
        return nullcontext()
    return torch.autocast(tensor.device.type, enabled=False)


def in_autocast(x: Tensor) -> Tensor:
    """`x` in the precision that autocast would give a linear layer's output here; as it is where autocast is off."""
    kind = x.device.type
    if x.is_meta or not torch.is_autocast_enabled(kind):
        return x
    return x.to(torch.get_autocast_dtype(kind))


@contextmanager
def in_float32(device: torch.device) -> Iterator[None]:
    """A context in which float32 is computed in float32: without autocast, and without convolutions in TF32."""
    allowed = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = allowed
