"""The study in one table: how fast each family's loss falls, what it needs beside the reference, who ends ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdebench.report import formatting
from pdebench.report.sections.scaling_charts import family_of, parts
from pdebench.stats.comparison import ScalingComparison
from pdebench.stats.runs import SAME_BUDGET, Runs
from pdebench.stats.scaling import Scaling


@dataclass(frozen=True)
class HeadlineLine:
    """One family, as texts; a dash where nothing is known. What has an interval has it as another text.

    Attributes:
        family: for its mark.
        who: the group.
        gamma: of the best loss of each budget; a dash where some laws have a floor and others none.
        a: of the best size, from the profiles.
        flops: times the reference's, for one loss.
        images: times the reference's at equal parameters, for one loss.
        apart: whether the multiple of FLOPs is told from one, all comparisons together.
        loss: the least of the sizes at the largest budget, a size's median over its seeds.
        size: of it.
    """

    family: str
    who: str
    gamma: tuple[str, str]
    a: tuple[str, str]
    flops: tuple[str, str]
    images: tuple[str, str]
    apart: bool
    loss: str
    size: str


@dataclass(frozen=True)
class Headline:
    """The table of families that share their conditions.

    Attributes:
        budget: their largest in words.
        reference: the group that others are held against; empty where none could be.
        lines: least loss first.
    """

    budget: str
    reference: str
    lines: tuple[HeadlineLine, ...]


def headlines(found: Sequence[Scaling], compared: Sequence[ScalingComparison]) -> list[Headline]:
    """A table for each task and data on which several families ran.

    Args:
        found: the laws of all groups.
        compared: each beside the reference of its conditions.
    """
    beside = {one.family: one for one in compared}
    told = []
    for conditions in dict.fromkeys(one.runs.conditions for one in found):
        among = [one for one in found if one.runs.conditions == conditions and one.runs.count]
        if len(among) < 2:
            continue
        largest = max(float(one.runs.flops.max()) for one in among)
        best = {one.group: _best(one.runs, largest) for one in among}
        laws = [one.envelope for one in among if one.envelope is not None]
        # an exponent above a floor is another thing than one without
        alike = len({law.floor is None for law in laws}) == 1
        reference = next((beside[one.group].reference for one in among if one.group in beside), "")
        lines = []
        for one in sorted(among, key=lambda one: (best[one.group] or (np.inf, ""))[0]):
            against, reached = beside.get(one.group), best[one.group]
            multiples = (against.compute, against.images) if against else (None, None)
            flops, images = (
                ("1", "") if one.group == reference else parts(None if each is None else each.middle)
                for each in multiples
            )
            lines.append(
                HeadlineLine(
                    family=family_of(one.group),
                    who=one.group,
                    gamma=parts(one.envelope.gamma if alike and one.envelope is not None else None),
                    a=parts(None if one.isoflop is None else one.isoflop.a),
                    flops=flops,
                    images=images,
                    apart=against is not None and against.apart,
                    loss=formatting.MISSING if reached is None else formatting.number(reached[0]),
                    size=formatting.MISSING if reached is None else reached[1],
                )
            )
        told.append(Headline(formatting.amount(largest, "FLOPs"), reference, tuple(lines)))
    return told


def _best(runs: Runs, flops: float) -> tuple[float, str] | None:
    """The least loss at a budget, a size's median over its runs, and that size; None where the budget did not run."""
    there = runs.flops > flops / SAME_BUDGET
    sizes = np.array(runs.labels.size or [formatting.amount(n) for n in runs.n])
    losses = {str(size): float(np.median(runs.loss[there & (sizes == size)])) for size in np.unique(sizes[there])}
    if not losses:
        return None
    size = min(losses, key=losses.__getitem__)
    return losses[size], size
