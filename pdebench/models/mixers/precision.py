"""Where autocast must not reach: it enters the forward pass of an autograd Function and rounds its products to bf16."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def as_given(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which products are formed in the precision of their factors, on `tensor`'s device."""
    if tensor.is_meta:  # autocast knows no such device
        return nullcontext()
    return torch.autocast(tensor.device.type, enabled=False)
