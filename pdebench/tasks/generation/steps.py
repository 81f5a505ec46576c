"""The fixed steps that solvers take from noise, t = 0, to an image, t = 1. Importing this imports no torch."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from pdebench.tasks.generation.time_shift import shifted

LAST_STEP = 0.04
"""Length of the last step of SiT's stochastic sampler, before times are shifted: its `last_step_size`."""


class Step(NamedTuple):
    """A step from `t` to `end`, `dt` long."""

    t: float
    end: float
    dt: float


def even_steps(count: int, shift: float = 1.0) -> list[Step]:
    """`count` steps of one length, whose ends are then shifted (see `time_shift`)."""
    if shift == 1:
        return [Step(index / count, (index + 1) / count, 1 / count) for index in range(count)]
    return _between([shifted(index / count, shift) for index in range(count + 1)])


def steps_before_a_last(count: int, shift: float = 1.0) -> list[Step]:
    """`count` steps, two at least: the last from `1 - LAST_STEP` on, those before it of one length; then shifted.

    So SiT's `sample_sde` has them: `linspace(0, 1 - last_step_size, num_steps)`, and a last step from there.
    """
    ends = [index / (count - 1) * (1 - LAST_STEP) for index in range(count)]
    return _between([shifted(end, shift) for end in (*ends, 1.0)])


def _between(ends: list[float]) -> list[Step]:
    return [Step(begin, end, end - begin) for begin, end in pairwise(ends)]
