"""Published results beside the cells that they are near, each with what was otherwise; they stand nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pdebench.anchors.load import anchors
from pdebench.anchors.schema import Anchor
from pdebench.report import formatting
from pdebench.report.charts import Row, run_of
from pdebench.report.frame import finished, records, representatives
from pdebench.report.published import METRICS, SAMPLERS, Gap, gap, imagenet_side, near, own_score

MOST_CELLS = 50


@dataclass(frozen=True)
class PublishedRow:
    """One result beside cells.

    Attributes:
        name: of the model.
        protocol: how it was trained and sampled, in short.
        scores: its values as printed; behind them those of others for the same result, each with whose it is.
        cost: its parameters and operations as printed.
        differences: what was otherwise, or is not known; empty where all is known of both, and the same.
        source: the paper and the place in it.
        read: the text that the numbers were read in, where that is another.
        note: what else is to be known.
    """

    name: str
    protocol: str
    scores: tuple[str, ...]
    cost: str
    differences: tuple[str, ...]
    source: str
    read: str
    note: str


@dataclass(frozen=True)
class BesideCells:
    """Cells that the same results are near, and differ from in the same: runs of several seeds, for most.

    Attributes:
        family: of the cells.
        resolution: side in pixels of the images that they learnt.
        cells: each in words, with its own scores.
        rows: the results, those with the fewest differences first, and else in the order of their files.
    """

    family: str
    resolution: int
    cells: list[str]
    rows: tuple[PublishedRow, ...]


@dataclass(frozen=True)
class Published:
    """The section; `more`: cells that have results near them and are not shown."""

    groups: list[BesideCells]
    more: int = 0


def published(table: pd.DataFrame) -> Published | None:
    """The section of a frame; None where no finished cell has a published result near it."""
    done = finished(table)
    learnt = done[[imagenet_side(row) is not None for row in records(done)]]
    if learnt.empty:  # of most reports, for which nothing is read
        return None
    kept = anchors()
    beside = learnt[[bool(near(row, kept)) for row in records(learnt)]]
    if beside.empty:
        return None
    shown = representatives(beside, MOST_CELLS)
    groups: dict[tuple[str, int, tuple[PublishedRow, ...]], list[str]] = {}
    for row in records(shown):
        found = near(row, kept)
        key = (str(row["model.family"]), found[0].resolution, _rows(row, found))
        groups.setdefault(key, []).append(_with_scores(row))
    return Published([BesideCells(*key[:2], cells, key[2]) for key, cells in groups.items()], len(beside) - len(shown))


def _rows(row: Row, found: list[Anchor]) -> tuple[PublishedRow, ...]:
    return tuple(sorted((_told(one, gap(row, one)) for one in found), key=lambda one: len(one.differences)))


def _with_scores(row: Row) -> str:
    own = [
        f"{title} {formatting.number(score)}"
        for name, title in METRICS.items()
        if (score := own_score(row, name)) is not None
    ]
    return ": ".join(filter(None, [run_of(row), ", ".join(own)]))


def _told(anchor: Anchor, found: Gap) -> PublishedRow:
    differences = [*found.differ]
    if found.unread:
        differences.append(f"not read of the publication: {formatting.listed(list(found.unread))}")
    if found.unrecorded:
        differences.append(f"not recorded here: {formatting.listed(list(found.unrecorded))}")
    scores = [", ".join(f"{METRICS[name]} {value}" for name, value in anchor.values.items())]
    scores += [f"{METRICS[one.metric]} {one.value}: {one.how}" for one in anchor.spread]
    return PublishedRow(
        anchor.name,
        _protocol(anchor),
        tuple(scores),
        _cost(anchor),
        tuple(differences),
        f"arXiv {anchor.source.arxiv}, {anchor.source.where}",
        "" if anchor.source.read == "the paper" else f"read in: {anchor.source.read}",
        anchor.note,
    )


def _protocol(anchor: Anchor) -> str:
    parts = [f"{formatting.number(anchor.steps)} steps"] if anchor.steps else []
    parts += [f"{anchor.images} M images"] if anchor.images else []
    if anchor.guidance is not None:
        parts.append("no guidance" if anchor.guidance == 1 else f"guidance {anchor.guidance:g}")
    if anchor.sampler is not None:
        parts.append(SAMPLERS[anchor.sampler] + (f" {anchor.nfe}" if anchor.nfe else ""))
    return ", ".join(parts)


def _cost(anchor: Anchor) -> str:
    counts = {"macs": "GMACs", "flops": "GFLOPs", "not said": "G operations"}
    parts = [f"{anchor.params} M"] if anchor.params else []
    parts += [f"{anchor.compute} {counts[anchor.compute_counts]}"] if anchor.compute and anchor.compute_counts else []
    return ", ".join(parts)
