"""A tensor formed from parameters alone, kept between calls while they stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn


class ParameterCache:
    """What a module forms from its parameters; in eval mode, where no gradient is wanted, formed once.

    Not in training mode: fused optimisers write to parameters without raising the version that tells so. The module
    calls `forget` in its `train`.
    """

    def __init__(self) -> None:
        self._found: tuple[Hashable, Tensor] | None = None

    def forget(self) -> None:
        """Form it again at the next call."""
        self._found = None

    def get(self, module: nn.Module, key: Hashable, form: Callable[[], Tensor]) -> Tensor:
        """`form()`, or what it gave for the same `key` and the same values of the module's parameters."""
        if module.training or torch.is_grad_enabled() or torch.compiler.is_compiling():
            self.forget()
            return form()
        key = (key, *((p.data_ptr(), p._version) for p in module.parameters()))
        if self._found is None or self._found[0] != key:
            self._found = (key, form())
        return self._found[1]
