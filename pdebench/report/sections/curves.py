"""Loss against optimiser steps: every run's training loss, smoothed, and its validation loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, partial

import altair as alt
import numpy as np
import pandas as pd

from pdebench.report import formatting
from pdebench.report.charts import (
    TOLD,
    Figure,
    Row,
    color_of,
    digits,
    place_of,
    run_of,
    shape_of,
    sized,
    tooltip_of,
)
from pdebench.report.frame import families_in, records, representatives

MAX_TRAIN_POINTS = 8000
"""Points of all training curves together: keeps a report of hundreds of cells small."""

MOST_RUNS = 200
"""Runs whose curves are drawn: of more nobody could follow one, and the page has to stay small."""

MAX_VALIDATION_POINTS = 4000
"""Points of all validation curves together."""

FEWEST_POINTS = 16
"""Of each of those curves."""


@dataclass(frozen=True)
class LossCurves:
    """The section: one chart."""

    figures: list[Figure]


def loss_curves(table: pd.DataFrame, curves: pd.DataFrame) -> LossCurves | None:
    """The section of a frame and its curves; None without a curve of a cell of the table."""
    figure = loss_figure(table, curves)
    return LossCurves([figure]) if figure else None


def loss_figure(table: pd.DataFrame, curves: pd.DataFrame) -> Figure | None:
    """Training loss, smoothed, and validation loss against steps; a menu chooses the resolution."""
    needed = {"cell", "step"}
    if curves.empty or not needed <= set(curves.columns) or not {"train_loss", "val_loss"} & set(curves.columns):
        return None
    named = curves if "folder" in curves else curves.assign(folder="")
    keys = pd.MultiIndex.from_frame(table[["folder", "cell"]])
    ran = table[~table["repeat"] & keys.isin(pd.MultiIndex.from_frame(named[["folder", "cell"]].drop_duplicates()))]
    chosen = representatives(ran, MOST_RUNS)
    told_with = list(dict.fromkeys([*TOLD, "data.name", "folder", "cell"]))
    known = {(row["folder"], row["cell"]): row for row in records(chosen[told_with])}
    part = named[named["cell"].isin(chosen["cell"])] if len(chosen) < len(ran) else named
    runs = dict(list(part.groupby(["folder", "cell"], sort=False)))
    drawn = [run for run in known if run in runs]
    budget, validated = (
        max(FEWEST_POINTS, most // max(1, len(ran))) for most in (MAX_TRAIN_POINTS, MAX_VALIDATION_POINTS)
    )
    train: list[Row] = []
    validation: list[Row] = []
    for run in drawn:
        row = known[run]
        curve = runs[run].sort_values("step", kind="stable")
        shared = {
            "cell": "/".join(run),
            "family": row["model.family"],
            "place": place_of(row["data.name"], row["data.resolution"], table),
            "run": run_of(row),
        }
        train += _smoothed(curve, shared, min(200, budget))
        validation += _thinned(_points(curve, "val_loss", shared), validated)
    rows = [{**row, "kind": "training, smoothed"} for row in train]
    rows += [{**row, "kind": "validation"} for row in validation]
    if not rows:
        return None
    places = list(dict.fromkeys(row["place"] for row in rows))
    places.sort(key=lambda place: next(i for i, run in enumerate(drawn) if _of(known[run], table) == place))
    x = alt.X("x:Q", title="optimiser steps", axis=alt.Axis(format="~s", tickCount=6))
    y = alt.Y("y:Q", title="loss", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(format=",f"))
    tooltip = tooltip_of([("run", "run", ""), ("kind", "curve", ""), ("x", "step", ","), ("y", "loss", ".4g")])
    base = alt.Chart().encode(x=x, y=y, color=color_of(table), detail="cell:N", tooltip=tooltip)
    chart: alt.LayerChart | alt.FacetChart = alt.layer(
        base.transform_filter("datum.kind !== 'validation'").mark_line(strokeWidth=1.2, opacity=0.4, clip=True),
        base.transform_filter("datum.kind === 'validation'").mark_line(strokeWidth=1.7, clip=True),
        base.transform_filter("datum.kind === 'validation'")
        .mark_point(filled=True, size=34, opacity=1)  # not clipped: the last step lies on the edge
        .encode(shape=shape_of(table)),
        data=alt.NamedData(name="rows"),
    )
    if len(places) > 1:
        menu = alt.param(name="place", value=places[0], bind=alt.binding_select(options=places, name="Resolution "))
        chart = chart.add_params(menu).transform_filter("datum.place === place")
    told = []
    ends = _ends(named, ran, table)
    for place in places:
        own = ends[ends["place"] == place]
        medians = {
            family: float(own[own["family"] == family].groupby("trained")["end"].median().min())
            for family in families_in(table)
            if (own["family"] == family).any()
        }
        if medians:
            told.append(
                f"{place}: {formatting.listed([f'{name} {formatting.number(y)}' for name, y in medians.items()])}"
            )
    last = (
        f" Validation loss at the end, median over runs of each family's best setting, {'; '.join(told)}."
        if told
        else ""
    )
    sentence = f"Loss against optimiser steps for {formatting.plural(len(ran), 'run')}.{last}"
    note = "" if len(drawn) == len(ran) else f"Drawn are {len(drawn):,} of them: of each setting the lowest seeds."
    return Figure("loss-curves", "Loss against steps", sentence, sized(chart, 340), rows, note)


def _ends(curves: pd.DataFrame, ran: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """The last validation loss of every run, drawn or not: its place, family and `end`."""
    if "val_loss" not in curves:
        return pd.DataFrame(columns=["place", "family", "trained", "end"])
    loss = pd.to_numeric(curves["val_loss"], errors="coerce")
    known = curves.assign(end=loss)[(loss > 0) & (loss < math.inf) & curves["step"].notna()]
    last = known.sort_values("step", kind="stable").groupby(["folder", "cell"])["end"].last().map(digits)
    keys = pd.MultiIndex.from_frame(ran[["folder", "cell"]])
    place = cache(partial(place_of, table=table))
    of = [place(name, side) for name, side in zip(ran["data.name"], ran["data.resolution"], strict=True)]
    found = pd.DataFrame(
        {
            "place": of,
            "family": list(ran["model.family"]),
            "trained": list(ran["trained"]),
            "end": last.reindex(keys).to_numpy(),
        }
    )
    return found.dropna(subset=["end"])


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
        {**shared, "x": int(step), "y": digits(value)}
        for step, value in pairs
        if pd.notna(step) and pd.notna(value) and 0 < value < math.inf  # the axis is logarithmic
    ]


def _thinned(points: list[Row], most: int) -> list[Row]:
    picks = np.linspace(0, len(points) - 1, most).round().astype(int)
    return points if len(points) <= most else [points[place] for place in picks]


def _of(row: Row, table: pd.DataFrame) -> str:
    return place_of(row["data.name"], row["data.resolution"], table)
