"""Euler's method, of order 1: one evaluation a step."""

from __future__ import annotations

from torch import Generator, Tensor

from pdebench.tasks.generation.options import SamplingOptions
from pdebench.tasks.generation.solvers.solver import Velocity


def euler(velocity: Velocity, noise: Tensor, how: SamplingOptions, generator: Generator | None = None) -> Tensor:
    """See `Solver`."""
    x = noise
    for t, _, dt in how.steps:
        x = x + dt * velocity(x, t)
    return x
