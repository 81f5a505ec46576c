"""The Dormand-Prince method of order 5, by torchdiffeq: steps as long as a tolerance lets them be.

What torchdiffeq 0.2.5 does by itself would make its samples another thing than is asked for:

- It steps past the end and interpolates back, so it asks a network for times above 1, which it never saw. Here a step
  ends at 1, and no time is outside [0, 1].
- It holds the root mean square error of the whole batch: one hard sample among 1,024 may be off by 32 times the
  tolerance in every step. Here each sample's own error is held. All of a batch take the steps of its hardest sample.
- It returns what an interpolant through the last step has at its end, which float32 rounds many times. Here the state
  is float64; the network is given and answers float32, whatever autocast would have, since a controller takes the
  rounding of bf16 for error and shortens its steps.
- It finds where the velocity jumps by trying ever shorter steps, and may pass over where it bends. Here it is told
  where guidance begins and ends, and from where on a predicted image is no longer divided by 1 - t.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from pdebench.errors import ModelError
from pdebench.ops.precision import in_float32
from pdebench.tasks.generation.options import SamplingOptions
from pdebench.tasks.generation.solvers.solver import Velocity

MOST_STEPS = 2000


class _NotFinite(Exception):
    """The velocity is NaN or infinite somewhere, which no length of a step would cure."""


def dopri5(velocity: Velocity, noise: Tensor, how: SamplingOptions, generator: Generator | None = None) -> Tensor:
    """See `Solver`. Where the velocity of any sample is not finite, all of the batch is NaN.

    Raises:
        ModelError: the tolerance asks for more than 2,000 steps, or for steps that float64 cannot tell apart.
    """
    from torchdiffeq import odeint  # not above: it imports scipy.integrate, .4 s of a process, which few need

    def slope(t: Tensor, x: Tensor) -> Tensor:
        # the first length of a step is found by a trial step, which may be longer than the way
        found = velocity(x.to(noise.dtype), min(max(t.item(), 0.0), 1.0))
        if not found.isfinite().all():
            raise _NotFinite
        return found.double()

    device = noise.device
    options = {
        "norm": _of_the_worst_sample,
        "step_t": torch.ones(1, dtype=torch.float64, device=device),
        "jump_t": torch.tensor(velocity.turns, dtype=torch.float64, device=device),
        "max_num_steps": MOST_STEPS,
    }
    way = torch.tensor([0.0, 1.0], dtype=torch.float64, device=device)
    try:
        with in_float32(device):
            found: Tensor = odeint(
                slope, noise.double(), way, rtol=how.tolerance, atol=how.tolerance, method="dopri5", options=options
            )
    except _NotFinite:
        return torch.full_like(noise, torch.nan)
    except AssertionError as error:
        if not str(error).startswith(("underflow in dt", "max_num_steps exceeded")):
            raise
        raise ModelError(
            f"dopri5 cannot keep a tolerance of {how.tolerance:g} in {MOST_STEPS:,} steps; take a larger tolerance, or "
            "a sampler of fixed steps"
        ) from None
    return found[-1].to(noise.dtype)


def _of_the_worst_sample(ratio: Tensor) -> Tensor:
    """The largest root mean square of a sample's errors, (B, ...) as shares of what they may be."""
    return ratio.flatten(1).square().mean(1).sqrt().max()
