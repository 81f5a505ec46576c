"""The section on classification: how often each family is right, how well it knows that, and at other resolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from pdebench.report import formatting
from pdebench.report.charts import Axis, Figure, layers, medians_of, place_of, points_of, slug, thinned
from pdebench.report.compare import Measure, rank
from pdebench.report.comparisons import Comparison
from pdebench.report.frame import families_in, finished, measured, noun_of
from pdebench.tasks.columns import at_side, side_of

MEASURES = (
    Measure("top1", "Top-1", False, "signed"),
    Measure("top5", "Top-5", False, "signed"),
    Measure("ece", "Calibration error", True, "signed"),
    Measure("classify_images_per_s", "Inference", False, "rate"),
)
SIDE, THERE = "side", "top1_there"


@dataclass(frozen=True)
class ClassificationLine:
    """One family's line in a table: what was measured, and at each side; `best`: it leads, as an interval tells."""

    family: str
    setting: str
    seeds: int
    values: tuple[str, ...]
    best: tuple[bool, ...]


@dataclass(frozen=True)
class ClassificationTable:
    """Families that may be compared, as `heads` says."""

    label: str
    lines: list[ClassificationLine]


@dataclass(frozen=True)
class Classification:
    """The section: a table for each comparison, and accuracy against the resolution that was looked at."""

    heads: list[str]
    tables: list[ClassificationTable]
    figures: list[Figure]


def classification(table: pd.DataFrame, comparisons: Sequence[Comparison]) -> Classification | None:
    """The section of a frame; None where nothing was classified."""
    done = finished(table)
    if not measured(done, ["top1"]):
        return None
    sides = sides_of(done)
    noun = noun_of(done)
    shown = [replace(measure, noun=noun) for measure in MEASURES if measured(done, [measure.column])]
    shown += [Measure(at_side("top1", side), f"Top-1 at {side} px", False, "signed") for side in sides]
    tables = [_table(comparison, shown) for comparison in comparisons]
    return Classification(
        [measure.title for measure in shown], [one for one in tables if one.lines], _figures(done, table, sides)
    )


def sides_of(done: pd.DataFrame) -> list[int]:
    """The sides at which accuracy was measured too, in pixels."""
    found = (side_of(str(column)) for column in measured(done, [str(name) for name in done]))
    return sorted(one[1] for one in found if one is not None and one[0] == "top1")


def _table(comparison: Comparison, shown: Sequence[Measure]) -> ClassificationTable:
    entries = [entry for entry in comparison.entries if len(entry.values("top1"))]
    ahead = [rank(measure, comparison).ahead for measure in shown]
    lines = []
    for entry in entries:
        told = tuple(_shown(measure, entry.median(measure.column)) for measure in shown)
        leads = tuple(entry.family == name for name in ahead)
        lines.append(ClassificationLine(entry.family, entry.told, entry.seeds, told, leads))
    return ClassificationTable(comparison.label, lines)


def _shown(measure: Measure, value: float) -> str:
    if measure.kind == "rate" or formatting.missing(value):
        return measure.show(value)
    return f"{100 * value:.1f}%"


def _figures(done: pd.DataFrame, table: pd.DataFrame, sides: Sequence[int]) -> list[Figure]:
    """Accuracy against the side that images had when it was measured, a chart a data set and resolution of training."""
    x = Axis(SIDE, "resolution that is evaluated, px")
    y = Axis(THERE, "top-1 accuracy", format=".0%", higher_is_better=True)
    made = []
    for (name, resolution), rows in done.groupby(["data.name", "data.resolution"], dropna=False):
        parts = []
        for column in (at_side("top1", side) for side in sides):
            part = rows[rows[column].notna()].copy()
            part[SIDE], part[THERE] = float(column.rpartition("_")[2]), part[column].astype(float)
            parts.append(part)
        long = pd.concat(parts, ignore_index=True) if parts else rows[:0]
        if long.empty or long[SIDE].nunique() < 2:
            continue
        points = points_of(long, x, y)
        for point in points:
            point["curve"] = ", ".join(filter(None, [point["family"], point["setting"]]))
        medians = medians_of(points, ("curve", "x"))
        place = place_of(name, resolution, done)
        told = []
        for family in families_in(long):
            own = sorted((point for point in medians if point["family"] == family), key=lambda point: point["x"])
            where = [f"{100 * one['y']:.1f}% at {one['x']:g} px" for one in own]
            told.append(f"{family} {', '.join(where)}")
        sentence = f"Top-1 accuracy with the weights as trained at {place}: {'; '.join(told)}."
        ticks = {f"{side:g}": [f"{side:g} px"] for side in sorted(long[SIDE].unique())}
        chart, drawn = layers(points, medians, medians, table, x, y, ticks)
        note = thinned(points, medians, medians)
        made.append(Figure(slug("top1", "resolutions", place), f"Trained at {place}", sentence, chart, drawn, note))
    return made
