"""What was seen of one training step: its operations, and the memory that it takes. Importing this imports no torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple


class Operation(NamedTuple):
    """What one operation does: `linear`, `attention`, `fft`, `scan`, `conv` or `pointwise`."""

    kind: str
    name: str
    flops: float
    bytes: int


Operations = Counter[Operation]


@dataclass(frozen=True)
class TrainingStep:
    """One training step of one batch.

    Attributes:
        forward: operations of the forward pass and the loss, with how often each runs.
        backward: those of the backward pass.
        optimiser: those of AdamW, the average of the weights and the gradient's norm.
        gradient_bytes: of all gradients.
        parameter_bytes: float32 weights, the average of them and AdamW's two moments: held throughout.
        held_bytes: what autograd keeps for backward when the forward pass has ended.
        working_bytes: the most that a pass holds beside `parameter_bytes`: activations, gradients, temporaries.
        road: by which its mixers' products in Fourier space are computed, where they have any of two axes.
    """

    forward: Operations
    backward: Operations
    optimiser: Operations
    gradient_bytes: int
    parameter_bytes: int
    held_bytes: int
    working_bytes: int
    road: str | None

    @property
    def operations(self) -> Operations:
        """All of the step's."""
        return self.forward + self.backward + self.optimiser

    @property
    def peak_bytes(self) -> int:
        """Predicted peak memory of training, from the second step on."""
        return self.parameter_bytes + self.working_bytes

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written by all operations."""
        return sum(operation.bytes * count for operation, count in self.operations.items())
