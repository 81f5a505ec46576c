"""AdamW (Loshchilov & Hutter, arXiv 1711.05101), fused: bit for bit what `torch.optim.AdamW(fused=True)` does.

The arithmetic is PyTorch's own, by its functional form. Its class is not used because its first step imports
`torch._dynamo`, and with that sympy and pandas: 0.9 s in each fresh cell, to keep a compiler out that an eager cell
never calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

EPSILON = 1e-8


@dataclass
class Group:
    """Parameters that decay alike, with their two moments and how often each was stepped.

    Attributes:
        parameters: float or complex tensors that require a gradient; a complex number is two, as in torch.optim.
        weight_decay: the decoupled decay.
        first: the mean of the gradients, a tensor a parameter.
        second: the mean of their squares.
        steps: how often, float32 scalars beside the parameters, as the fused kernels take them.
    """

    parameters: Sequence[Tensor]
    weight_decay: float
    first: list[Tensor] = field(init=False)
    second: list[Tensor] = field(init=False)
    steps: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.first, self.second = ([torch.zeros_like(p, requires_grad=False) for p in self.parameters] for _ in "12")
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    @property
    def state(self) -> dict[str, list[Tensor]]:
        """What a step changes besides the parameters."""
        return {"first": self.first, "second": self.second, "steps": self.steps}


def _as_real(tensors: list[Tensor]) -> list[Tensor]:
    """Views, complex numbers as pairs along a last axis: the fused kernels take real ones alone."""
    return [torch.view_as_real(tensor) if tensor.is_complex() else tensor for tensor in tensors]


class AdamW:
    """Steps the parameters of some groups along their gradients; a parameter without one stays as it is."""

    def __init__(self, groups: Iterable[Group], betas: tuple[float, float]) -> None:
        self.groups, self.betas = list(groups), betas

    def zero_grad(self) -> None:
        """Let go of the gradients."""
        for group in self.groups:
            for parameter in group.parameters:
                parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One step at a learning rate."""
        for group in self.groups:
            there = [parameter.grad is not None for parameter in group.parameters]
            columns = (group.parameters, group.first, group.second, group.steps)
            parameters, first, second, steps = (list(compress(column, there)) for column in columns)
            grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
            parameters, grads, first, second = (_as_real(column) for column in (parameters, grads, first, second))
            adamw(
                parameters, grads, first, second, [], steps, fused=True, amsgrad=False, maximize=False,
                beta1=self.betas[0], beta2=self.betas[1], lr=rate, weight_decay=group.weight_decay, eps=EPSILON,
            )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """The moments and counts themselves, not copies."""
        return {"groups": [group.state for group in self.groups]}

    @torch.no_grad()
    def load_state_dict(self, found: dict[str, Any]) -> None:
        """Take over a state that `state_dict` gave.

        Raises:
            LookupError, ValueError, RuntimeError: it is another optimiser's.
        """
        for group, theirs in zip(self.groups, found["groups"], strict=True):
            for name, ours in group.state.items():
                for tensor, saved in zip(ours, theirs[name], strict=True):
                    if tensor.shape != saved.shape:
                        raise ValueError(f"a moment of shape {tuple(saved.shape)} for {tuple(tensor.shape)}")
                    tensor.copy_(saved)
