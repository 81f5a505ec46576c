"""How many times the compute a family needs for the loss that another reaches, at every loss that both measured.

At a loss L it is C(L) of the one over C(L) of the other, each by its own frontier (`frontier.py`). Below the least loss
that both reached at their largest budgets, and above the greatest that both had at their smallest, nothing is said.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pdebench.stats.bootstrap import Interval, interval, p_value
from pdebench.stats.frontier import Frontier
from pdebench.stats.power_sum import Array

POINTS = 15  # losses, an odd number: the one in the middle is told by itself
_NARROWEST = math.log(1.01)  # of the losses that both have: between fewer nothing grows or shrinks


@dataclass(frozen=True)
class Multiplier:
    """The multiple of the reference's compute, or images, that a family needs.

    Attributes:
        loss: descending, (POINTS,); the losses that both measured, evenly in their logs.
        reference: what the reference needs for each, FLOPs or images.
        times: the multiple at each.
        middle: the one in the middle.
        growth: by how many times the multiple is greater at ten times the reference's compute.
        p_one: p-value of "in the middle it is 1".
        p_level: p-value of "it neither grows nor shrinks".
    """

    loss: tuple[float, ...]
    reference: tuple[float, ...]
    times: tuple[Interval, ...]
    middle: Interval
    growth: Interval
    p_one: float
    p_level: float


def multiplier(family: Frontier, reference: Frontier, *, runs: int, parameters: int) -> Multiplier | None:
    """The multiple over the losses that both have; None where they share no range of losses.

    Args:
        family: its resamples are in step with the reference's.
        reference: what the family is held against.
        runs: clusters behind the one of the two that has fewer.
        parameters: fitted to them.
    """
    shared = shared_losses(family, reference)
    if shared is None:
        return None
    losses = np.linspace(shared[1], shared[0], POINTS)
    with np.errstate(invalid="ignore"):
        ours, theirs = family.needed(losses), reference.needed(losses)
    logs = ours - theirs
    x = theirs[0] - theirs[0].mean()
    slopes = logs @ x / (x @ x) * math.log(10)
    middle = POINTS // 2

    def told(values: Array) -> Interval:
        found = interval(float(values[0]), values[1:], runs=runs, parameters=parameters)
        return Interval(math.exp(found.value), math.exp(found.low), math.exp(found.high), found.lost)

    def p(values: Array) -> float:
        return p_value(float(values[0]), values[1:], runs=runs, parameters=parameters)

    return Multiplier(
        loss=tuple(map(float, np.exp(losses))),
        reference=tuple(map(float, np.exp(theirs[0]))),
        times=tuple(told(logs[:, place]) for place in range(POINTS)),
        middle=told(logs[:, middle]),
        growth=told(slopes),
        p_one=p(logs[:, middle]),
        p_level=p(slopes),
    )


def shared_losses(family: Frontier, reference: Frontier) -> tuple[float, float] | None:
    """The least and the greatest log-loss that both measured; None where there is hardly any between."""
    low, high = (
        pick(ends) for pick, ends in zip((max, min), zip(family.reached, reference.reached, strict=True), strict=True)
    )
    return (low, high) if high - low > _NARROWEST else None
