"""Throughput and memory against the number of tokens, with where one family passes another; and efficiency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from pdebench.data.nouns import Noun
from pdebench.report import formatting
from pdebench.report.charts import (
    Axis,
    Figure,
    Row,
    capital,
    digits,
    layers,
    medians_of,
    on_axes,
    points_of,
    slug,
    thinned,
)
from pdebench.report.crossovers import CrossoverTable, CurveStanding, crossover_table, family_of, order_of, standings
from pdebench.report.differences import EVALUATION, STEP
from pdebench.report.frame import CLIP, SUBJECT, named, noun_of, plain_value, plain_values, records, timed
from pdebench.stats.crossover import REFERENCE, Crossover

AT_A_GLANCE = ("train_images_per_s", "sample_images_per_s", "classify_images_per_s", "peak_memory_bytes")
"""What the first table of the page has already."""

FEW = 4  # curves that a sentence can name

CUT = ("model.patch", *CLIP)
"""How samples are cut into tokens: the same number of them is of images or clips of another size, in other batches."""

ATTENTION = "model.attention"
"""Whose tokens meet in a layer of DiT: factorised it costs something else at the same number of tokens."""


@dataclass(frozen=True)
class Costs:
    """A section: its charts, where families pass DiT in them, and how memory was measured.

    Of speed also charts of efficiency, in which nobody passes anybody, and sentences on what they show. What was
    measured at one size alone stands in `titles` and `lines`: a family, its curve, and what was measured under each
    title.
    """

    charts: list[Figure]
    crossovers: CrossoverTable | None
    kinds: str
    efficiency: list[Figure]
    basis: str
    titles: list[str]
    lines: list[tuple[str, str, list[str]]]

    @property
    def figures(self) -> list[Figure]:
        """All charts."""
        return [*self.charts, *self.efficiency]


def _of_efficiency(noun: Noun) -> tuple[Axis, ...]:
    return (
        Axis("train_mfu", "training, MFU in %", log=True, scale=0.01),
        Axis("sample_mfu", "sampling, MFU in %", log=True, scale=0.01),
        Axis("classify_mfu", "inference, MFU in %", log=True, scale=0.01),
        Axis("train_joules_per_image", f"training, joules {noun.an}", log=True),
        Axis("sample_joules_per_image", f"sampling, joules {noun.an}", log=True),
    )


def costs(table: pd.DataFrame, kind: str) -> Costs | None:
    """The section `speed` or `memory` of a frame; None where nothing of it was measured.

    `speed`: training and sampling throughput against tokens, with quartiles. `memory`: peak memory.
    """
    done = timed(table)
    noun = noun_of(done)
    columns = {
        "speed": [
            Axis("train_images_per_s", f"training, {noun.rate}", log=True),
            Axis("sample_images_per_s", f"sampling, {noun.rate}", log=True),
            Axis("classify_images_per_s", f"inference, {noun.rate}", log=True),
            Axis(
                "block_images_per_s",
                f"one block forward and backward, {noun.rate}",
                log=True,
                short=f"block, {noun.rate}",
            ),
            Axis(
                "mixer_images_per_s",
                f"the mixer alone, forward and backward, {noun.rate}",
                log=True,
                short=f"mixer, {noun.rate}",
            ),
        ],
        "memory": [
            Axis("peak_memory_bytes", "peak memory, MiB", log=True, scale=2**20),
            Axis(
                "block_held_bytes_an_image",
                f"held by one block for its backward pass, MiB {noun.an}",
                log=True,
                scale=2**20,
                short="held by a block, MiB",
            ),
            Axis(
                "mixer_held_bytes_an_image",
                f"held by the mixer for its backward pass, MiB {noun.an}",
                log=True,
                scale=2**20,
                short="held by the mixer, MiB",
            ),
        ],
    }[kind]
    x = Axis("tokens", "tokens", log=True)
    if done["tokens"].isna().all():
        x = Axis("data.resolution", "resolution, px", log=True)
    figures, found = [], []
    alone: dict[str, list[Row]] = {}
    for y in columns:
        rows, note = on_axes(done[done[[x.column, y.column]].notna().all(axis=1)], x, y)
        if len(rows):
            figure, of_figure, medians = _cost(rows, table, x, y)
            if figure is None:
                alone |= {} if y.column in AT_A_GLANCE else {capital(y.title): medians}
                continue
            figures.append(replace(figure, note=" ".join(filter(None, [note, figure.note]))))
            found.append((figure.title.partition(", ")[0], of_figure))
    efficiency, basis = _efficiency(done, table, x, alone) if kind == "speed" else ([], "")
    if not (figures or efficiency or alone):
        return None
    curves = sorted({row["curve"] for medians in alone.values() for row in medians}, key=order_of(done))
    kinds = formatting.listed(sorted(str(kind) for kind in done["peak_memory_kind"].dropna().unique()))
    return Costs(
        figures,
        crossover_table(_unit(x), found, higher_is_better=kind == "speed"),
        kinds,
        efficiency,
        basis,
        list(alone),
        [(family_of(curve), curve, [_number_of(curve, medians) for medians in alone.values()]) for curve in curves],
    )


def _number_of(curve: str, medians: Sequence[Row]) -> str:
    """What was measured of a curve; with the place on the x axis where curves or their sizes differ in it."""
    several = len({row["x"] for row in medians}) > 1
    told = [
        formatting.number(row["y"], 3) + (f" at {formatting.amount(row['x'])}" if several else "")
        for row in medians
        if row["curve"] == curve
    ]
    return ", ".join(told) or formatting.MISSING


def _efficiency(
    done: pd.DataFrame, table: pd.DataFrame, x: Axis, alone: dict[str, list[Row]]
) -> tuple[list[Figure], str]:
    """How much of the devices' peak was reached, and what a sample took of energy, where it was measured.

    What is not worth a chart is put into `alone`. Second is what the numbers are of.
    """
    made, notes, known = [], [], []
    for y in _of_efficiency(noun_of(done)):
        if y.column not in done:
            continue
        rows, note = on_axes(done[done[[x.column, y.column]].notna().all(axis=1)], x, y)
        if len(rows):
            known.append(y.column)
            figure, _, medians = _cost(rows, table, x, y, passing=False)
            bound = _lower_bound(rows) if y.column.endswith("mfu") else ""
            if figure is None:
                alone[capital(y.title)] = medians
                notes.append(bound)
            else:
                made.append(replace(figure, note=" ".join(filter(None, [note, figure.note, bound]))))
    return made, " ".join(dict.fromkeys(filter(None, [_basis(done, known), *notes])))


def _lower_bound(rows: pd.DataFrame) -> str:
    """Of whose operations not all are counted."""
    uncounted = rows["macs_uncounted"].fillna("") != ""
    families = sorted(rows.loc[uncounted, "model.family"].unique(), key=order_of(rows))
    return f"A lower bound for {formatting.listed(families)}: not all operations are counted." if families else ""


def _basis(done: pd.DataFrame, names: Sequence[str]) -> str:
    """What these columns of efficiency are of."""
    told = []
    if any(name.endswith("mfu") for name in names):
        peaks = sorted(str(peak) for peak in done["mfu_peak"].dropna().unique()) if "mfu_peak" in done else []
        told.append(
            "MFU is the FLOPs that the model needs, as they are counted, over what its devices can do at most"
            f"{': ' if peaks else ''}{'; '.join(peaks)}. Higher is better."
        )
    if any("joules" in name for name in names):
        told.append("Joules are those of the GPUs’ boards while they work, without their host. Lower is better.")
    return " ".join(told)


def _cost(
    rows: pd.DataFrame, table: pd.DataFrame, x: Axis, y: Axis, *, passing: bool = True
) -> tuple[Figure | None, list[CurveStanding], list[Row]]:
    """The chart, who passes DiT in it, and its medians; no chart where no curve has two sizes."""
    points = points_of(rows, x, y)
    several_sizes = rows["model.size"].nunique() > 1
    apart = [*_cut(rows), *_apart(rows, x, y)]
    quartiles = [f"{y.column}_q1", f"{y.column}_q3"]
    asked = dict.fromkeys(["model.size", ATTENTION, *apart, *quartiles])
    for point, row in zip(points, records(rows[[name for name in asked if name in rows]]), strict=True):
        parts = [point["family"]]
        parts += [str(row["model.size"])] if several_sizes else []
        parts += [_said(ATTENTION, "factorised")] if row.get(ATTENTION) == "factorised" else []
        parts += [_said(name, row[name]) for name in apart if name not in CUT or plain_value(row[name])]
        point["curve"] = ", ".join(parts)
        low, high = (row.get(name) for name in quartiles)
        if low is not None and high is not None and not formatting.missing(low) and not formatting.missing(high):
            point["low"], point["high"] = digits(low / y.scale), digits(high / y.scale)
    medians = medians_of(points, ("curve", "x"))
    if len({row["curve"] for row in medians}) == len(medians):
        return None, [], medians
    ticks = {}
    for tokens, resolutions in rows.groupby(x.column)["data.resolution"]:
        sides = sorted({f"{side:g}" for side in resolutions.dropna()}, key=float)
        ticks[f"{tokens:g}"] = [f"{tokens:,.0f}", f"{'/'.join(sides)} px"] if x.column == "tokens" else [f"{tokens:g}"]
    found = []
    if passing:
        found = standings(
            rows,
            [point["curve"] for point in points],
            x.column,
            y.column,
            scatter=y.column == "peak_memory_bytes",  # its runs have no quartiles
        )
    chart, drawn = layers(points, medians, medians, table, x, y, ticks, _crossing_rows(found))
    sentence, note = _sentence(medians, found, rows, x, y), thinned(points, medians, medians)
    return Figure(slug(y.column), capital(y.title), sentence, chart, drawn, note), found, medians


def _cut(rows: pd.DataFrame) -> list[str]:
    """The columns of CUT of which the rows have several values."""
    return [name for name in CUT if name in rows and plain_values(rows[name]).replace("", None).nunique() > 1]


def _apart(rows: pd.DataFrame, x: Axis, y: Axis) -> list[str]:
    """The columns whose values make different curves: what was measured otherwise is not compared.

    A batch changes with the tokens in many suites; it makes curves where it differs at the same number of them.
    """
    wanted = EVALUATION if y.column.startswith(("sample_", "classify_")) else STEP
    wanted = (*wanted, "peak_memory_kind") if y.column == "peak_memory_bytes" else wanted
    found = [name for name in wanted if name in rows and plain_values(rows[name]).nunique() > 1]
    batches = [name for name in found if name.endswith("batch_size")]
    alike = [name for name in batches if (rows[name].groupby(rows[x.column]).nunique() <= 1).all()]
    return [name for name in found if name not in alike]


def _said(column: str, value: object) -> str:
    """A value as the name of a curve has it: `nfe 2`; of a machine or a kind the value alone."""
    text = plain_value(value) or "unknown"
    return named(column, text) if "." in column else text


def _sentence(medians: Sequence[Row], found: Sequence[CurveStanding], rows: pd.DataFrame, x: Axis, y: Axis) -> str:
    """The ends of the subject's curves and DiT's, and where they cross; of all curves where they are few."""
    curves = sorted({point["curve"] for point in medians}, key=order_of(rows))
    named = curves
    if len(curves) > FEW:
        named = [curve for curve in curves if family_of(curve) in (SUBJECT, REFERENCE)] or curves[:FEW]
    told = []
    for curve in named:
        own = sorted((point for point in medians if point["curve"] == curve), key=lambda point: point["x"])
        first, last = own[0], own[-1]
        text = f"{curve} {formatting.number(first['y'], 3)} at {first['x']:,g} {x.title}"
        told.append(text + (f" to {formatting.number(last['y'], 3)} at {last['x']:,g}" if last is not first else ""))
    told += [formatting.plural(len(curves) - len(named), "more curve")] if len(curves) > len(named) else []
    crossed = [
        _crossing_words(standing, one, _unit(x))
        for standing in found
        if standing.curve in named
        for one in standing.crossings
    ]
    return " ".join([f"{capital(y.title)}, against {x.title}: {'; '.join(told)}.", *crossed])


def _unit(x: Axis) -> str:
    return x.title.rpartition(", ")[-1]


def _crossing_words(standing: CurveStanding, one: Crossover, unit: str) -> str:
    ends = [f"{end:,.0f}" if end is not None else "" for end in (one.low, one.high)]
    interval = ""
    if any(ends) and one.low != one.high:  # bytes that are the same in every run have no scatter
        interval = f" (95% interval {ends[0] or 'below what was measured'} to {ends[1] or 'beyond what was measured'})"
    way = "rises above" if one.rises else "falls below"
    return f"{standing.curve} {way} {standing.other} at {one.at:,.0f} {unit}{interval}."


def _crossing_rows(found: Sequence[CurveStanding]) -> list[Row]:
    return [
        {
            "layer": "crossing",
            "family": standing.family,
            "run": f"{standing.curve} passes {REFERENCE}",
            "x": digits(one.at),
            "from": digits(one.low or (one.measured or (one.at,))[0]),
            "to": digits(one.high or (one.measured or (one.at,))[-1]),
        }
        for standing in found
        for one in standing.crossings
    ]
