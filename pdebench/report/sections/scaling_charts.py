"""The figures of scaling: the envelope with its law and band, IsoFLOP profiles, residuals of `L(N, D)`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from pdebench.report import formatting
from pdebench.report.charts import Figure, Row, color_of, digits, round_ticks, shape_of, sized, unit_of
from pdebench.stats.bootstrap import Interval
from pdebench.stats.comparison import ScalingComparison
from pdebench.stats.power_law import PowerLaw
from pdebench.stats.runs import Runs
from pdebench.stats.scaling import Scaling

_HEIGHT = 260
_BEYOND = 1.6  # times the sizes that ran: how far a parabola is drawn


def envelope_figure(found: Sequence[tuple[Runs, PowerLaw]], table: pd.DataFrame, title: str) -> Figure:
    """Every run, and the law of the best of each budget with its 95% band."""
    rows: list[Row] = []
    told = []
    for runs, law in found:
        shared = _shared(runs.name)
        rows += [
            {
                **shared,
                "layer": "law",
                "x": digits(flops),
                "y": digits(y.value),
                "low": digits(y.low),
                "high": digits(y.high),
            }
            for flops, y in law.curve
            if np.isfinite([y.low, y.high]).all()
        ]
        rows += _points("run", shared, runs.flops, runs.loss)
        rows += _points("best", shared, law.flops, law.loss)
        told.append(f"{runs.name} as C^−{within(law.gamma)}")
    sentence = (
        f"{title[:1].upper()}{title[1:]} against training FLOPs. The best of each budget falls: "
        f"{formatting.listed(told)}. Lines are the fitted laws, bands their 95% intervals, small marks single runs."
    )
    x = _counted("training FLOPs", rows)
    y = _log("y", title, rows)
    base = alt.Chart().encode(x=x, y=y, color=color_of(table))
    tooltip = _tooltip(("run", "run"), ("x", "training FLOPs"), ("y", title))
    chart = alt.layer(
        _only(base, "law").mark_area(opacity=0.16).encode(y=alt.Y("low:Q", title=title, scale=_LOG), y2="high:Q"),
        _only(base, "law").mark_line(strokeWidth=1.6).encode(detail="run:N"),
        _only(base, "run").mark_point(filled=True, size=26, opacity=0.4).encode(shape=shape_of(table), tooltip=tooltip),
        _only(base, "best").mark_point(filled=True, size=90, opacity=1).encode(shape=shape_of(table), tooltip=tooltip),
        data=alt.NamedData(name="rows"),
    )
    return Figure(
        f"scaling-envelope-{_slug(title)}",
        f"{title[:1].upper()}{title[1:]} against compute",
        sentence,
        sized(chart, _HEIGHT),
        rows,
    )


def isoflop_figure(one: Scaling, table: pd.DataFrame) -> Figure:
    """One group's profiles: loss against parameters, a curve for each budget."""
    assert one.isoflop is not None
    rows: list[Row] = []
    for profile in one.isoflop.profiles:
        shared = _shared(one.group) | {"budget": formatting.flops(profile.flops)}
        rows += _points("mean", shared, profile.n, profile.loss)
        middle = profile.n[int(np.argmin(profile.loss))]
        grid = np.geomspace(profile.n[0] / _BEYOND, profile.n[-1] * _BEYOND, 40)
        curve = np.exp(np.polyval(profile.curve[::-1], np.log(grid / middle)))
        shown = curve <= 1.05 * max(profile.loss)  # a parabola leaves the sizes that it was laid through
        rows += _points("curve", shared, grid[shown], curve[shown])
        if profile.best is not None and profile.least is not None:
            rows += _points("best", shared, [profile.best.value], [profile.least])
        right = {**shared, "layer": "name", "x": digits(profile.n[-1]), "y": digits(profile.loss[-1])}
        rows.append(right)
    inside = [profile for profile in one.isoflop.profiles if profile.best is not None]
    edge = len(one.isoflop.profiles) - len(inside)
    told = [f"{formatting.amount(p.best.value)} at {formatting.flops(p.flops)}" for p in inside if p.best is not None]
    sentence = f"Validation loss against parameters, one curve a budget, for {one.group}."
    sentence += f" Best sizes, by the curves and not only of those that ran: {formatting.listed(told)}." if told else ""
    sentence += f" Growing as C^{within(one.isoflop.a)}." if one.isoflop.a is not None else ""
    note = f"At {formatting.plural(edge, 'budget')} the best size is at the edge of those that ran." if edge else ""
    base = alt.Chart().encode(
        x=_counted("parameters", rows), y=_log("y", "validation loss", rows), color=color_of(table)
    )
    tooltip = _tooltip(("budget", "budget"), ("x", "parameters"), ("y", "validation loss"))
    chart = alt.layer(
        _only(base, "curve").mark_line(strokeWidth=1.3, opacity=0.7).encode(detail="budget:N"),
        _only(base, "mean").mark_point(filled=True, size=50, opacity=0.9).encode(tooltip=tooltip),
        _only(base, "best").mark_point(shape="cross", filled=True, size=110, opacity=1).encode(tooltip=tooltip),
        _only(base, "name").mark_text(align="right", dx=-9, dy=-5, fontSize=10).encode(text="budget:N"),
        data=alt.NamedData(name="rows"),
    )
    return Figure(
        f"scaling-isoflop-{_slug(one.group)}",
        f"IsoFLOP profiles, {one.group}",
        sentence,
        sized(chart, _HEIGHT),
        rows,
        note,
    )


def residual_figure(found: Sequence[Scaling], table: pd.DataFrame) -> Figure:
    """What `L(N, D)` leaves of each run, in percent of its loss, against FLOPs."""
    rows: list[Row] = []
    told = []
    for one in found:
        if one.parametric is not None:
            residuals = 100 * np.expm1(np.array(one.parametric.residuals))
            rows += _points("run", _shared(one.group), one.runs.flops, residuals)
            told.append(f"{one.group} {one.parametric.spread:.2%}")
    sentence = (
        f"Observed over fitted loss, less 1, against training FLOPs. Standard deviation: {formatting.listed(told)}."
    )
    tooltip = _tooltip(("run", "run"), ("x", "training FLOPs"), ("y", "residual, %"))
    y = alt.Y("y:Q", title="residual of L(N, D), %", axis=alt.Axis(format="~g", tickCount=5))
    base = alt.Chart().encode(x=_counted("training FLOPs", rows), y=y)
    chart = alt.layer(
        alt.Chart().mark_rule(opacity=0.4).encode(y=alt.YDatum(0)),
        base.mark_point(filled=True, size=45, opacity=0.75).encode(
            color=color_of(table), shape=shape_of(table), tooltip=tooltip
        ),
        data=alt.NamedData(name="rows"),
    )
    return Figure("scaling-residuals", "Residuals of L(N, D)", sentence, sized(chart, _HEIGHT), rows)


def multiplier_figure(found: Sequence[ScalingComparison], table: pd.DataFrame) -> Figure:
    """How many times the reference's FLOPs each family needs, against the loss, with its 95% band."""
    rows: list[Row] = []
    told = []
    for one in found:
        if one.compute is not None:
            rows += [
                {
                    **_shared(one.family),
                    "layer": "times",
                    "x": digits(loss),
                    "y": digits(times.value),
                    "low": digits(times.low),
                    "high": digits(times.high),
                }
                for loss, times in zip(one.compute.loss, one.compute.times, strict=True)
                if np.isfinite([times.low, times.high]).all()
            ]
            told.append(f"{one.family} {within(one.compute.middle)}")
    reference = formatting.listed(list(dict.fromkeys(one.reference for one in found)))
    sentence = (
        f"Times the FLOPs of {reference} that a family needs for a loss, at the losses that both measured. In the "
        f"middle: {formatting.listed(told)}. At 1 it needs as many; a line that rises to the left grows with compute."
    )
    if rows:
        rows.append({"layer": "as many", "family": rows[0]["family"]})  # a rule of every row would be a black one
    title = f"times the FLOPs of {reference}"
    y = _log("y", title, rows)
    base = alt.Chart().encode(x=_log("x", "validation loss", rows), color=color_of(table))
    tooltip = _tooltip(("run", "run"), ("x", "validation loss"), ("y", "times the FLOPs"))
    chart = alt.layer(
        _only(alt.Chart(), "as many").mark_rule(opacity=0.4).encode(y=alt.YDatum(1)),
        _only(base, "times")
        .mark_area(opacity=0.16)
        .encode(y=alt.Y("low:Q", title=title, scale=_LOG), y2="high:Q", detail="run:N"),
        _only(base, "times").mark_line(strokeWidth=1.6).encode(y=y, detail="run:N", tooltip=tooltip),
        data=alt.NamedData(name="rows"),
    )
    return Figure("scaling-multiplier", "Compute for the same loss", sentence, sized(chart, _HEIGHT), rows)


def family_of(group: str) -> str:
    """The family of a group, whose name begins with it."""
    return group.split(", ")[0]


_LOG = alt.Scale(type="log", nice=False, padding=12)


def _shared(group: str) -> Row:
    return {"family": family_of(group) or "all rows", "run": group or "all rows"}


def _points(layer: str, shared: Row, x: Any, y: Any) -> list[Row]:
    return [{**shared, "layer": layer, "x": digits(a), "y": digits(b)} for a, b in zip(x, y, strict=True)]


def _only(base: alt.Chart, layer: str) -> alt.Chart:
    return base.transform_filter(f"datum.layer === '{layer}'")


def _log(axis: str, title: str, rows: Sequence[Row]) -> Any:
    channel = alt.X if axis == "x" else alt.Y
    return channel(f"{axis}:Q", title=title, scale=_LOG, axis=alt.Axis(format=",~g", values=_ticks(axis, rows)))


def _ticks(axis: str, rows: Sequence[Row]) -> list[float]:
    return round_ticks([row for row in rows if axis in row], axis)


def _counted(what: str, rows: Sequence[Row]) -> alt.X:
    """A logarithmic axis of counts, all ticks in one unit, which the title names: no `900G` beside `1T`."""
    size, prefix = unit_of([float(row["x"]) for row in rows if "x" in row])
    title = f"{what.removesuffix('FLOPs')}{prefix}FLOPs" if what.endswith("FLOPs") else f"{what}, {prefix}".strip(", ")
    axis = alt.Axis(labelExpr=f"format(datum.value / {size:g}, ',.6~g')", values=_ticks("x", rows))
    return alt.X("x:Q", title=title, scale=_LOG, axis=axis)


def _tooltip(*fields: tuple[str, str]) -> list[alt.Tooltip]:
    numbers = {"x": ".3s", "y": ".4g"}
    return [
        alt.Tooltip(f"{name}:Q", title=title, format=numbers[name])
        if name in numbers
        else alt.Tooltip(f"{name}:N", title=title)
        for name, title in fields
    ]


def within(found: Interval) -> str:
    """An estimate with its interval: `0.351 (0.33 to 0.372)`."""
    return (
        f"{formatting.number(found.value, 3)} ({formatting.number(found.low, 3)} to {formatting.number(found.high, 3)})"
    )


def parts(found: Interval | None) -> tuple[str, str]:
    """The same in two texts, for two lines of a table: `0.351` and `(0.33 to 0.372)`; a dash where nothing is known."""
    if found is None:
        return formatting.MISSING, ""
    value, _, interval = within(found).partition(" ")
    return value, interval


def _slug(text: str) -> str:
    return "-".join(filter(None, "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower()).split("-")))
