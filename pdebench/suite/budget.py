"""Optimiser steps from a budget of FLOPs, where a suite is read. Importing this imports no torch.

A step costs 3 x 2 x MACs x batch, as in a record's `flops_train_step`; the MACs are those of `models/closed_form.py`,
which the counter behind the record agrees with to .1%. What a cell is stays in its steps: two suites that come to the
same steps, one by a budget and one by hand, have the same cell.
"""

from __future__ import annotations

from pdebench.data.registry import SOURCES
from pdebench.models.backbone_cost import backbone_cost
from pdebench.models.registry import FAMILIES
from pdebench.suite.build import input_size_of
from pdebench.suite.config import Cell
from pdebench.tasks.registry import TASKS

FEWEST_STEPS = 10
"""With fewer, rounding to whole steps takes a cell more than 5% off its budget, and budgets would not be equal."""


class TooSmall(Exception):
    """A budget that is not ten steps of a cell; the message says what a step costs."""


def flops_of_step(cell: Cell) -> float:
    """FLOPs of one optimiser step: 3 x 2 x MACs x batch (a backward pass costs two forward; no recomputation)."""
    family, model = FAMILIES[cell.model.family].in_shell(cell.shell), cell.model
    options = family.options(**model.options)
    dimensions = family.dimensions(model.size, options, **model.dimensions)
    source = SOURCES[cell.data.name]
    outputs = TASKS[cell.task].outputs(None, source.channels_of(cell.data))
    cost = backbone_cost(
        family, dimensions, model.patch, options,
        input_size=input_size_of(source, cell.data), in_channels=source.channels_of(cell.data),
        patch_frames=model.patch_frames, **outputs._asdict(),
    )  # fmt: skip
    return 3 * 2 * cost.macs * cell.train.batch_size


def steps_within(cell: Cell, train_flops: float) -> int:
    """The number of steps nearest to a budget.

    Raises:
        TooSmall: it is under ten.
    """
    step = flops_of_step(cell)
    steps = round(train_flops / step)
    if steps < FEWEST_STEPS:
        budget, one = (f"{value:.3g}".replace("e+", "e") for value in (train_flops, step))  # as they are typed
        raise TooSmall(
            f"{budget} FLOPs train {cell.model.family}-{cell.model.size}/{cell.model.patch} at "
            f"{cell.data.resolution} px for {steps} steps: one takes {one} at batch "
            f"{cell.train.batch_size}, and under {FEWEST_STEPS} steps cannot be held to a budget; raise "
            "it, or make the batch smaller"
        )
    return steps
