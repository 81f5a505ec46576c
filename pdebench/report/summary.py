"""The findings in words, each sentence built from the table: where the subject is behind comes first."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from pdebench.report import words
from pdebench.report.tidy import (
    SUBJECT,
    Contest,
    Entry,
    contests,
    families_in,
    finished,
    frechet_columns,
    kid_columns,
    measured,
    metric_title,
)

FEWEST_SAMPLES = 5  # timings behind quartiles that say anything


@dataclass(frozen=True)
class Measure:
    """What a comparison is about, and how its numbers read."""

    column: str
    title: str
    lower: bool
    kind: str  # loss | score | signed | rate | memory

    def show(self, value: float) -> str:
        """One value, with its unit."""
        if self.kind == "memory":
            return words.size(value)
        return f"{words.number(value, 3)} images/s" if self.kind == "rate" else words.number(value)

    def gap(self, best: float, other: float) -> str:
        """How far `other` is from `best`; empty where a ratio would mean nothing."""
        if self.kind == "signed" or best <= 0 or other <= 0:
            return ""  # KID is unbiased and may be negative: only its difference means something
        if self.kind == "rate":
            return words.times(best / other)
        return words.percent(other / best)


@dataclass(frozen=True)
class Finding:
    """A claim, and what it stands on: seeds, spread, whether that lets one tell the two apart."""

    claim: str
    basis: str = ""


@dataclass(frozen=True)
class Standing:
    """One family's line in the table at a glance; `best` says for each value whether it leads."""

    contest: str
    family: str
    setting: str
    tried: int
    seeds: int
    params: str
    values: tuple[str, ...]
    best: tuple[bool, ...]


@dataclass(frozen=True)
class Summary:
    """What the top of the page says."""

    lede: str
    behind: list[Finding] = field(default_factory=list)
    subject_compared: bool = False
    leaders: list[tuple[str, list[Finding]]] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    standings: list[Standing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def measures(done: pd.DataFrame) -> list[Measure]:
    """What was measured in this table, in the order in which it is told."""
    known = [Measure("val_loss", "Validation loss", True, "loss")]
    known += [Measure(column, metric_title(column), True, "score") for column in frechet_columns(done)]
    known += [Measure(column, metric_title(column), True, "signed") for column in kid_columns(done)]
    known += [
        Measure("train_images_per_s", "Training throughput", False, "rate"),
        Measure("sample_images_per_s", "Sampling throughput", False, "rate"),
        Measure("peak_memory_bytes", "Peak memory", True, "memory"),
    ]
    present = set(measured(done, [measure.column for measure in known]))
    return [measure for measure in known if measure.column in present]


def summarise(table: pd.DataFrame) -> Summary:
    """Build the summary of a tidy table (see `tidy.tidy`)."""
    done = finished(table)
    fields = contests(done)
    known = measures(done)
    behind, leaders, compared = [], [], False
    for measure in known:
        told = []
        for contest in fields:
            ranking = contest.ranking(measure.column, lower=measure.lower)
            reason = _incomparable(measure, ranking)
            if len(ranking) > 1 and reason:
                told.append(Finding(f"At {contest.label}: not compared, {reason}."))
                continue
            if ranking:
                told.append(_leader(measure, contest, ranking))
            mine = next((entry for entry in ranking if entry.family == SUBJECT), None)
            if mine is not None and len(ranking) > 1:
                compared = True
                if mine.median(measure.column) != ranking[0].median(measure.column):
                    behind.append(_behind(measure, contest, mine, ranking[0]))
        if told:
            leaders.append((measure.title, told))
    return Summary(
        lede=_lede(table),
        behind=behind,
        subject_compared=compared,
        leaders=leaders,
        measures=known,
        standings=[_standing(known, contest, entry) for contest in fields for entry in contest.entries],
        notes=_notes(done, fields),
    )


def _lede(table: pd.DataFrame) -> str:
    done = int((table["status"] == "done").sum())
    if table.empty:
        return "No cell has run yet: there is nothing to compare."
    resolutions = sorted(table["data.resolution"].dropna().unique())
    families = families_in(table)
    where = f" at {words.listed([f'{value:g}' for value in resolutions])} px" if resolutions else ""
    data = words.listed(sorted(str(name) for name in table["data.name"].dropna().unique()))
    seeds = table["train.seed"].nunique()
    text = f"{words.listed(families)}{where}" + (f" on {data}" if data else "")
    text += f", {words.plural(seeds, 'seed')}" if seeds else ""
    failed = len(table) - done
    if not done:
        return f"{text}: none of {words.plural(len(table), 'cell')} finished, so nothing can be compared."
    return f"{text}: {done} of {words.plural(len(table), 'cell')} finished" + (
        f", {failed} did not (see Failures)." if failed else "."
    )


def _seeds(entries: list[Entry], column: str) -> str:
    counts = sorted({len(entry.values(column)) for entry in entries})
    if counts == [1]:
        return "one seed"
    return f"median of {words.listed([str(count) for count in counts])} seeds"


def _certainty(measure: Measure, better: Entry, worse: Entry) -> str:
    """What the spread lets one say. Ranges over seeds are shown as ranges: no test is claimed."""
    column = measure.column
    single = min(len(better.values(column)), len(worse.values(column))) == 1
    quartiles = measure.kind == "rate" and all(
        (entry.values(f"{column}_n") >= FEWEST_SAMPLES).any() for entry in (better, worse)
    )
    if single and not quartiles:
        seeds = _seeds([better, worse], column)
        return f"{seeds}: no interval"
    (low_a, high_a), (low_b, high_b) = better.spread(column), worse.spread(column)
    apart = high_a < low_b if measure.lower else low_a > high_b
    what = "quartiles" if quartiles else "ranges over seeds"
    verdict = f"{what} do not overlap" if apart else f"{what} overlap: not distinguishable"
    return f"{_seeds([better, worse], column)}; {verdict}"


def _incomparable(measure: Measure, ranking: list[Entry]) -> str:
    rows = [entry.rows[entry.rows[measure.column].notna()] for entry in ranking]
    if not rows:
        return ""
    joined = pd.concat(rows)
    if measure.kind in ("score", "signed"):
        counts = joined["metric_samples"].dropna().unique()
        if len(counts) > 1:
            listed = words.listed([f"{count:,.0f}" for count in sorted(counts)])
            return f"the sample counts differ ({listed})"
    if measure.kind in ("rate", "memory") and joined["machine_fingerprint"].nunique() > 1:
        return "the cells ran on different machines"
    if measure.kind == "memory" and joined["peak_memory_kind"].nunique() > 1:
        return "memory was measured in different ways"
    return ""


def _leader(measure: Measure, contest: Contest, ranking: list[Entry]) -> Finding:
    best, column = ranking[0], measure.column
    value = measure.show(best.median(column))
    if len(ranking) == 1:
        return Finding(f"At {contest.label}: {best.family} {value}, with nothing to compare.", _seeds(ranking, column))
    second = ranking[1]
    runner = measure.show(second.median(column))
    tied = [entry.family for entry in ranking if entry.median(column) == best.median(column)]
    if len(tied) > 1:
        return Finding(f"At {contest.label}: {words.listed(tied)} tie at {value}.")
    gap = measure.gap(best.median(column), second.median(column))
    if measure.kind == "rate" and gap:
        rest = f"{gap} the {runner} of {second.family}"
    else:
        rest = f"then {second.family} {runner}" + (f" ({gap})" if gap else "")
    return Finding(f"At {contest.label}: {best.family} {value}, {rest}.", _certainty(measure, best, second))


def _behind(measure: Measure, contest: Contest, mine: Entry, best: Entry) -> Finding:
    column, title = measure.column, measure.title
    ours, theirs = mine.median(column), best.median(column)
    gap = measure.gap(theirs, ours)
    relation = "below" if measure.kind == "rate" else "above"
    text = f"{title} at {contest.label}: {measure.show(ours)}, {relation} {best.family}’s {measure.show(theirs)}"
    if gap:
        text += f" ({best.family} is {gap} as fast)" if measure.kind == "rate" else f" ({gap})"
    return Finding(f"{text}.", _certainty(measure, best, mine))


def _standing(known: list[Measure], contest: Contest, entry: Entry) -> Standing:
    best = []
    for measure in known:
        ranking = contest.ranking(measure.column, lower=measure.lower)
        fair = len(ranking) > 1 and not _incomparable(measure, ranking)
        best.append(fair and entry.median(measure.column) == ranking[0].median(measure.column))
    return Standing(
        contest.label,
        entry.family,
        entry.setting,
        entry.tried,
        len(entry.rows),
        words.amount(entry.median("params")),
        tuple(measure.show(entry.median(measure.column)) for measure in known),
        tuple(best),
    )


def _notes(done: pd.DataFrame, fields: list[Contest]) -> list[str]:
    notes = []
    if any(entry.tried > 1 for contest in fields for entry in contest.entries):
        notes.append(
            "Each family stands at the setting with its lowest validation loss; the same held-out images "
            "chose the setting and give the number."
        )
    for contest in fields:
        seen = {entry.family: entry.median("images_seen") for entry in contest.entries}
        if len({value for value in seen.values() if not words.missing(value)}) > 1:
            told = words.listed([f"{family} {words.number(value)}" for family, value in seen.items()])
            notes.append(f"At {contest.label} the families did not see equally many images: {told}.")
    small = done[done["metric_small_sample"].astype(object) == True]  # noqa: E712 (an object column with nulls)
    if len(small) and frechet_columns(done):
        notes.append(
            "Fréchet distances here come from fewer samples than the extractor has features: they are "
            "biased, and KID is the score to read."
        )
    return notes
