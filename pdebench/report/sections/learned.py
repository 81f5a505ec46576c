"""The section on what was learned: linear probes by layer and noise level, from the cells' `probe.json`.

Shown is one run of each family, size and place: the lowest seed of its best setting by validation loss, among those
that were probed on the images that they were trained on. Nothing here runs a model; a file that is damaged is named,
and the rest is shown.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import altair as alt
import pandas as pd

from pdebench.data.nouns import Noun, called
from pdebench.errors import ResultsError
from pdebench.measure.probes import PROBES, Counted, Probe, ProbedPlace, best, read_probes
from pdebench.report import formatting
from pdebench.report.charts import Figure, Layers, Row, color_of, digits, slug, tooltip_of
from pdebench.report.folders import cell_folder
from pdebench.report.frame import FRAMES, family_order, finished, noun_of, records
from pdebench.report.sections.summary import Finding

AT_TIME = "At time"
HEADS = (  # of the noun of the samples, where it stands
    ("Best layer", "the first is 0"),
    (AT_TIME, "0 noise, 1 {0.one}"),
    ("Linear probe", "95% interval"),
    ("Neighbours", "k = 20"),
    ("Initial weights", "their best"),
    ("Pixels", "linear probe"),
    ("Chance", "largest class"),
    ("Held out", "{0.many}"),
)
SHARE = "held-out {0.many} in their class, %"
MOST_MAPS = 12  # heat maps: of more runs nobody could compare them


@dataclass(frozen=True)
class Learned:
    """One run that was probed.

    Attributes:
        family: its family.
        who: family and, where there are several, size.
        place: data set and resolution.
        probe: what was found.
        noun: what it was shown.
    """

    family: str
    who: str
    place: str
    probe: Probe
    noun: Noun

    @property
    def best(self) -> ProbedPlace:
        """See `best`."""
        return best(self.probe.trained)


@dataclass(frozen=True)
class LearnedLine:
    """One run in the section's table: each value, and what stands below it."""

    family: str
    who: str
    place: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LearnedSection:
    """What the partial shows.

    Attributes:
        findings: in words.
        heads: of the table, each with its unit or meaning.
        lines: of the table.
        several: places differ, so that each line says its own.
        noisy: some were shown noised images; else nothing on the page speaks of noise.
        curves: accuracy by layer.
        maps: accuracy by layer and time, one of each run that was shown noised images.
        problems: files that could not be read, a sentence each.
    """

    findings: list[Finding]
    heads: tuple[tuple[str, str], ...]
    lines: list[LearnedLine]
    several: bool
    noisy: bool
    curves: list[Figure]
    maps: list[Figure]
    problems: list[str]

    @property
    def figures(self) -> list[Figure]:
        """All charts."""
        return [*self.curves, *self.maps]


def learned_section(table: pd.DataFrame, folders: Mapping[str, Path]) -> LearnedSection | None:
    """The section of a frame, None where no cell was probed.

    Args:
        table: as `frame.make_frame` makes it.
        folders: results folders by the names in its column `folder`.
    """
    learned, problems = _learned(table, folders)
    if not learned and not problems:
        return None
    places = list(dict.fromkeys(one.place for one in learned))
    noised = [one for one in learned if _noisy(one.probe)]
    by_place = {place: [one for one in learned if one.place == place] for place in places}
    return LearnedSection(
        findings=[finding for place, own in by_place.items() for finding in _findings(own, place, len(places) > 1)],
        heads=tuple((head, unit.format(noun_of(table))) for head, unit in HEADS if noised or head != AT_TIME),
        lines=[LearnedLine(one.family, one.who, one.place, _values(one, timed=bool(noised))) for one in learned],
        several=len(places) > 1,
        noisy=bool(noised),
        curves=[_by_layer(own, table, place) for place, own in by_place.items()],
        maps=[_map(one) for one in noised] if len(noised) <= MOST_MAPS else [],
        problems=problems,
    )


def _learned(table: pd.DataFrame, folders: Mapping[str, Path]) -> tuple[list[Learned], list[str]]:
    """The runs that are shown, by place and in the table's order of families; problems."""
    done = finished(table)
    done = done[done["folder"].isin(folders.keys())]
    paths = {
        index: cell_folder(row, folders) / PROBES
        for index, row in zip(done.index, records(done[["folder", "cell"]]), strict=True)
    }
    done = done.loc[[index for index in done.index if os.path.lexists(paths[index])]]
    several, sets = done["model.size"].nunique() > 1, done["data.name"].nunique() > 1
    learned, problems = [], []
    for _, group in done.groupby(
        ["data.name", "data.resolution", "model.family", "model.size"], dropna=False, sort=False
    ):
        medians = group.groupby("setting")["val_loss"].transform("median")
        order = group.assign(_median=medians).sort_values(["_median", "setting", "train.seed"], kind="stable")
        for index, row in zip(order.index, records(order), strict=True):
            try:
                probe = _own(read_probes(paths[index]))
            except ResultsError as error:
                problems.append(str(error))
                continue
            if probe is None:
                continue
            family = str(row["model.family"])
            side = formatting.MISSING if pd.isna(row["data.resolution"]) else f"{row['data.resolution']:g} px"
            who = f"{family} {row['model.size']}" if several and row["model.size"] else family
            learned.append(
                Learned(family, who, f"{row['data.name']}, {side}" if sets else side, probe, called([row.get(FRAMES)]))
            )
            break
    return sorted(learned, key=lambda one: one.place), problems


def _own(probes: Sequence[Probe]) -> Probe | None:
    """The last of them that is of the images that were trained on and has something to show."""
    shown = [one for one in probes if one.own_data and one.trained and one.initial and one.pixels is not None]
    return shown[-1] if shown else None


def _values(one: Learned, *, timed: bool) -> tuple[tuple[str, str], ...]:
    probe, first = one.probe, one.best
    assert probe.pixels is not None
    before = best(probe.initial)
    initial = f"layer {before.layer}{_at(probe, before)}"
    return (
        (str(first.layer), ""),
        *([(f"{first.time:g}" if _noisy(probe) else formatting.MISSING, "")] if timed else []),
        _interval(first.linear),
        (_percent(first.neighbours), ""),
        (_percent(before.linear), initial),
        (_percent(probe.pixels.linear), ""),
        (f"{probe.chance:.1%}", _percent(probe.largest)),
        (f"{probe.protocol.held_out_images:,}", ""),
    )


def _noisy(probe: Probe) -> bool:
    return probe.times != [1.0]


def _at(probe: Probe, place: ProbedPlace) -> str:
    return f", t = {place.time:g}" if _noisy(probe) else ""


def _percent(counted: Counted) -> str:
    return f"{counted.share.value:.1%}"


def _interval(counted: Counted) -> tuple[str, str]:
    low, high = counted.share.interval
    return _percent(counted), f"{100 * low:.1f} to {100 * high:.1f}"


def _findings(own: Sequence[Learned], place: str, several: bool) -> list[Finding]:
    where = f"{place}: " if several else ""
    noun = own[0].noun
    ranked = sorted(own, key=lambda one: one.best.linear.share.value)
    told = [
        f"{one.who} {_percent(one.best.linear)} (layer {one.best.layer}{_at(one.probe, one.best)})" for one in ranked
    ]
    held_out = sorted({one.probe.protocol.held_out_images for one in own})
    chosen = "layer and time" if any(_noisy(one.probe) for one in own) else "layer"
    basis = (
        f"one run a family, {formatting.listed([f'{count:,}' for count in held_out])} held-out {noun.many}; {chosen} "
    )
    basis += f"chosen on training {noun.many}"
    found = [Finding(f"{where}A linear probe of a block’s output finds the class of {formatting.listed(told)}.", basis)]
    pixels = [one.who for one in ranked if not _above(one.best.linear, one.probe.pixels.linear)]  # type: ignore[union-attr]
    if pixels:
        found.append(
            Finding(
                f"{where}No more than one of the pixels themselves, within the intervals: {formatting.listed(pixels)}.",
                "the intervals of the two shares meet",
            )
        )
    return found


def _above(one: Counted, other: Counted) -> bool:
    return one.share.interval[0] > other.share.interval[1]


# ---- charts


def _by_layer(own: Sequence[Learned], table: pd.DataFrame, place: str) -> Figure:
    """The linear probe by depth, each run at the time that is best for it, with its interval."""
    rows: list[Row] = []
    for one in own:
        for found in one.probe.trained:
            if found.time == one.best.time:
                low, high = found.linear.share.interval
                run = f"{one.who}, layer {found.layer}{_at(one.probe, found)}"
                shown = {"y": found.linear.share.value, "low": low, "high": high}
                percent = {key: digits(100 * value) for key, value in shown.items()}
                rows.append({"family": one.family, "who": one.who, "run": run, "x": found.layer, **percent})
    title, noun = f"Linear probe by layer, {place}", own[0].noun
    told = [f"{one.who} {_percent(one.best.linear)} in layer {one.best.layer}" for one in own]
    level = ", each run at its best noise level" if any(_noisy(one.probe) for one in own) else ""
    sentence = (
        f"{title}: {SHARE.format(noun)}{level}, with 95% intervals. Best by training {noun.many}: "
        f"{formatting.listed(told)}."
    )
    y = alt.Y("y:Q", title=SHARE.format(noun), scale=alt.Scale(zero=False))
    base = alt.Chart().encode(
        x=alt.X("x:Q", title="layer, the first is 0", axis=alt.Axis(tickMinStep=1, format="d")), color=color_of(table),
        detail="who:N",
    )  # fmt: skip
    shape = alt.Shape("family:N", scale=alt.Scale(domain=family_order(table)), legend=alt.Legend(title=None))
    tooltip = tooltip_of([("run", "run", ""), ("y", "%", ".1f"), ("low", "from", ".1f"), ("high", "to", ".1f")])
    bars = base.mark_rule(strokeWidth=1.2, opacity=0.45).encode(y=alt.Y("low:Q", title=SHARE.format(noun)), y2="high:Q")
    lines = base.mark_line(strokeWidth=1.6, opacity=0.75).encode(y=y)
    points = base.mark_point(filled=True, size=60, opacity=1).encode(y=y, shape=shape, tooltip=tooltip)
    return Figure(slug("learned-depth", place), title, sentence, Layers([bars, lines, points], 230), rows)


def _map(one: Learned) -> Figure:
    """The linear probe of one run by layer and time, as a heat map with its numbers."""
    rows: list[Row] = [
        {
            "layer": str(found.layer), "time": f"{found.time:g}",
            "y": digits(100 * found.linear.share.value), "told": f"{100 * found.linear.share.value:.1f}",
            "neighbours": digits(100 * found.neighbours.share.value),
        }
        for found in one.probe.trained
    ]  # fmt: skip
    title = f"{one.who}, {one.place}"
    sentence = (
        f"Linear probe of {title} by layer and time: {SHARE.format(one.noun)}. Best by training {one.noun.many}: "
        f"{_percent(one.best.linear)}, layer {one.best.layer}{_at(one.probe, one.best)}."
    )
    base = alt.Chart().encode(
        x=alt.X("time:O", title=f"time: 0 noise, 1 {one.noun.one}", sort=None, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("layer:O", title="layer", sort=[str(layer) for layer in reversed(one.probe.layers)]),
    )
    tooltip = tooltip_of([("layer", "layer", ""), ("time", "time", ""), ("y", "linear, %", ".1f"),
                          ("neighbours", "neighbours, %", ".1f")])  # fmt: skip
    middle = (min(row["y"] for row in rows) + max(row["y"] for row in rows)) / 2
    squares = base.mark_rect().encode(
        color=alt.Color("y:Q", title="%", scale=alt.Scale(scheme="viridis", zero=False), legend=None), tooltip=tooltip
    )
    dark = alt.condition(f"datum.y < {digits(middle)}", alt.value("white"), alt.value("black"))
    numbers = base.mark_text(fontSize=10).encode(text="told:N", color=dark)
    height = max(120, 22 * len(one.probe.layers))
    return Figure(slug("learned-map", one.who, one.place), title, sentence, Layers([squares, numbers], height), rows)
