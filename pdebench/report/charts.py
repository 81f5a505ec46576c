"""What the figures share: each is described once with Vega-Altair and has a sentence for those who cannot see it.

A chart names no colours and no page: `palette` gives those when it is drawn. Data go in as plain rows,
so that a table of any length and of any types makes the same figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from pdebench.report import formatting
from pdebench.report.frame import CLIP, families_in, family_order, plain_value, records

Row = dict[str, Any]


@dataclass(frozen=True)
class Layers:
    """Charts of the same rows on top of each other, as wide as their place.

    Altair's own layers copy each chart several times, which takes as long as all else that a page is made of.
    """

    charts: Sequence[alt.Chart]
    height: int

    def to_dict(self, validate: bool = True) -> dict[str, Any]:
        """Vega-Lite, without the rows."""
        told = [chart.to_dict(validate=validate) for chart in self.charts]
        once = ("$schema", "config", "data", "datasets")
        layers = [{key: part for key, part in one.items() if key not in once} for one in told]
        around = {"width": "container", "height": self.height, "autosize": {"type": "fit-x"}}
        return {"$schema": told[0]["$schema"], "layer": layers, **around}


Chart = alt.LayerChart | alt.FacetChart | Layers


@dataclass(frozen=True)
class Figure:
    """A chart and its data, a short title, and one sentence that tells what it shows with its key numbers."""

    name: str
    title: str
    description: str
    chart: Chart
    rows: list[Row]
    note: str = ""

    def spec(self) -> dict[str, Any]:
        """Vega-Lite, with the data and without a theme.

        The rows join it here: Altair would copy and check each of them several times.
        """
        return {**self._described, "data": {"values": self.rows}}

    @cached_property
    def _described(self) -> dict[str, Any]:
        """The chart, which the page and the files both ask for."""
        spec: dict[str, Any] = self.chart.to_dict(validate=False)
        spec.pop("config", None)
        return spec


FEWEST_POINTS = 6
"""Different points from which on a chart shows what a table of the same numbers does not: how they lie."""

MOST_TICKS = 6
"""Of a logarithmic axis: more run into each other on a phone."""

MOST_POINTS = 400
"""Points of a chart that stand for single runs, and those that stand for settings: of more none can be told apart."""

TOLD = (
    "model.family",
    "model_name",
    "model.size",
    "model.patch",
    "data.resolution",
    "setting",
    "train.seed",
    "train.steps",
    "train.batch_size",
)
"""Columns that a point of a chart is told with; a row of a table has ten times as many."""


@dataclass(frozen=True)
class Axis:
    """A column of the table as a chart shows it; `format` is d3's."""

    column: str
    title: str
    log: bool = False
    format: str = ",f"
    scale: float = 1.0  # the data are divided by this
    short: str = ""  # on the axis, where the title is long
    higher_is_better: bool = False

    @property
    def best(self) -> Callable[[Iterable[float]], float]:
        """What picks the best of some values."""
        return max if self.higher_is_better else min


def worth_drawing(points: Sequence[Row], line: Sequence[Row]) -> bool:
    """Whether there is more to see than a table says: enough different points, or a trend, a curve of three or more."""
    curves: dict[str, set[float]] = {}
    for point in line:
        curves.setdefault(point["curve"], set()).add(point["x"])
    trend = any(len(places) > 2 for places in curves.values())
    return trend or len({(point["x"], point["y"]) for point in points}) >= FEWEST_POINTS


def points_of(rows: pd.DataFrame, x: Axis, y: Axis) -> list[Row]:
    """One row a cell: its family, what it ran with, and where it stands."""
    budget = ["train.steps", "train.batch_size", "model.patch", *(name for name in CLIP if name in rows)]
    return [
        {
            "family": row["model.family"],
            "run": run_of(row),
            "setting": row["setting"],
            "size": row["model.size"],
            "budget": " ".join(plain_value(row[name]) for name in budget),
            "x": digits(row[x.column] / x.scale),
            "y": digits(row[y.column] / y.scale),
        }
        for row in records(rows[list(dict.fromkeys([*TOLD, *budget, x.column, y.column]))])
    ]


def on_axes(rows: pd.DataFrame, *axes: Axis) -> tuple[pd.DataFrame, str]:
    """The rows that have a place on these axes, and a note of those of 0 or below where one is logarithmic."""
    left_out = []
    for axis in axes:
        if axis.log:
            fits = rows[axis.column] > 0
            if count := int((~fits).sum()):
                left_out.append(f"{formatting.plural(count, 'run')} with {axis.title} of 0 or less")
            rows = rows[fits]
    note = f"Left out, since the axis is logarithmic: {formatting.listed(left_out)}." if left_out else ""
    return rows, note


def medians_of(points: Sequence[Row], keys: tuple[str, ...]) -> list[Row]:
    """One row a group: the median over seeds (and whatever else is not among the keys)."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for point in points:
        groups.setdefault(tuple(point[key] for key in keys), []).append(point)
    merged = []
    for group in groups.values():
        row = dict(group[0])
        for axis in ("x", "y"):
            row[axis] = digits(float(np.median([point[axis] for point in group])))
        row["run"] = f"{row['curve']}: median of {len(group)}" if len(group) > 1 else row["run"]
        lows = [point["low"] for point in group if "low" in point]
        if lows:
            row["low"], row["high"] = min(lows), max(point["high"] for point in group if "high" in point)
        merged.append(row)
    return merged


def layers(
    points: Sequence[Row],
    medians: Sequence[Row],
    line: Sequence[Row],
    table: pd.DataFrame,
    x: Axis,
    y: Axis,
    ticks: dict[str, list[str]] | None = None,
    crossings: Sequence[Row] = (),
) -> tuple[Chart, list[Row]]:
    """Lines through medians, error bars where there are quartiles, faint single runs, medians on top.

    A crossing is a dashed line across the chart, its interval a band around it.
    """
    x_scale, y_scale = scale_of(points, "x", x.log), scale_of(points, "y", y.log)
    x_axis = alt.Axis(format=x.format, tickCount=4)
    if x.log and not ticks:
        x_axis = alt.Axis(format=x.format, values=round_ticks(points, "x"))
    if ticks:
        label = f"{{{','.join(f'{key!r}:{value!r}' for key, value in ticks.items())}}}[datum.value]"
        x_axis = alt.Axis(values=[float(key) for key in ticks], labelExpr=label)
    x_field = alt.X("x:Q", title=x.title, axis=x_axis, scale=x_scale)
    y_axis = alt.Axis(format=y.format, tickCount=5)
    if y.log and (ticks_of_y := round_ticks(points, "y")):
        y_axis = alt.Axis(format=",.4~g", values=ticks_of_y)
    y_field = alt.Y("y:Q", title=y.short or y.title, axis=y_axis, scale=y_scale)
    tooltip = tooltip_of([("run", "run", ""), ("x", x.title, ".4s" if x.log else ",.4~g"), ("y", y.title, ".4g")])
    base = alt.Chart().encode(x=x_field, y=y_field, color=color_of(table))
    single, settings = drawn_of(points, medians, line)
    rows = [{**row, "layer": "run"} for row in single]
    rows += [{**row, "layer": "median"} for row in settings]
    rows += [{**row, "layer": "line"} for row in line]
    rows += crossings

    def only(layer: str) -> alt.Chart:
        return base.transform_filter(f"datum.layer === '{layer}'")

    bars = only("median").transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.5, opacity=0.75)
    crossing = alt.Chart().transform_filter("datum.layer === 'crossing'").encode(color=color_of(table))
    told = tooltip_of([("run", "where", ""), ("x", x.title, ",.0f"), ("from", "from", ",.0f"), ("to", "to", ",.0f")])
    marked = [
        crossing.mark_rect(opacity=0.15).encode(
            x=alt.X("from:Q", title=x.title, axis=x_axis, scale=x_scale), x2="to:Q"
        ),
        crossing.mark_rule(strokeWidth=1.5, strokeDash=[5, 4]).encode(x=x_field, tooltip=told),
    ]
    drawn = [
        *(marked if crossings else []),
        only("line").mark_line(strokeWidth=1.6, opacity=0.75).encode(detail="curve:N"),
        bars.encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q")),
        only("run").mark_point(filled=True, size=36, opacity=0.4).encode(shape=shape_of(table), tooltip=tooltip),
        only("median").mark_point(filled=True, size=95, opacity=1).encode(shape=shape_of(table), tooltip=tooltip),
    ]
    return Layers(drawn, 230), rows


def drawn_of(points: Sequence[Row], medians: Sequence[Row], line: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
    """The single runs and the medians that a chart draws.

    Too many runs are none, since their medians say it. Of too many medians, those of the line are drawn and of the
    others, from the lowest to the highest, as many as there is room for, evenly spaced.
    """
    single = points if len(medians) < len(points) <= MOST_POINTS else []
    if len(medians) <= MOST_POINTS:
        return single, medians
    kept = {id(row) for row in line}
    rest = sorted((row for row in medians if id(row) not in kept), key=lambda row: float(row["y"]))
    room = min(len(rest), max(0, MOST_POINTS - len(line)))
    kept |= {id(rest[place]) for place in np.linspace(0, len(rest) - 1, room).round().astype(int)}
    return single, [row for row in medians if id(row) in kept]


def thinned(points: Sequence[Row], medians: Sequence[Row], line: Sequence[Row]) -> str:
    """What a chart of these leaves out, in a sentence for its note; empty where nothing."""
    single, settings = drawn_of(points, medians, line)
    told = []
    if len(medians) < len(points) and not single:
        told.append(f"{len(points):,} single runs are not drawn, only their medians.")
    if len(settings) < len(medians):
        told.append(
            f"Of {len(medians):,} settings {len(settings):,} are drawn: the best of each budget, and others evenly "
            "spaced from the lowest to the highest."
        )
    return " ".join(told)


def scale_of(points: Sequence[Row], axis: str, log: bool) -> alt.Scale:
    """A domain with room around the data, also where all of them are one number."""
    values = [point[axis] for point in points]
    if axis == "y":
        values += [point[end] for point in points for end in ("low", "high") if end in point]
    low, high = min(values), max(values)
    if log and low > 0:
        margin = max((high / low) ** 0.12, 1.15)
        return alt.Scale(type="log", domain=[digits(low / margin), digits(high * margin)], nice=False)
    margin = max((high - low) * 0.12, abs(high) * 0.02, 1e-12)
    start = max(0.0, low - margin) if low >= 0 else low - margin
    return alt.Scale(domain=[digits(start), digits(high + margin)], zero=False, nice=False)


def round_ticks(points: Sequence[Row], axis: str) -> list[float]:
    """Ticks of a logarithmic axis, three to seven where its numbers allow.

    Powers of ten where they are many, else 1, 2 and 5 of each decade, else round steps: an axis of less than a decade
    has two of the former at most.
    """
    low, high = scale_of(points, axis, True).to_dict()["domain"]
    if low <= 0:  # a quartile of 0: the axis is linear then
        return []
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    for leads in ((1,), (1, 3), (1, 2, 5)):
        shown = [tick for power in decades for lead in leads if low <= (tick := digits(lead * 10.0**power)) <= high]
        if len(shown) >= MOST_TICKS:  # of wide axes every second decade, or third
            return shown[:: math.ceil(len(shown) / MOST_TICKS)]
        if len(shown) > 3 or (len(shown) == 3 and len(leads) == 3):
            return shown
    step = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(step))
    step = next(lead * unit for lead in (1, 2, 2.5, 5, 10) if lead * unit >= step)
    return [digits(place * step) for place in range(math.ceil(low / step), math.floor(high / step) + 1)]


SI = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def in_one_unit(axis: Axis, values: Iterable[float], unit: str) -> Axis:
    """The axis with one SI prefix for all its ticks, in its title: no `900G` beside `1T`.

    Args:
        axis: its title ends with the unit.
        values: what it shows, above 0.
        unit: that unit.
    """
    size, prefix = unit_of(values)
    return replace(axis, scale=size, format=",.6~g", title=f"{axis.title.removesuffix(unit)}{prefix}{unit}")


def unit_of(values: Iterable[float]) -> tuple[float, str]:
    """The SI prefix that serves numbers above 0 best, and what it stands for."""
    middle = float(np.median(list(values)))
    return next(((size, prefix) for size, prefix in SI if 1.05 * middle >= size), (1.0, ""))


def sized(chart: alt.LayerChart | alt.FacetChart, height: int) -> alt.LayerChart | alt.FacetChart:
    """As wide as its place, so many pixels high."""
    return chart.properties(width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x"))


def color_of(table: pd.DataFrame) -> alt.Color:
    """The colour of a mark: its family's place in the palette."""
    legend = alt.Legend(values=families_in(table), title=None)
    return alt.Color("family:N", scale=alt.Scale(domain=family_order(table)), legend=legend)


def shape_of(table: pd.DataFrame) -> alt.Shape:
    """The shape of a mark: its family's place in the palette."""
    legend = alt.Legend(values=families_in(table), title=None)
    return alt.Shape("family:N", scale=alt.Scale(domain=family_order(table)), legend=legend)


def tooltip_of(fields: Sequence[tuple[str, str, str]]) -> list[alt.Tooltip]:
    """Fields as (column of the rows, title, d3 format; without a format it is text)."""
    return [
        alt.Tooltip(f"{name}:Q", title=title, format=form) if form else alt.Tooltip(f"{name}:N", title=title)
        for name, title, form in fields
    ]


def run_of(row: Row) -> str:
    """A run in words: `DiT-S/2, 32 px, lr 0.001, seed 0`."""
    parts = [str(row["model_name"] or row["model.family"])]
    parts += [f"{row['data.resolution']:g} px"] if pd.notna(row["data.resolution"]) else []
    parts += [row["setting"]] if row["setting"] else []
    parts += [f"seed {row['train.seed']:g}"] if pd.notna(row["train.seed"]) else []
    return ", ".join(parts)


def place_of(name: Any, resolution: Any, table: pd.DataFrame) -> str:
    """The data set and resolution of a panel, the data set only where there are several."""
    side = f"{resolution:g} px" if pd.notna(resolution) else "unknown resolution"
    return f"{name} {side}" if table["data.name"].nunique() > 1 and not formatting.missing(name) else side


def slug(*parts: str) -> str:
    """A name for an element and a file: lower case letters, digits and hyphens."""
    return "-".join("".join(c if c.isalnum() else "-" for c in part.lower()) for part in parts)


def file_name(name: str) -> str:
    """A slug as a file's name: at most 200 bytes, since a file system takes 255."""
    return name.encode()[:200].decode(errors="ignore")


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def digits(value: float) -> float:
    """Six significant digits: enough for any screen, and half the bytes."""
    return float(f"{float(value):.6g}")
