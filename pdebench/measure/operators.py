"""What a training step's forward and backward pass hand to the device, and what they keep between them.

Counted, not timed, so it is the same every time: a fusion that came apart, a loop that crept in or a tensor that is
kept for nothing shows before any clock could say so. A compiled model dispatches none of its own; there its graph
breaks are counted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pdebench.measure.saved_activations import saved_bytes
from pdebench.models.backbone import Backbone
from pdebench.ops.precision import autocast


class _Count(TorchDispatchMode):
    """Counts what is dispatched under it; views launch nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: int = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: nothing here is compiled, and to be skipped is to import the compiler, which takes a second."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operators += 0 if func.is_view else 1
        return func(*args, **(kwargs or {}))


def step_counts(model: Backbone, *, precision: str, device: torch.device) -> dict[str, int]:
    """The operators of one forward and backward pass of two images, and the bytes kept between them, as columns.

    Args:
        model: on `device`, not compiled.
        precision: `fp32` or `bf16` (autocast).
        device: where it runs.
    """
    x, t = torch.zeros(2, model.in_channels, *model.sides, device=device), torch.zeros(2, device=device)
    labels = torch.zeros(2, dtype=torch.long, device=device) if model.y_embedder is not None else None
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def loss() -> Tensor:
        with autocast(precision, device):
            return model(x, t, labels).square().mean()  # type: ignore[no-any-return]

    def both() -> None:
        torch.autograd.grad(loss(), weights, allow_unused=True)

    both()  # forms what is kept from pass to pass, which a model that was trained has
    with _Count() as counted:
        both()
    return {"operators_step": counted.operators, "held_bytes": saved_bytes(loss, model)}


def graph_breaks() -> int:
    """How often torch.compile gave up on a graph in this process."""
    from torch._dynamo.utils import counters

    return sum(counters["graph_break"].values())
