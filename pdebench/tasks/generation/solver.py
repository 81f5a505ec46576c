"""Samples of a trained network: from noise at t = 0 to images at t = 1, with a solver that options name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from pdebench.tasks.generation.guided import GuidedVelocity
from pdebench.tasks.generation.options import Sampler, SamplingOptions
from pdebench.tasks.generation.path import TIME_SCALE, Prediction
from pdebench.tasks.generation.solvers.dopri5 import dopri5
from pdebench.tasks.generation.solvers.euler import euler
from pdebench.tasks.generation.solvers.euler_maruyama import euler_maruyama
from pdebench.tasks.generation.solvers.heun import heun
from pdebench.tasks.generation.solvers.solver import Solver

SOLVERS: Mapping[Sampler, Solver] = {
    "euler": euler,
    "heun": heun,
    "dopri5": dopri5,
    "euler_maruyama": euler_maruyama,
}


@dataclass(frozen=True)
class Solved:
    """Samples, and what they took.

    Attributes:
        images: (B, C, ...), in [-1, 1] where the network learnt that.
        nfe: evaluations of the velocity for each of them; one that is guided counts once.
        passes: passes through the network for each of them: an evaluation that is guided takes two.
    """

    images: Tensor
    nfe: int
    passes: int


@torch.no_grad()
def solve(
    model: nn.Module,
    noise: Tensor,
    labels: Tensor | None,
    how: SamplingOptions,
    *,
    time_scale: float = TIME_SCALE,
    prediction: Prediction = "velocity",
    generator: Generator | None = None,
) -> Solved:
    """Integrate the flow from `noise`, standard normal (B, C, ...), at t = 0 to images at t = 1.

    Args:
        model: called as `model(x, t, y)`.
        noise: where samples begin.
        labels: (B,) or None, without which nothing is guided.
        how: solver, steps and guidance.
        time_scale: of the times that the model sees.
        prediction: what the model puts out.
        generator: of the noise that `euler_maruyama` adds, on the device of `noise`; None: torch's own.

    Raises:
        ModelError: `dopri5` cannot keep its tolerance.
    """
    velocity = GuidedVelocity(model, labels, how, time_scale=time_scale, prediction=prediction)
    images = SOLVERS[how.sampler](velocity, noise, how, generator)
    return Solved(images, velocity.nfe, velocity.passes)


def sample(
    model: nn.Module,
    noise: Tensor,
    labels: Tensor | None = None,
    *,
    time_scale: float = TIME_SCALE,
    prediction: Prediction = "velocity",
    generator: Generator | None = None,
    **how: Any,
) -> Tensor:
    """The images of `solve`, with the attributes of `SamplingOptions` as keyword arguments.

    Raises:
        SamplingError: they do not go together.
    """
    options = SamplingOptions(**how)
    return solve(
        model, noise, labels, options, time_scale=time_scale, prediction=prediction, generator=generator
    ).images
