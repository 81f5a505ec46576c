"""Autocast where it must not reach, as it does into an autograd Function's forward pass, and where it would not."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


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
