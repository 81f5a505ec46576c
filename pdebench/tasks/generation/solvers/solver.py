"""What a solver is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Generator, Tensor

from pdebench.tasks.generation.options import SamplingOptions


class Velocity(Protocol):
    """What a solver follows."""

    @property
    def turns(self) -> Sequence[float]:
        """Times within (0, 1) at which it is not smooth: it jumps, or bends."""

    def __call__(self, x: Tensor, t: float, /) -> Tensor:
        """Of `x` (B, C, ...) at a time in [0, 1]: (B, C, ...)."""


Solver = Callable[[Velocity, Tensor, SamplingOptions, Generator | None], Tensor]
"""Follows the velocity from noise (B, C, ...) to images; noise on the way is the generator's, or torch's."""
