"""The study in one table: how fast each family's loss falls, what it needs beside DiT, who is ahead at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdebench.report import formatting
from pdebench.report.sections.scaling_charts import family_of, within
from pdebench.stats.bootstrap import Interval
from pdebench.stats.comparison import comparisons
from pdebench.stats.runs import SAME_BUDGET, Runs
from pdebench.stats.scaling import Scaling

YARDSTICK = "DiT"


@dataclass(frozen=True)
class HeadlineLine:
    """One family, as texts; a dash where nothing is known.

    Attributes:
        family: for its mark.
        who: the group.
        gamma: of the best loss of each budget; a dash where some laws have a floor and others none.
        a: of the best size, from the profiles.
        flops: times DiT's, for one loss.
        images: times DiT's at equal parameters, for one loss.
        loss: the least of the sizes at the largest budget, a size's median over its seeds.
        size: of it.
    """

    family: str
    who: str
    gamma: str
    a: str
    flops: str
    images: str
    loss: str
    size: str


@dataclass(frozen=True)
class Headline:
    """The table of families that share their conditions; `budget` is their largest in words."""

    budget: str
    lines: tuple[HeadlineLine, ...]


def headlines(found: Sequence[Scaling]) -> list[Headline]:
    """A table for each task and data on which several families ran, least loss first."""
    beside = {one.family: one for one in comparisons(found, YARDSTICK) if one.reference.split(", ")[0] == YARDSTICK}
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
        lines = []
        for one in sorted(among, key=lambda one: (best[one.group] or (np.inf, ""))[0]):
            against, reached = beside.get(one.group), best[one.group]
            multiples = (against.compute, against.images) if against else (None, None)
            flops, images = (_told(None if each is None else each.middle) for each in multiples)
            lines.append(
                HeadlineLine(
                    family=family_of(one.group),
                    who=one.group,
                    gamma=_told(one.envelope.gamma if alike and one.envelope is not None else None),
                    a=_told(None if one.isoflop is None else one.isoflop.a),
                    flops=flops,
                    images=images,
                    loss=formatting.MISSING if reached is None else formatting.number(reached[0]),
                    size=formatting.MISSING if reached is None else reached[1],
                )
            )
        told.append(Headline(formatting.amount(largest, "FLOPs"), tuple(lines)))
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


def _told(found: Interval | None) -> str:
    return formatting.MISSING if found is None else within(found)
