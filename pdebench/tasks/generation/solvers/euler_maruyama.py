"""The Euler-Maruyama method for SiT's stochastic differential equation (arXiv 2401.08740): one evaluation a step.

    dx = (v + D s) dt + sqrt(2 D) dW,    s = (t v - x) / (1 - t)

has the same distribution at every time t as the flow dx = v dt, whatever D(t) >= 0 is: s is the score of the linear
path, from its velocity. The coefficients D are those of SiT's code (`diffusion_form`), by its names; the paper writes w
for 2 D and counts time from the image:

    constant                 1
    SBDM                     (1 - t) / t              w is the paper's w^KL, for which its bound on the KL is smallest
    sigma                    1 - t                    twice the paper's w = sigma; the code's `linear` on this path
    decreasing               (cos(pi t) + 1)^2 / 4
    increasing-decreasing    sin(pi t)^2              twice the paper's w = sin^2

The last step, from t = .96 on, has no noise: SiT's "Mean". It shrinks the samples, with `constant` a lot: of a Gaussian
of variance .16 they have .087 after many steps, and .155 to .158 with the others.

SBDM is infinite at t = 0, where the code divides by 0 too. The distribution at 0 is that of the noise, which the flow
keeps as any D does; so the step from there follows the flow alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from pdebench.tasks.generation.options import DIFFUSION, Diffusion, SamplingOptions
from pdebench.tasks.generation.solvers.solver import Velocity

COEFFICIENTS: dict[Diffusion, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "SBDM": lambda t: (1 - t) / t if t > 0 else 0.0,
    "sigma": lambda t: 1 - t,
    "decreasing": lambda t: (math.cos(math.pi * t) + 1) ** 2 / 4,
    "increasing-decreasing": lambda t: math.sin(math.pi * t) ** 2,
}


def euler_maruyama(
    velocity: Velocity, noise: Tensor, how: SamplingOptions, generator: Generator | None = None
) -> Tensor:
    """See `Solver`."""
    coefficient = COEFFICIENTS[how.diffusion or DIFFUSION]
    *noisy, last = how.steps
    x = noise
    for t, _, dt in noisy:
        x = x + dt * _drift(velocity, x, t, coefficient(t))
        fresh = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
        x = x + math.sqrt(2 * coefficient(t) * dt) * fresh
    return x + last.dt * _drift(velocity, x, last.t, coefficient(last.t))


def _drift(velocity: Velocity, x: Tensor, t: float, coefficient: float) -> Tensor:
    slope = velocity(x, t)
    return slope + coefficient * (t * slope - x) / (1 - t)
