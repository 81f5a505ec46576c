"""The section on space: what token mixers do there, untrained and trained, from the cells' `spatial.json`.

Shown is one run of each family, size, place and state of training: the lowest seed of its best setting by validation
loss. Nothing here runs a model; a file that is damaged is named, and the rest is shown.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pdebench.errors import ResultsError
from pdebench.measure.spatial.explanations import ALIKE, ROUNDING, agreement
from pdebench.measure.spatial.findings import SPATIAL, Survey, read_survey
from pdebench.report import formatting
from pdebench.report.charts import Figure
from pdebench.report.frame import finished, records
from pdebench.report.sections.spatial_charts import field_uri, physics_figures, state_figures
from pdebench.report.sections.spatial_runs import UNTRAINED, Seen
from pdebench.report.sections.summary import Finding
from pdebench.results.store import Results
from pdebench.tasks.registry import TASKS

LOCALITY, RATIO, FRAMES = "spatial_locality", "spatial_gain_ratio", "data.frames"
HEADS = (
    ("Mixing length", "tokens"),
    ("Reach", "tokens, without its own"),
    ("Locality", "0 none, 1 all near"),
    ("95% of input from", "tokens"),
    ("Own share", "of the token itself"),
    ("Isotropy", "1 round, 0 a line"),
    ("Gain ratio", "finest over coarsest"),
    ("Shift error", "0 no place is special"),
    ("Whole network, own share", "of the token itself"),
    ("Whole network, reach", "tokens"),
)
IN_TIME = ("Mixing length in time", "tokens, of clips")


@dataclass(frozen=True)
class SpatialLine:
    """One run in the section's table."""

    family: str
    who: str
    state: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class FieldMap:
    """A receptive field as a picture."""

    who: str
    caption: str
    alt: str
    uri: str


@dataclass(frozen=True)
class MapRow:
    """The receptive fields of one state of training, side by side."""

    label: str
    maps: tuple[FieldMap, ...]


@dataclass(frozen=True)
class SpatialSection:
    """What the partial shows.

    Attributes:
        shown: what the mixers were shown, `noised images`.
        gated: there are blocks with gates that are closed until they are trained.
        clips: there are surveys of clips.
        findings: in words.
        heads: of the table, each with its unit or meaning.
        lines: of the table.
        maps: receptive fields, a row for each place and state of training.
        groups: charts under their headings.
        problems: files that could not be read, a sentence each.
    """

    shown: str
    gated: bool
    clips: bool
    findings: list[Finding]
    heads: tuple[tuple[str, str], ...]
    lines: list[SpatialLine]
    maps: list[MapRow]
    groups: list[tuple[str, list[Figure]]]
    problems: list[str]

    @property
    def figures(self) -> list[Figure]:
        """All charts."""
        return [figure for _, figures in self.groups for figure in figures]


def spatial_section(table: pd.DataFrame, folders: Mapping[str, Path]) -> SpatialSection | None:
    """The section of a frame, None where no cell was measured in space.

    Args:
        table: as `frame.make_frame` makes it; its column `folder` names the folder that a row is from, "" where
            there is none.
        folders: results folders by those names.
    """
    seen, problems = _seen(table, folders)
    if not seen and not problems:
        return None
    groups = [
        ("Frequency response", state_figures(seen, table, "frequency")),
        ("Mixing length", state_figures(seen, table, "length")),
        ("In time", state_figures(seen, table, "time")),
        ("Learned physics", physics_figures(seen, table)),
    ]
    clips = any(one.found.of_clips for one in seen)
    return SpatialSection(
        shown=_shown(seen),
        gated=any(one.gated for one in seen),
        clips=clips,
        findings=_findings(seen),
        heads=(*HEADS, IN_TIME) if clips else HEADS,
        lines=[SpatialLine(one.family, one.who, _state(one, seen), _values(one.found, clips=clips)) for one in seen],
        maps=_maps(seen),
        groups=[(title, figures) for title, figures in groups if figures],
        problems=problems,
    )


def _shown(seen: Sequence[Seen]) -> str:
    """What mixers were shown: of tasks without noise images as they are."""
    nouns = formatting.listed([f"{noun}s" for noun in sorted({one.found.noun for one in seen}, reverse=True)])
    noised = {one.found.noised for one in seen}
    return (
        f"noised {nouns}" if noised == {True} else nouns if True not in noised else f"{nouns}, noised where a task is"
    )


def _seen(table: pd.DataFrame, folders: Mapping[str, Path]) -> tuple[list[Seen], list[str]]:
    """The runs that are shown, by place and state and in the table's order of families; problems."""
    done = finished(table)
    paths = {
        index: Results(folders[str(row.get("folder") or "")]).cell(str(row["cell"])) / SPATIAL
        for index, row in zip(done.index, records(done[["folder", "cell"]]), strict=True)
        if str(row.get("folder") or "") in folders
    }
    done = done.loc[[index for index in done.index if index in paths and os.path.lexists(paths[index])]]
    done = done.assign(_trained=done["train.steps"] > 0)
    several = done["model.size"].nunique() > 1
    sets = done["data.name"].nunique() > 1
    steps = sorted(done.loc[done["_trained"], "train.steps"].unique())
    trained = f"after {steps[0]:g} steps" if len(steps) == 1 else "trained"
    seen, problems = [], []
    frames = [FRAMES] if FRAMES in done else []
    keys = ["data.name", "data.resolution", *frames, "_trained", "model.family", "model.size"]
    for _, group in done.groupby(keys, dropna=False, sort=False):
        medians = group.groupby("setting")["val_loss"].transform("median")
        order = group.assign(_median=medians).sort_values(["_median", "setting", "train.seed"], kind="stable")
        index, row = order.index[0], records(order)[0]
        try:
            found = read_survey(paths[index])
        except ResultsError as error:
            problems.append(str(error))
            continue
        if found is None:  # it was removed meanwhile
            continue
        family = str(row["model.family"])
        side = formatting.MISSING if pd.isna(row["data.resolution"]) else f"{row['data.resolution']:g} px"
        if found.of_clips:
            side += f", {formatting.number(row.get(FRAMES), 3)} frames"
        task = TASKS.get(str(row["task"]))
        seen.append(
            Seen(
                family,
                f"{family} {row['model.size']}" if several and row["model.size"] else family,
                trained if row["_trained"] else UNTRAINED,
                f"{row['data.name']}, {side}" if sets else side,
                found,
                task is None or task.conditioned,
            )
        )
    return sorted(seen, key=lambda one: (one.place, one.trained)), problems


def _state(one: Seen, seen: Sequence[Seen]) -> str:
    """State of training, after the place where there are several."""
    return f"{one.place}, {one.state}" if len({other.place for other in seen}) > 1 else one.state


def _values(found: Survey, *, clips: bool) -> tuple[str, ...]:
    row = found.columns()
    in_time = (formatting.number(row.get("spatial_mixing_length_in_time"), 3),) if clips else ()
    shift = row["spatial_shift_error"]
    own, whole = row["spatial_own_share"], found.network.field
    return (
        formatting.number(row["spatial_mixing_length"], 3),
        formatting.number(row["spatial_reach"], 3),
        formatting.MISSING if row["spatial_locality"] is None else f"{row['spatial_locality']:.2f}".replace("-", "−"),
        formatting.number(row["spatial_area_95"], 3),
        formatting.MISSING if own is None else f"{own:.0%}",
        formatting.MISSING if row["spatial_isotropy"] is None else f"{row['spatial_isotropy']:.2f}",
        formatting.number(row["spatial_gain_ratio"], 3),
        formatting.MISSING if shift is None else "rounding" if shift < ROUNDING else f"{shift:.1%}",
        formatting.MISSING if whole.own_share is None else f"{whole.own_share:.1%}",
        formatting.number(whole.reach, 3),
        *in_time,
    )


def _maps(seen: Sequence[Seen]) -> list[MapRow]:
    rows: dict[str, list[FieldMap]] = {}
    for one in seen:
        tokens = math.prod(one.found.grid)
        area, length = (one.found.columns()[f"spatial_{name}"] for name in ("area_95", "mixing_length"))
        caption = f"95% from {formatting.number(area, 3)} of {tokens} tokens"
        away = formatting.number(length, 3)
        alt = f"Receptive field of the mixers of {one.who}, {one.state}: {caption}, {away} tokens away"
        uri = field_uri([mixer.field_map for mixer in one.found.mixers])
        rows.setdefault(_state(one, seen), []).append(FieldMap(one.who, caption, alt, uri))
    return [MapRow(label, tuple(maps)) for label, maps in rows.items()]


# ---- in words


def _findings(seen: Sequence[Seen]) -> list[Finding]:
    """Sentences about each place and state of training, then about what training changed."""
    found = []
    for state in dict.fromkeys(_state(one, seen) for one in seen):
        own = [one for one in seen if _state(one, seen) == state]
        layers = f"mean over the layers of one run a family, {state}"
        claims = (_locality(own), _reach(own), _in_time(own), _shifts(own), _waves(own))
        found += [Finding(claim, layers) for claim in claims if claim]
        if own[0].trained and (claim := _network(own)):
            found.append(Finding(claim, f"one run a family, {state}"))
    found += [*_changes(seen), *_physics(seen)]
    return found


def _told(seen: Sequence[Seen], column: str, form: str) -> list[str]:
    """`DiT −0.01`, in the order of the numbers."""
    known = [(value, one.who) for one in seen if (value := one.found.columns().get(column)) is not None]
    return [f"{who} {f'{value:{form}}'.replace('-', '−')}" for value, who in sorted(known)]


def _locality(seen: Sequence[Seen]) -> str:
    values = {one.who: one.found.columns()["spatial_locality"] for one in seen}
    none = [one for one in seen if (value := values[one.who]) is not None and value < ALIKE]
    local = [one for one in seen if (value := values[one.who]) is not None and value >= ALIKE]
    alone = [one.who for one in seen if values[one.who] is None]
    parts = []
    if none:
        parts.append(
            f"No locality, tokens count alike near and far: {formatting.listed(_told(none, LOCALITY, '.2f'))}."
        )
    if local:
        parts.append(f"Near tokens count more: {formatting.listed(_told(local, LOCALITY, '.2f'))}.")
    if alone:
        parts.append(f"Tokens see only themselves: {formatting.listed(alone)}.")
    return " ".join(parts)


def _reach(seen: Sequence[Seen]) -> str:
    told = _told(seen, "spatial_area_95", ".3g")
    return f"Tokens that hold 95% of a token’s gradient: {formatting.listed(told)}." if len(told) > 1 else ""


def _in_time(seen: Sequence[Seen]) -> str:
    told = _told(seen, "spatial_mixing_length_in_time", ".2g")
    return f"Along time a clip’s tokens see so far, in tokens: {formatting.listed(told)}." if told else ""


def _shifts(seen: Sequence[Seen]) -> str:
    errors = {one.who: one.found.columns()["spatial_shift_error"] for one in seen}
    alike = [one.who for one in seen if (error := errors[one.who]) is not None and error < ROUNDING]
    other = [one for one in seen if (error := errors[one.who]) is not None and error >= ROUNDING]
    parts = []
    if alike:
        parts.append(f"Shifted tokens give the shifted result, to rounding: {formatting.listed(alike)}.")
    if other:
        parts.append(f"They do not, by so much of it: {formatting.listed(_told(other, 'spatial_shift_error', '.1%'))}.")
    return " ".join(parts)


def _waves(seen: Sequence[Seen]) -> str:
    ratios = {one.who: one.found.columns()["spatial_gain_ratio"] for one in seen}
    smooth = [one for one in seen if (ratio := ratios[one.who]) is not None and ratio <= 1 - ALIKE]
    sharp = [one for one in seen if (ratio := ratios[one.who]) is not None and ratio >= 1 + ALIKE]
    parts = []
    if smooth:
        parts.append(
            f"The finest waves pass weaker than the coarsest: {formatting.listed(_told(smooth, RATIO, '.2f'))}."
        )
    if sharp:
        parts.append(f"They pass stronger: {formatting.listed(_told(sharp, RATIO, '.2f'))}.")
    return " ".join(parts)


def _network(seen: Sequence[Seen]) -> str:
    told = _told(seen, "spatial_network_reach", ".2g")
    return (
        f"Through all blocks, other tokens are this far away in the mean: {formatting.listed(told)} tokens."
        if told
        else ""
    )


def _changes(seen: Sequence[Seen]) -> list[Finding]:
    """How training moved each family's mixing length, where both states were measured."""
    told = []
    for after in (one for one in seen if one.trained):
        before = [one for one in seen if not one.trained and (one.who, one.place) == (after.who, after.place)]
        if not before:
            continue
        first, last = (one.found.columns()["spatial_mixing_length"] for one in (before[0], after))
        if first and last:
            told.append(f"{after.who} {formatting.number(first, 2)} to {formatting.number(last, 2)}")
    claim = f"Training moves the mixing length, in tokens: {formatting.listed(told)}."
    over = "layers and times" if any(one.found.noised for one in seen) else "layers"
    return [Finding(claim, f"mean over {over}, one run a family and state")] if told else []


def _physics(seen: Sequence[Seen]) -> list[Finding]:
    found = []
    for one in seen:
        physics = [mixer.physics for mixer in one.found.mixers if mixer.physics is not None]
        if not physics:
            continue
        row = {name: formatting.number(value, 2) for name, value in one.found.columns().items()}
        decay, of_time = one.found.columns()["spatial_decay"], ("", "")
        if one.found.of_clips:
            of_time = (
                f" of the frame and {row['spatial_diffusive_length_in_time']} of time",
                f" and {row['spatial_drift_in_time']}",
            )
        claim = (
            f"{one.who}, {_state(one, seen)}: in the median channel diffusion covers {row['spatial_diffusive_length']} "
            f"tokens{of_time[0]}, convection moves by {row['spatial_drift']}{of_time[1]}, reaction leaves {decay:.0%} "
            "of a constant."
        )
        found.append(Finding(claim, f"the response that is measured from outside {agreement(physics)}"))
    return found
