"""Heun's method, of order 2: two evaluations a step, at its begin and at its end."""

from __future__ import annotations

from torch import Generator, Tensor

from pdebench.tasks.generation.options import SamplingOptions
from pdebench.tasks.generation.solvers.solver import Velocity


def heun(velocity: Velocity, noise: Tensor, how: SamplingOptions, generator: Generator | None = None) -> Tensor:
    """See `Solver`."""
    x = noise
    for t, end, dt in how.steps:
        slope = velocity(x, t)
        slope = (slope + velocity(x + dt * slope, end)) / 2
        x = x + dt * slope
    return x
