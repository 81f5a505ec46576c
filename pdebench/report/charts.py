"""The figures, each described once with Vega-Altair and given a sentence for those who cannot see it.

A chart names no colours and no page: `palette` gives those when it is drawn. Data go in as plain rows,
so that a table of any length and of any types makes the same figure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from pdebench.report import words
from pdebench.report.crossover import REFERENCE, Crossover, Measured, crossovers
from pdebench.report.crossover import measured as median_of
from pdebench.report.tidy import (
    families_in,
    family_order,
    finished,
    frechet_columns,
    kid_columns,
    measured,
    metric_title,
    records,
)

MAX_TRAIN_POINTS = 8000
"""Points of all training curves together: keeps a report of hundreds of cells small."""

Row = dict[str, Any]
Chart = alt.LayerChart | alt.FacetChart


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
        spec = self.chart.to_dict(validate=False)
        spec.pop("config", None)
        return {**spec, "data": {"values": self.rows}}


@dataclass(frozen=True)
class _Axis:
    column: str
    title: str
    log: bool = False
    format: str = ",f"
    scale: float = 1.0  # the data are divided by this
    short: str = ""  # on the axis, where the title is long


def quality_figures(table: pd.DataFrame) -> list[tuple[str, list[Figure]]]:
    """For each quality measure: a panel for each data set and resolution, against FLOPs and against seconds.

    Rows with different sample counts are different curves: a Frechet distance falls with the count.
    """
    done = finished(table)
    scores = frechet_columns(done) + kid_columns(done)
    axes = [
        _Axis("flops_train", "training FLOPs", log=True, format="~s"),
        _Axis("train_seconds", "training seconds"),
    ]
    groups = []
    for column in measured(done, ["val_loss", *scores]):
        y = _Axis(column, metric_title(column), short=metric_title(column).split(" (")[0])
        if column == "val_loss":
            y = _Axis(column, "validation loss")
        figures = []
        for (name, resolution), rows in done.groupby(["data.name", "data.resolution"], dropna=False):
            for x in axes:
                drawn = rows[rows[[x.column, column]].notna().all(axis=1)]
                if len(drawn):
                    place = _place(name, resolution, done)
                    figures.append(_quality(drawn, table, x, y, place))
        groups.append((_capital(y.title), figures))
    return [(title, figures) for title, figures in groups if figures]


def _quality(rows: pd.DataFrame, table: pd.DataFrame, x: _Axis, y: _Axis, place: str) -> Figure:
    score = y.column != "val_loss"
    counts = rows["metric_samples"].map(lambda count: f"{count:,.0f}" if pd.notna(count) else "unknown")
    points = _rows(rows, x, y)
    for point, count in zip(points, counts, strict=True):
        point["curve"] = f"{point['family']}, {count} samples" if score else point["family"]
    medians = _medians(points, ("curve", "setting", "size", "budget"))
    line = _frontier(medians)
    best = min(medians, key=lambda point: point["y"])
    told = [
        f"{family} {words.number(min(point['y'] for point in medians if point['family'] == family))}"
        for family in families_in(rows)
    ]
    sentence = (
        f"{_capital(y.title)} against {x.title}, {place}. Lowest: {best['family']}, "
        f"{words.number(best['y'])} at {words.amount(best['x'])} {x.title.removeprefix('training ')}. "
        f"Best of each family: {words.listed(told)}."
    )
    several = sorted(set(counts)) if score else []
    note = f"Sample counts differ ({words.listed(several)}): separate curves." if len(several) > 1 else ""
    chart, drawn = _layers(points, medians, line, table, x, y)
    return Figure(_slug(y.column, x.column, place), f"{place}, {x.title}", sentence, chart, drawn, note)


def cost_figures(table: pd.DataFrame, kind: str) -> list[Figure]:
    """`speed`: training and sampling throughput against tokens, with quartiles. `memory`: peak memory."""
    done = finished(table)
    columns = {
        "speed": [
            _Axis("train_images_per_s", "training, images/s", log=True),
            _Axis("sample_images_per_s", "sampling, images/s", log=True),
            _Axis("block_images_per_s", "one block forward and backward, images/s", log=True, short="block, images/s"),
            _Axis(
                "mixer_images_per_s",
                "the mixer alone, forward and backward, images/s",
                log=True,
                short="mixer, images/s",
            ),
        ],
        "memory": [
            _Axis("peak_memory_bytes", "peak memory, MiB", log=True, scale=2**20),
            _Axis(
                "block_held_bytes_an_image",
                "held by one block for its backward pass, MiB an image",
                log=True,
                scale=2**20,
                short="held by a block, MiB",
            ),
            _Axis(
                "mixer_held_bytes_an_image",
                "held by the mixer for its backward pass, MiB an image",
                log=True,
                scale=2**20,
                short="held by the mixer, MiB",
            ),
        ],
    }[kind]
    x = _Axis("tokens", "tokens", log=True)
    if done["tokens"].isna().all():
        x = _Axis("data.resolution", "resolution, px", log=True)
    figures = []
    for y in columns:
        rows = done[done[[x.column, y.column]].notna().all(axis=1)]
        rows = rows[rows[y.column] > 0]
        if len(rows):
            figures.append(_cost(rows, table, x, y))
    return figures


def _cost(rows: pd.DataFrame, table: pd.DataFrame, x: _Axis, y: _Axis) -> Figure:
    points = _rows(rows, x, y)
    several_sizes = rows["model.size"].nunique() > 1
    kinds = rows["peak_memory_kind"].nunique() > 1 and y.column == "peak_memory_bytes"
    several_patches = rows["model.patch"].nunique() > 1  # the same tokens of images of another size, in other batches
    several_machines = rows["machine_fingerprint"].nunique() > 1
    for point, row in zip(points, records(rows), strict=True):
        parts = [point["family"]]
        parts += [str(row["model.size"])] if several_sizes else []
        parts += [f"patch {row['model.patch']:g}"] if several_patches and pd.notna(row["model.patch"]) else []
        parts += [str(row["peak_memory_kind"])] if kinds else []
        parts += [str(row["machine_fingerprint"])] if several_machines else []
        point["curve"] = ", ".join(parts)
        low, high = row.get(f"{y.column}_q1"), row.get(f"{y.column}_q3")
        if low is not None and high is not None and not words.missing(low) and not words.missing(high):
            point["low"], point["high"] = _digits(low / y.scale), _digits(high / y.scale)
    medians = _medians(points, ("curve", "x"))
    ticks = {}
    for tokens, resolutions in rows.groupby(x.column)["data.resolution"]:
        sides = sorted({f"{side:g}" for side in resolutions.dropna()}, key=float)
        ticks[f"{tokens:g}"] = [f"{tokens:,.0f}", f"{'/'.join(sides)} px"] if x.column == "tokens" else [f"{tokens:g}"]
    told = []
    for curve in sorted({point["curve"] for point in medians}, key=lambda name: _rank(name, rows)):
        own = sorted((point for point in medians if point["curve"] == curve), key=lambda point: point["x"])
        first, last = own[0], own[-1]
        text = f"{curve} {words.number(first['y'], 3)} at {first['x']:g} {x.title}"
        told.append(text + (f" to {words.number(last['y'], 3)} at {last['x']:g}" if last is not first else ""))
    sentence = f"{_capital(y.title)}, against {x.title}: {'; '.join(told)}."
    # of one run's peak memory no scatter is known, so where two lines meet may be chance
    chance = y.column == "peak_memory_bytes"
    crossed = [] if chance else _crossed([point["curve"] for point in points], rows, x, y)
    if crossed:
        sentence += f" {' '.join(_crossing_words(curve, other, one) for curve, other, one in crossed)}"
    marks = [_crossing_row(curve, one) for curve, _, one in crossed]
    chart, drawn = _layers(points, medians, medians, table, x, y, ticks, marks)
    return Figure(_slug(y.column), _capital(y.title), sentence, chart, drawn)


def _crossed(curves: Sequence[str], rows: pd.DataFrame, x: _Axis, y: _Axis) -> list[tuple[str, str, Crossover]]:
    """Each curve that passes DiT's of the same size, kind and machine, with that one and where."""
    names = pd.Series(list(curves), index=rows.index)
    by_size: dict[str, dict[float, Measured]] = {}
    for curve, own in rows.groupby(names):
        by_size[str(curve)] = {tokens: median_of(part, y.column) for tokens, part in own.groupby(x.column)}  # type: ignore[misc]
    found = []
    for curve in sorted(by_size, key=lambda name: _rank(name, rows)):
        other = ", ".join([REFERENCE, *curve.split(", ")[1:]])
        if other != curve and other in by_size:
            found += [(curve, other, one) for one in crossovers(by_size[curve], by_size[other])]
    return found


def _crossing_words(curve: str, other: str, one: Crossover) -> str:
    ends = [f"{end:,.0f}" if end is not None else "" for end in (one.low, one.high)]
    interval = ""
    if any(ends):
        interval = f" (95% interval {ends[0] or 'below what was measured'} to {ends[1] or 'beyond what was measured'})"
    return f"{curve} {'rises above' if one.rises else 'falls below'} {other} at {one.at:,.0f} tokens{interval}."


def _crossing_row(curve: str, one: Crossover) -> Row:
    return {
        "layer": "crossing",
        "family": curve.split(", ")[0],
        "run": f"{curve} passes {REFERENCE}",
        "x": _digits(one.at),
        "from": _digits(one.low or (one.measured or (one.at,))[0]),
        "to": _digits(one.high or (one.measured or (one.at,))[-1]),
    }


def loss_figure(table: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Training loss, smoothed, and validation loss against steps; a menu chooses the resolution."""
    needed = {"cell", "step"}
    if curves.empty or not needed <= set(curves.columns) or not {"train_loss", "val_loss"} & set(curves.columns):
        return None
    known = {row["cell"]: row for row in records(table)}
    runs = dict(list(curves.groupby("cell", sort=False)))
    cells = [cell for cell in known if cell in runs]
    budget = max(16, MAX_TRAIN_POINTS // max(1, len(cells)))
    train: list[Row] = []
    validation: list[Row] = []
    for cell in cells:
        row = known[cell]
        curve = runs[cell].sort_values("step", kind="stable")
        shared = {
            "cell": cell,
            "family": row["model.family"],
            "place": _place(row["data.name"], row["data.resolution"], table),
            "run": _run(row),
        }
        train += _smoothed(curve, shared, min(200, budget))
        validation += _points(curve, "val_loss", shared)
    rows = [{**row, "kind": "training, smoothed"} for row in train]
    rows += [{**row, "kind": "validation"} for row in validation]
    if not rows:
        return None
    places = list(dict.fromkeys(row["place"] for row in rows))
    places.sort(key=lambda place: next(i for i, c in enumerate(cells) if _of(known[c], table) == place))
    x = alt.X("x:Q", title="optimiser steps", axis=alt.Axis(format="~s", tickCount=6))
    y = alt.Y("y:Q", title="loss", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(format=",f"))
    tooltip = _tooltip([("run", "run", ""), ("kind", "curve", ""), ("x", "step", ","), ("y", "loss", ".4g")])
    base = alt.Chart().encode(x=x, y=y, color=_color(table), detail="cell:N", tooltip=tooltip)
    chart: Chart = alt.layer(
        base.transform_filter("datum.kind !== 'validation'").mark_line(strokeWidth=1.2, opacity=0.4, clip=True),
        base.transform_filter("datum.kind === 'validation'").mark_line(strokeWidth=1.7, clip=True),
        base.transform_filter("datum.kind === 'validation'")
        .mark_point(filled=True, size=34, opacity=1, clip=True)
        .encode(shape=_shape(table)),
        data=alt.NamedData(name="rows"),
    )
    if len(places) > 1:
        menu = alt.param(name="place", value=places[0], bind=alt.binding_select(options=places, name="Resolution "))
        chart = chart.add_params(menu).transform_filter("datum.place === place")
    told = []
    for place in places:
        ends = {row["cell"]: row for row in validation if row["place"] == place}
        medians = {
            family: float(np.median([row["y"] for row in ends.values() if row["family"] == family]))
            for family in families_in(table)
            if any(row["family"] == family for row in ends.values())
        }
        if medians:
            told.append(f"{place}: {words.listed([f'{name} {words.number(y)}' for name, y in medians.items()])}")
    last = f" Validation loss at the end, median over runs, {'; '.join(told)}." if told else ""
    sentence = f"Loss against optimiser steps for {words.plural(len(cells), 'run')}.{last}"
    return Figure("loss-curves", "Loss against steps", sentence, _sized(chart, 340), rows)


def _smoothed(curve: pd.DataFrame, shared: Row, count: int) -> list[Row]:
    if "train_loss" not in curve:
        return []
    loss = pd.to_numeric(curve["train_loss"], errors="coerce").replace([np.inf, -np.inf], np.nan)
    smooth = loss.ewm(halflife=max(1.0, len(curve) / 50), ignore_na=True).mean().where(loss.notna())
    kept = curve.assign(train_loss=smooth).dropna(subset=["train_loss"])
    if kept.empty:
        return []
    picks = np.unique(np.linspace(0, len(kept) - 1, min(count, len(kept))).round().astype(int))
    return _points(kept.iloc[picks], "train_loss", shared)


def _points(curve: pd.DataFrame, column: str, shared: Row) -> list[Row]:
    if column not in curve:
        return []
    values = pd.to_numeric(curve[column], errors="coerce")
    pairs = zip(curve["step"], values, strict=True)
    return [
        {**shared, "x": int(step), "y": _digits(value)}
        for step, value in pairs
        if pd.notna(step) and pd.notna(value) and 0 < value < math.inf  # the axis is logarithmic
    ]


def _rows(rows: pd.DataFrame, x: _Axis, y: _Axis) -> list[Row]:
    return [
        {
            "family": row["model.family"],
            "run": _run(row),
            "setting": row["setting"],
            "size": row["model.size"],
            "budget": f"{row['train.steps']} {row['train.batch_size']} {row['model.patch']}",
            "x": _digits(row[x.column] / x.scale),
            "y": _digits(row[y.column] / y.scale),
        }
        for row in records(rows)
    ]


def _medians(points: Sequence[Row], keys: tuple[str, ...]) -> list[Row]:
    """One row a group: the median over seeds (and whatever else is not among the keys)."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for point in points:
        groups.setdefault(tuple(point[key] for key in keys), []).append(point)
    merged = []
    for group in groups.values():
        row = dict(group[0])
        for axis in ("x", "y"):
            row[axis] = _digits(float(np.median([point[axis] for point in group])))
        row["run"] = f"{row['curve']}: median of {len(group)}" if len(group) > 1 else row["run"]
        lows = [point["low"] for point in group if "low" in point]
        if lows:
            row["low"], row["high"] = min(lows), max(point["high"] for point in group if "high" in point)
        merged.append(row)
    return merged


def _frontier(medians: Sequence[Row]) -> list[Row]:
    """The best setting of each curve at each budget: what a line may join."""
    best: dict[tuple[Any, ...], Row] = {}
    for row in medians:
        key = (row["curve"], row["size"], row["budget"])
        if key not in best or row["y"] < best[key]["y"]:
            best[key] = row
    return list(best.values())


def _layers(
    points: Sequence[Row],
    medians: Sequence[Row],
    line: Sequence[Row],
    table: pd.DataFrame,
    x: _Axis,
    y: _Axis,
    ticks: dict[str, list[str]] | None = None,
    crossings: Sequence[Row] = (),
) -> tuple[Chart, list[Row]]:
    """Lines through medians, error bars where there are quartiles, faint single runs, medians on top.

    A crossing is a dashed line across the chart, its interval a band around it.
    """
    x_scale, y_scale = _scale(points, "x", x.log), _scale(points, "y", y.log)
    x_axis = alt.Axis(format=x.format, tickCount=4)
    if ticks:
        label = f"{{{','.join(f'{key!r}:{value!r}' for key, value in ticks.items())}}}[datum.value]"
        x_axis = alt.Axis(values=[float(key) for key in ticks], labelExpr=label)
    x_field = alt.X("x:Q", title=x.title, axis=x_axis, scale=x_scale)
    y_axis = alt.Axis(format=y.format, tickCount=5)
    if y.log and (round_ticks := _round_ticks(points)):
        y_axis = alt.Axis(format=y.format, values=round_ticks)
    y_field = alt.Y("y:Q", title=y.short or y.title, axis=y_axis, scale=y_scale)
    tooltip = _tooltip([("run", "run", ""), ("x", x.title, ".4s" if x.log else ",.4~g"), ("y", y.title, ".4g")])
    base = alt.Chart().encode(x=x_field, y=y_field, color=_color(table))
    rows = [{**row, "layer": "run"} for row in points] if len(points) > len(medians) else []
    rows += [{**row, "layer": "median"} for row in medians]
    rows += [{**row, "layer": "line"} for row in line]
    rows += crossings

    def only(layer: str) -> alt.Chart:
        return base.transform_filter(f"datum.layer === '{layer}'")

    bars = only("median").transform_filter("isValid(datum.low)").mark_rule(strokeWidth=1.5, opacity=0.75)
    crossing = alt.Chart().transform_filter("datum.layer === 'crossing'").encode(color=_color(table))
    told = _tooltip([("run", "where", ""), ("x", x.title, ",.0f"), ("from", "from", ",.0f"), ("to", "to", ",.0f")])
    marked = [
        crossing.mark_rect(opacity=0.15).encode(
            x=alt.X("from:Q", title=x.title, axis=x_axis, scale=x_scale), x2="to:Q"
        ),
        crossing.mark_rule(strokeWidth=1.5, strokeDash=[5, 4]).encode(x=x_field, tooltip=told),
    ]
    chart = alt.layer(
        *(marked if crossings else []),
        only("line").mark_line(strokeWidth=1.6, opacity=0.75).encode(detail="curve:N"),
        bars.encode(y=alt.Y("low:Q"), y2=alt.Y2("high:Q")),
        only("run").mark_point(filled=True, size=36, opacity=0.4).encode(shape=_shape(table), tooltip=tooltip),
        only("median").mark_point(filled=True, size=95, opacity=1).encode(shape=_shape(table), tooltip=tooltip),
        data=alt.NamedData(name="rows"),
    )
    return _sized(chart, 230), rows


def _scale(points: Sequence[Row], axis: str, log: bool) -> alt.Scale:
    """A domain with room around the data, also where all of them are one number."""
    values = [point[axis] for point in points]
    if axis == "y":
        values += [point[end] for point in points for end in ("low", "high") if end in point]
    low, high = min(values), max(values)
    if log and low > 0:
        margin = max((high / low) ** 0.12, 1.15)
        return alt.Scale(type="log", domain=[_digits(low / margin), _digits(high * margin)], nice=False)
    margin = max((high - low) * 0.12, abs(high) * 0.02, 1e-12)
    start = max(0.0, low - margin) if low >= 0 else low - margin
    return alt.Scale(domain=[_digits(start), _digits(high + margin)], zero=False, nice=False)


def _round_ticks(points: Sequence[Row]) -> list[float]:
    """1, 2 and 5 of each decade that a logarithmic axis shows; none where too few fall into it."""
    low, high = _scale(points, "y", True).to_dict()["domain"]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    ticks = [_digits(lead * 10.0**power) for power in decades for lead in (1, 2, 5)]
    shown = [tick for tick in ticks if low <= tick <= high]
    return shown if len(shown) >= 3 else []


def _sized(chart: Chart, height: int) -> Chart:
    return chart.properties(width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x"))


def _color(table: pd.DataFrame) -> alt.Color:
    legend = alt.Legend(values=families_in(table), title=None)
    return alt.Color("family:N", scale=alt.Scale(domain=family_order(table)), legend=legend)


def _shape(table: pd.DataFrame) -> alt.Shape:
    legend = alt.Legend(values=families_in(table), title=None)
    return alt.Shape("family:N", scale=alt.Scale(domain=family_order(table)), legend=legend)


def _tooltip(fields: Sequence[tuple[str, str, str]]) -> list[alt.Tooltip]:
    return [
        alt.Tooltip(f"{name}:Q", title=title, format=form) if form else alt.Tooltip(f"{name}:N", title=title)
        for name, title, form in fields
    ]


def _run(row: Row) -> str:
    """A run in words: `DiT-S/2, 32 px, lr 0.001, seed 0`."""
    parts = [str(row["model_name"] or row["model.family"])]
    parts += [f"{row['data.resolution']:g} px"] if pd.notna(row["data.resolution"]) else []
    parts += [row["setting"]] if row["setting"] else []
    parts += [f"seed {row['train.seed']:g}"] if pd.notna(row["train.seed"]) else []
    return ", ".join(parts)


def _place(name: Any, resolution: Any, table: pd.DataFrame) -> str:
    side = f"{resolution:g} px" if pd.notna(resolution) else "unknown resolution"
    return f"{name} {side}" if table["data.name"].nunique() > 1 and not words.missing(name) else side


def _of(row: Row, table: pd.DataFrame) -> str:
    return _place(row["data.name"], row["data.resolution"], table)


def _rank(curve: str, rows: pd.DataFrame) -> tuple[int, str]:
    order: Callable[[str], int] = family_order(rows).index
    return order(curve.split(", ")[0]), curve


def _slug(*parts: str) -> str:
    return "-".join("".join(c if c.isalnum() else "-" for c in part.lower()) for part in parts)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _digits(value: float) -> float:
    """Six significant digits: enough for any screen, and half the bytes."""
    return float(f"{float(value):.6g}")
