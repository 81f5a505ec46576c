"""Quality against what it took: training FLOPs, seconds and memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pdebench.report import words
from pdebench.report.charts import Axis, Figure, Row, capital, layers, medians_of, place_of, points_of, slug
from pdebench.report.tidy import families_in, finished, frechet_columns, kid_columns, measured, metric_title


@dataclass(frozen=True)
class Quality:
    """The section: for each quality measure its title and its charts."""

    groups: list[tuple[str, list[Figure]]]

    @property
    def figures(self) -> list[Figure]:
        """All charts of the section."""
        return [figure for _, figures in self.groups for figure in figures]


def quality(table: pd.DataFrame) -> Quality | None:
    """The section of a tidy table; None where no quality was measured."""
    groups = quality_figures(table)
    return Quality(groups) if groups else None


def quality_figures(table: pd.DataFrame) -> list[tuple[str, list[Figure]]]:
    """For each quality measure: a panel for each data set and resolution, against FLOPs and against seconds.

    Rows with different sample counts are different curves: a Frechet distance falls with the count.
    """
    done = finished(table)
    scores = frechet_columns(done) + kid_columns(done)
    axes = [
        Axis("flops_train", "training FLOPs", log=True, format="~s"),
        Axis("train_seconds", "training seconds"),
    ]
    groups = []
    for column in measured(done, ["val_loss", *scores]):
        y = Axis(column, metric_title(column), short=metric_title(column).split(" (")[0])
        if column == "val_loss":
            y = Axis(column, "validation loss")
        figures = []
        for (name, resolution), rows in done.groupby(["data.name", "data.resolution"], dropna=False):
            for x in axes:
                drawn = rows[rows[[x.column, column]].notna().all(axis=1)]
                if len(drawn):
                    place = place_of(name, resolution, done)
                    figures.append(_quality(drawn, table, x, y, place))
        groups.append((capital(y.title), figures))
    return [(title, figures) for title, figures in groups if figures]


def _quality(rows: pd.DataFrame, table: pd.DataFrame, x: Axis, y: Axis, place: str) -> Figure:
    score = y.column != "val_loss"
    counts = rows["metric_samples"].map(lambda count: f"{count:,.0f}" if pd.notna(count) else "unknown")
    points = points_of(rows, x, y)
    for point, count in zip(points, counts, strict=True):
        point["curve"] = f"{point['family']}, {count} samples" if score else point["family"]
    medians = medians_of(points, ("curve", "setting", "size", "budget"))
    line = _frontier(medians)
    best = min(medians, key=lambda point: point["y"])
    told = [
        f"{family} {words.number(min(point['y'] for point in medians if point['family'] == family))}"
        for family in families_in(rows)
    ]
    sentence = (
        f"{capital(y.title)} against {x.title}, {place}. Lowest: {best['family']}, "
        f"{words.number(best['y'])} at {words.amount(best['x'])} {x.title.removeprefix('training ')}. "
        f"Best of each family: {words.listed(told)}."
    )
    several = sorted(set(counts)) if score else []
    note = f"Sample counts differ ({words.listed(several)}): separate curves." if len(several) > 1 else ""
    chart, drawn = layers(points, medians, line, table, x, y)
    return Figure(slug(y.column, x.column, place), f"{place}, {x.title}", sentence, chart, drawn, note)


def _frontier(medians: Sequence[Row]) -> list[Row]:
    """The best setting of each curve at each budget: what a line may join."""
    best: dict[tuple[Any, ...], Row] = {}
    for row in medians:
        key = (row["curve"], row["size"], row["budget"])
        if key not in best or row["y"] < best[key]["y"]:
            best[key] = row
    return list(best.values())
