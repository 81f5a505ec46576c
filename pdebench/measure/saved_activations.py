"""What autograd keeps from a forward pass for the backward one: most of what a training step takes of memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def saved_bytes(forward: Callable[[], Tensor], module: nn.Module) -> int:
    """Bytes that autograd keeps from a forward pass for its backward, weights left out, each storage once."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = forward()
    del output  # not before: a storage that was let go of could be another's, and be counted once for two
    return sum(kept.values())
