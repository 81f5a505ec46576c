"""Throughput and memory against the number of tokens, with where one family passes another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from pdebench.report import words
from pdebench.report.charts import Axis, Figure, Row, capital, digits, layers, medians_of, points_of, slug
from pdebench.report.crossover import REFERENCE, Crossover, Measured, crossovers
from pdebench.report.crossover import measured as median_of
from pdebench.report.tidy import family_order, records, timed


@dataclass(frozen=True)
class Costs:
    """A section: its charts, and how memory was measured."""

    figures: list[Figure]
    kinds: str


def costs(table: pd.DataFrame, kind: str) -> Costs | None:
    """The section `speed` or `memory` of a tidy table; None where nothing of it was measured."""
    figures = cost_figures(table, kind)
    kinds = words.listed(sorted(str(kind) for kind in timed(table)["peak_memory_kind"].dropna().unique()))
    return Costs(figures, kinds) if figures else None


def cost_figures(table: pd.DataFrame, kind: str) -> list[Figure]:
    """`speed`: training and sampling throughput against tokens, with quartiles. `memory`: peak memory."""
    done = timed(table)
    columns = {
        "speed": [
            Axis("train_images_per_s", "training, images/s", log=True),
            Axis("sample_images_per_s", "sampling, images/s", log=True),
            Axis("block_images_per_s", "one block forward and backward, images/s", log=True, short="block, images/s"),
            Axis(
                "mixer_images_per_s",
                "the mixer alone, forward and backward, images/s",
                log=True,
                short="mixer, images/s",
            ),
        ],
        "memory": [
            Axis("peak_memory_bytes", "peak memory, MiB", log=True, scale=2**20),
            Axis(
                "block_held_bytes_an_image",
                "held by one block for its backward pass, MiB an image",
                log=True,
                scale=2**20,
                short="held by a block, MiB",
            ),
            Axis(
                "mixer_held_bytes_an_image",
                "held by the mixer for its backward pass, MiB an image",
                log=True,
                scale=2**20,
                short="held by the mixer, MiB",
            ),
        ],
    }[kind]
    x = Axis("tokens", "tokens", log=True)
    if done["tokens"].isna().all():
        x = Axis("data.resolution", "resolution, px", log=True)
    figures = []
    for y in columns:
        rows = done[done[[x.column, y.column]].notna().all(axis=1)]
        rows = rows[rows[y.column] > 0]
        if len(rows):
            figures.append(_cost(rows, table, x, y))
    return figures


def _cost(rows: pd.DataFrame, table: pd.DataFrame, x: Axis, y: Axis) -> Figure:
    points = points_of(rows, x, y)
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
            point["low"], point["high"] = digits(low / y.scale), digits(high / y.scale)
    medians = medians_of(points, ("curve", "x"))
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
    sentence = f"{capital(y.title)}, against {x.title}: {'; '.join(told)}."
    crossed = _crossed([point["curve"] for point in points], rows, x, y)
    if y.column == "peak_memory_bytes":  # of fewer runs no scatter is known, so where two lines meet may be chance
        crossed = [found for found in crossed if found[2].measured]
    if crossed:
        sentence += f" {' '.join(_crossing_words(curve, other, one) for curve, other, one in crossed)}"
    marks = [_crossing_row(curve, one) for curve, _, one in crossed]
    chart, drawn = layers(points, medians, medians, table, x, y, ticks, marks)
    return Figure(slug(y.column), capital(y.title), sentence, chart, drawn)


def _crossed(curves: Sequence[str], rows: pd.DataFrame, x: Axis, y: Axis) -> list[tuple[str, str, Crossover]]:
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
    if any(ends) and one.low != one.high:  # bytes that are the same in every run have no scatter
        interval = f" (95% interval {ends[0] or 'below what was measured'} to {ends[1] or 'beyond what was measured'})"
    return f"{curve} {'rises above' if one.rises else 'falls below'} {other} at {one.at:,.0f} tokens{interval}."


def _crossing_row(curve: str, one: Crossover) -> Row:
    return {
        "layer": "crossing",
        "family": curve.split(", ")[0],
        "run": f"{curve} passes {REFERENCE}",
        "x": digits(one.at),
        "from": digits(one.low or (one.measured or (one.at,))[0]),
        "to": digits(one.high or (one.measured or (one.at,))[-1]),
    }


def _rank(curve: str, rows: pd.DataFrame) -> tuple[int, str]:
    order: Callable[[str], int] = family_order(rows).index
    return order(curve.split(", ")[0]), curve
