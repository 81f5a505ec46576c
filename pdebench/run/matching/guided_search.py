"""The search of `suite/matching.py` where a cost is measured: guided by one that is worked out. Imports no torch.

The family's own size is measured first, and its ratio scales the guide: MACs, of a step's time. The search changes as
little as it can to come where the predicted ratio is 1: width, width and depth, MLP. What it finds is measured, and
with it the prediction becomes a sum of what may bound the cost, arithmetic, memory traffic and launches, in the
shares that fit. Where that wanders between shapes which it does not tell apart, the shape that came nearest is kept and
its MLP is turned alone. Before a match is refused, the size that is predicted to come nearest is measured too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pdebench.data.registry import SOURCES
from pdebench.errors import ModelError
from pdebench.models.backbone_cost import backbone_cost
from pdebench.models.grid import grid_of
from pdebench.models.registry import FAMILIES, Dimensions
from pdebench.run.matching.paired_ratio import Ratio
from pdebench.suite.matching import TOLERANCE, Cost, Search, in_words, least_change, steps_of
from pdebench.suite.measured_sizes import MEASURED, SizeQuestion, match_setting

MOST = 14  # sizes that are measured
FREE = 7  # of them, after which the nearest shape is kept
LEAST_POWER, MOST_POWER = 0.25, 2.0
LEAST_SHARE = 0.1  # of arithmetic, or of parameters, in what is predicted
SURE = 0.5  # of the tolerance that a size is to be predicted in: the interval wants the rest


@dataclass(frozen=True)
class SizeTried:
    """Dimensions whose cost was measured."""

    dimensions: Dimensions
    ratio: Ratio


def search(
    question: SizeQuestion, measure: Callable[[Dimensions], Ratio], over: Callable[[], bool] = lambda: False
) -> list[SizeTried]:
    """What was measured until a size cost what the reference does, which is the last.

    Args:
        question: of which model.
        measure: the cost of the model at some dimensions, over the reference's.
        over: whether the time for it is.

    Raises:
        ModelError: none does; says how near they come, and why no nearer.
    """
    tried: list[SizeTried] = []
    candidate: Dimensions | None = question.own
    while candidate is not None and len(tried) < MOST and not (tried and over()):
        ratio = measure(candidate)
        tried.append(SizeTried(candidate, ratio))
        if ratio.verdict == "inside":
            return tried
        if ratio.verdict == "undecided" and abs(ratio.estimate - 1) <= SURE * TOLERANCE:
            raise ModelError(
                f"{question} cannot be matched to {question.to} by {question.by}: this machine is too noisy to tell, "
                f"or match.seconds too few: at {in_words(candidate)} the ratio is {ratio}, and its interval is to be "
                "within 2% of 1; leave the machine alone, or match by params or macs"
            )
        candidate = _next(question, tried)
    nearest = min(tried, key=_off)
    if candidate is None:
        why = _searches(question, _predicted(question, tried), tried, tried, 1.0)[-1].nearest()[1]
    else:
        why = f"of {len(tried)} that were measured" + (" until match.seconds were over" if over() else "")
    raise ModelError(
        f"{question} cannot be matched to {question.to} by {question.by}: the nearest, {why}, has {nearest.ratio} "
        f"times its {MEASURED[question.by]} ({in_words(nearest.dimensions)}), and 2% is asked for"
    )


def _off(measured: SizeTried) -> float:
    return abs(math.log(measured.ratio.estimate))


def _next(question: SizeQuestion, tried: Sequence[SizeTried]) -> Dimensions | None:
    """The size to measure next: one that is predicted to do, or else the nearest; None where that has been measured."""
    predicted = _predicted(question, tried)
    for share in (SURE, 1.0) if len(tried) > 1 else (1.0,):  # of one alone the power is a guess
        searches = _searches(question, predicted, tried, tried, share)
        if len(tried) < FREE and (found := least_change(searches)):
            return found.dimensions
        for one in sorted(tried, key=_off):
            shape = one.dimensions[:2]
            alike = [other for other in tried if other.dimensions[:2] == shape]
            if found := _searches(question, predicted, tried, alike, share)[-1].mlp_alone(*shape):
                return found.dimensions
        if found := least_change(searches):
            return found.dimensions
    nearest = searches[-1].nearest()[0].dimensions
    return None if nearest in {one.dimensions for one in tried} else nearest


def _searches(
    question: SizeQuestion, predicted: Cost, tried: Sequence[SizeTried], through: Sequence[SizeTried], share: float
) -> list[Search]:
    """Searches for what was not tried and is predicted, by some of what was, to be in a share of the tolerance."""
    model = question.cell.model
    family = FAMILIES[model.family].in_shell(question.cell.shell)
    target, power = _line(predicted, through)
    return [
        Search(
            family, family.options(**model.options), model.size, predicted, target, step,
            tolerance=share * TOLERANCE / power, tried={one.dimensions for one in tried},
        )
        for step in steps_of(family, model.size)
    ]  # fmt: skip


def _line(predicted: Cost, through: Sequence[SizeTried]) -> tuple[float, float]:
    """The predicted cost at which the ratio is 1, and the power of it that the ratio is taken to be.

    The line, in logarithms, goes through the size that came nearest; its slope is that towards the nearest on the other
    side of 1, or else the next nearest.
    """
    first, *others = sorted(through, key=_off)
    at = {one.dimensions: predicted(one.dimensions) for one in through}
    above, here = first.ratio.estimate > 1, at[first.dimensions]
    others = [one for one in others if not math.isclose(at[one.dimensions], here, rel_tol=1e-6)]
    opposite = [one for one in others if (one.ratio.estimate > 1) != above]
    power = 1.0
    if others:
        second = (opposite or others)[0]
        slope = math.log(second.ratio.estimate / first.ratio.estimate) / math.log(at[second.dimensions] / here)
        power = min(max(slope, LEAST_POWER), MOST_POWER) if slope > 0 else 1.0
    return here * first.ratio.estimate ** (-1 / power), power


def _predicted(question: SizeQuestion, tried: Sequence[SizeTried]) -> Cost:
    """The cost that sizes are predicted to have: a sum of what may bound it, each as much as fits what was measured."""
    guide, parts = guide_of(question), parts_of(question)
    if len(tried) < 2:
        return guide
    from scipy.optimize import nnls  # takes as long to import as all else here

    rows = np.array([[part / one.ratio.estimate for part in parts(one.dimensions)] for one in tried])
    scale = rows.max(axis=0)
    shares = nnls(rows / scale, np.ones(len(rows)))[0]
    shares[0] = max(shares[0], LEAST_SHARE)  # or nothing would tell one MLP from another
    weights = shares / scale
    return lambda dimensions: float(weights @ np.array(parts(dimensions)))


def parts_of(question: SizeQuestion) -> Callable[[Dimensions], Sequence[float]]:
    """What may bound the cost, each a sum over blocks.

    Of time that is arithmetic, MACs; the memory that tokens are moved through, which goes with a block's width; and
    launches, which go with blocks. Of memory it is what goes with parameters; what autograd keeps of tokens, some
    twelve of a block's width and three of its MLP's; and what is there whatever the model.
    """
    cell = question.cell
    family = FAMILIES[cell.model.family].in_shell(cell.shell)
    options, setting = family.options(**cell.model.options), match_setting(cell, "macs")

    def parts(dimensions: Dimensions) -> Sequence[float]:
        found = backbone_cost(
            family, dimensions, setting.patch, options, input_size=setting.input_size, in_channels=3, num_classes=None,
            conditioned=setting.conditioned, patch_frames=setting.patch_frames,
        )  # fmt: skip
        depth, width, _, hidden = dimensions
        if question.by == "step_time":
            return found.macs, depth * width, depth
        return found.params, depth * (12 * width + 3 * (hidden or 0)), 1

    return parts


def guide_of(question: SizeQuestion) -> Cost:
    """What goes about as the measured cost does, until two sizes have been measured: MACs.

    Of memory it is float32 weights, their average, gradients and two moments, and what autograd keeps of tokens.
    """
    cell, parts = question.cell, parts_of(question)
    if question.by == "step_time":
        return lambda dimensions: float(parts(dimensions)[0])
    sides = SOURCES[cell.data.name].sides(cell.data)
    tokens = math.prod(grid_of(sides, cell.model.patch, cell.model.patch_frames))
    kept = 4.0 * tokens * cell.train.batch_size / cell.train.accumulate
    return lambda dimensions: 20.0 * parts(dimensions)[0] + kept * parts(dimensions)[1]
