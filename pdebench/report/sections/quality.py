"""Quality against what it took: training FLOPs, seconds and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pdebench.report import formatting
from pdebench.report.budgets import budgets
from pdebench.report.charts import (
    Axis,
    Figure,
    Row,
    capital,
    in_one_unit,
    layers,
    medians_of,
    on_axes,
    place_of,
    points_of,
    slug,
    thinned,
    worth_drawing,
)
from pdebench.report.differences import SAMPLED, STEP
from pdebench.report.frame import (
    families_in,
    finished,
    measured,
    named,
    plain_value,
    plain_values,
    records,
    scores_in,
)

UNITS = {"flops_train": "FLOPs", "train_seconds": "seconds", "peak_memory_bytes": "MiB of peak memory"}
APART = {
    "flops_train": ("train.precision",),
    "train_seconds": STEP,
    "peak_memory_bytes": (*STEP, "peak_memory_kind"),
}
"""Columns that split the curves of an axis where they differ; a batch size is told by the setting."""


FEW = 4  # families whose best a caption tells

_AXES = {
    "flops_train": "training FLOPs",
    "train_seconds": "training seconds",
    "peak_memory_bytes": "peak memory, MiB",
}

TOLD = ("metric_samples", "train.batch_size")
"""Of these a point's curve or setting says which it is of."""


@dataclass(frozen=True)
class Quality:
    """The section: for each quality measure its title and its charts, those of one data set and resolution together."""

    groups: list[tuple[str, list[list[Figure]]]]

    @property
    def figures(self) -> list[Figure]:
        """All charts of the section."""
        return [figure for _, places in self.groups for figures in places for figure in figures]


def quality(table: pd.DataFrame) -> Quality | None:
    """The section of a frame; None where no quality was measured."""
    groups = quality_figures(table)
    return Quality(groups) if groups else None


def quality_figures(table: pd.DataFrame) -> list[tuple[str, list[list[Figure]]]]:
    """For each quality measure and each data set and resolution: panels against FLOPs, seconds and memory.

    Rows with different sample counts are different curves: a Frechet distance falls with the count. So are seconds and
    memory of different machines, and memory that was measured in different ways.
    """
    done = finished(table)
    axes = [
        Axis("flops_train", _AXES["flops_train"], log=True),
        Axis("train_seconds", _AXES["train_seconds"]),
        Axis("peak_memory_bytes", _AXES["peak_memory_bytes"], scale=2**20),
    ]
    groups = []
    scores = [
        Axis(score.column, score.title, short=score.short, higher_is_better=score.higher_is_better)
        for score in scores_in(done)
    ]
    for y in [Axis("val_loss", "validation loss"), *scores]:
        if not measured(done, [y.column]):
            continue
        places = []
        for (name, resolution), rows in done.groupby(["data.name", "data.resolution"], dropna=False):
            known = [(x, on_axes(rows[rows[[x.column, y.column]].notna().all(axis=1)], x)) for x in axes]
            place = place_of(name, resolution, done)
            made = [_quality(drawn, table, x, y, place, note) for x, (drawn, note) in known if len(drawn)]
            places.append([figure for figure in made if figure])
        groups.append((capital(y.title), [figures for figures in places if figures]))
    return [(title, places) for title, places in groups if places]


def _quality(rows: pd.DataFrame, table: pd.DataFrame, x: Axis, y: Axis, place: str, left_out: str) -> Figure | None:
    """None where there is nothing to see that the table at a glance does not say: see `worth_drawing`."""
    if x.column == "flops_train":
        x = in_one_unit(x, rows[x.column], "FLOPs")
    score = y.column != "val_loss"
    sampled = score and bool(rows["metric_samples"].notna().any())
    counts = rows["metric_samples"].map(lambda count: f"{count:,.0f}" if pd.notna(count) else "unknown")
    points = points_of(rows, x, y)
    flops = {row: one.flops for one in budgets(rows) for row in one.rows.index}
    for point, row in zip(points, rows.index, strict=True):
        if flops[row]:  # sizes of one budget are settings to choose from
            point["size"], point["budget"] = "", flops[row]
    wanted = (*APART[x.column], *(SAMPLED if score else ()))
    apart = [name for name in wanted if name in rows and name not in TOLD and plain_values(rows[name]).nunique() > 1]
    for point, count, row in zip(points, counts, records(rows[["model.family", *apart]]), strict=True):
        told = [named(name, plain_value(row[name])) if "." in name else str(row[name]) for name in apart]
        point["curve"] = ", ".join([point["family"], *([f"{count} samples"] if sampled else []), *told])
    medians = medians_of(points, ("curve", "setting", "size", "budget"))
    line = _frontier(medians, y)
    if not worth_drawing(points, line):
        return None
    top = y.best(point["y"] for point in medians)
    best = next(point for point in medians if point["y"] == top)
    told = [
        f"{family} {formatting.number(y.best(point['y'] for point in medians if point['family'] == family))}"
        for family in families_in(rows)
    ]
    end = "Highest" if y.higher_is_better else "Lowest"
    spent = formatting.amount(best["x"] * (x.scale if x.log else 1))
    sentence = (
        f"{capital(y.title)} against {_AXES[x.column]}, {place}. {end}: {best['family']}, "
        f"{formatting.number(best['y'])} at {spent} {UNITS[x.column]}."
    )
    if len(told) <= FEW:  # the table at a glance has all
        sentence += f" Best of each family: {formatting.listed(told)}."
    several = sorted(set(counts)) if sampled else []
    notes = [f"Sample counts differ ({formatting.listed(several)}): separate curves."] if len(several) > 1 else []
    if "machine_fingerprint" in apart:
        notes.append(f"{formatting.plural(rows['machine_fingerprint'].nunique(), 'machine')}: separate curves.")
    if unlike := [name.rpartition(".")[2].replace("_", " ") for name in apart if name != "machine_fingerprint"]:
        notes.append(f"Separate curves for different {formatting.listed(unlike)}.")
    note = " ".join([*notes, *filter(None, [left_out, thinned(points, medians, line)])])
    chart, drawn = layers(points, medians, line, table, x, y)
    return Figure(slug(y.column, x.column, place), f"{place}, {_AXES[x.column]}", sentence, chart, drawn, note)


def _frontier(medians: Sequence[Row], y: Axis) -> list[Row]:
    """The best setting of each curve at each budget: what a line may join."""
    best: dict[tuple[Any, ...], Row] = {}
    for row in medians:
        key = (row["curve"], row["size"], row["budget"])
        if key not in best or y.best((row["y"], best[key]["y"])) != best[key]["y"]:
            best[key] = row
    return list(best.values())
