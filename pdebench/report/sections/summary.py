"""The findings in words, each sentence built from the table: where the subject is behind comes first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from pdebench.report import formatting
from pdebench.report.compare import Measure, Ranking, compare, measures, rank, seeds
from pdebench.report.comparisons import Comparison, Contender, comparisons
from pdebench.report.frame import SUBJECT, families_in, finished, noun_of, scores_in

BEHIND = "behind"


@dataclass(frozen=True)
class Finding:
    """A claim, and what it stands on; `apart` says whether that lets one tell the two apart, None without interval."""

    claim: str
    basis: str = ""
    apart: bool | None = None


@dataclass(frozen=True)
class FamilyStanding:
    """One family's line in the table at a glance; `best` says for each value whether it leads."""

    comparison: str
    family: str
    setting: str
    tried: int
    seeds: int
    params: str
    values: tuple[str, ...]
    best: tuple[bool, ...]


@dataclass(frozen=True)
class Summary:
    """What the top of the page says; `unlike`: where families that are compared trained differently."""

    lede: str
    tally: str = ""
    behind: list[Finding] = field(default_factory=list)
    subject_compared: bool = False
    leaders: list[tuple[str, list[Finding]]] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    standings: list[FamilyStanding] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def summarise(table: pd.DataFrame, known_fields: Sequence[Comparison] | None = None) -> Summary:
    """Build the summary of a frame (see `frame.make_frame`), whose comparisons may be known already."""
    done = finished(table)
    fields = comparisons(done) if known_fields is None else known_fields
    known = measures(done)
    rankings = [[rank(measure, comparison) for comparison in fields] for measure in known]
    behind, leaders, verdicts = [], [], []
    for measure, of_measure in zip(known, rankings, strict=True):
        told = []
        for ranking in of_measure:
            if ranking.reason:
                told.append(Finding(f"At {ranking.comparison.label}: not compared, {ranking.reason}."))
            elif ranking.entries:
                told.append(_leader(ranking))
            mine = next((entry for entry in ranking.entries if entry.family == SUBJECT), None)
            if mine is not None and ranking.compared:
                verdicts.append(_verdict(ranking, mine))
                if verdicts[-1].startswith(BEHIND):
                    behind.append(_behind(ranking, mine))
        if told:
            leaders.append((measure.title, told))
    return Summary(
        lede=_lede(table),
        tally=_tally(Counter(verdicts)),
        behind=sorted(behind, key=lambda finding: finding.apart is not True),
        subject_compared=bool(verdicts),
        leaders=leaders,
        measures=known,
        standings=[
            _standing([of_measure[place] for of_measure in rankings], comparison, entry)
            for place, comparison in enumerate(fields)
            if any(of_measure[place].entries for of_measure in rankings)  # else nothing of it was measured
            for entry in comparison.entries
        ],
        unlike=[
            f"{_at(comparison)}: {formatting.listed([str(one) for one in comparison.unlike])}."
            for comparison in fields
            if comparison.unlike
        ],
        notes=_notes(done, fields),
    )


def _at(comparison: Comparison) -> str:
    return f"At {comparison.label}"


def _with_differences(basis: str, ranking: Ranking) -> str:
    """What a finding stands on, and that what is compared was not trained alike."""
    if ranking.measure.kind in ("rate", "memory") or not ranking.comparison.unlike:
        return basis
    names = formatting.listed([one.name for one in ranking.comparison.unlike])
    return f"{basis}; they trained with different {names}" if basis else f"they trained with different {names}"


def _verdict(ranking: Ranking, mine: Contender) -> str:
    """How the subject stands to the best of the others."""
    column = ranking.measure.column
    other = next(entry for entry in ranking.entries if entry.family != SUBJECT)
    if mine.median(column) == other.median(column):
        return "level"
    ahead = ranking.entries[0].family == SUBJECT
    better, worse = (mine, other) if ahead else (other, mine)
    side, apart = "ahead" if ahead else BEHIND, compare(ranking.measure, better, worse).apart
    return side if apart else f"{side}, {'no interval' if apart is None else 'not distinguishable'}"


def _tally(verdicts: Counter[str]) -> str:
    """The verdicts of all comparisons in one sentence, the bad news first; empty where there are none."""
    total = verdicts.total()
    if not total:
        return ""
    alike = sum(count for verdict, count in verdicts.items() if verdict.endswith("not distinguishable"))
    parts = [
        (verdicts[BEHIND], "it is behind in {}"),
        (verdicts["ahead"], "ahead in {}"),
        (alike, "not distinguishable in {}"),
        (verdicts[f"{BEHIND}, no interval"], "behind in {} without an interval"),
        (verdicts["ahead, no interval"], "ahead in {} without an interval"),
        (verdicts["level"], "level in {}"),
    ]
    told = formatting.listed([text.format(count) for count, text in parts if count])
    told = told if told.startswith("it is") else f"it is {told}"
    return f"{SUBJECT} against the best other family, in {formatting.plural(total, 'comparison')}: {told}."


def _lede(table: pd.DataFrame) -> str:
    done = int((table["status"] == "done").sum())
    if table.empty:
        return "No cell has run yet: there is nothing to compare."
    resolutions = sorted(table["data.resolution"].dropna().unique())
    families = families_in(table)
    where = f" at {formatting.listed([f'{value:g}' for value in resolutions])} px" if resolutions else ""
    data = formatting.listed(sorted(str(name) for name in table["data.name"].dropna().unique()))
    seeds = table["train.seed"].nunique()
    text = f"{formatting.listed(families)}{where}" + (f" on {data}" if data else "")
    text += f", {formatting.plural(seeds, 'seed')}" if seeds else ""
    if len(tasks := sorted(table["task"].dropna().unique())) > 1:
        text += f", of {formatting.plural(len(tasks), 'task')} ({formatting.listed(tasks)}) that are not compared"
    failed = len(table) - done
    if not done:
        return f"{text}: none of {formatting.plural(len(table), 'cell')} finished, so nothing can be compared."
    return f"{text}: {done} of {formatting.plural(len(table), 'cell')} finished" + (
        f", {failed} did not (see Failures)." if failed else "."
    )


def _leader(ranking: Ranking) -> Finding:
    measure, label, best = ranking.measure, ranking.comparison.label, ranking.entries[0]
    value = measure.show(best.median(measure.column))
    if len(ranking.entries) == 1:
        return Finding(f"At {label}: {best.family} {value}, with nothing to compare.", seeds([best], measure.column))
    if len(ranking.leaders) > 1:
        return Finding(
            f"At {label}: {formatting.listed(ranking.leaders)} tie at {value}.", _with_differences("", ranking)
        )
    second = ranking.entries[1]
    runner, found = measure.show(second.median(measure.column)), compare(measure, best, second)
    if measure.kind == "rate" and found.gap:
        rest = f"{found.gap} the {runner} of {second.family}"
    else:
        rest = f"then {second.family} {runner}" + (f" ({found.gap})" if found.gap else "")
    return Finding(f"At {label}: {best.family} {value}, {rest}.", _with_differences(found.basis, ranking), found.apart)


def _behind(ranking: Ranking, mine: Contender) -> Finding:
    measure, best = ranking.measure, ranking.entries[0]
    ours, theirs = (measure.show(entry.median(measure.column)) for entry in (mine, best))
    found, relation = compare(measure, best, mine), "above" if measure.lower else "below"
    text = f"{measure.title} at {ranking.comparison.label}: {ours}, {relation} {best.family}’s {theirs}"
    if found.gap:
        text += f" ({best.family} is {found.gap} as fast)" if measure.kind == "rate" else f" ({found.gap})"
    return Finding(f"{text}.", _with_differences(found.basis, ranking), found.apart)


def _standing(rankings: list[Ranking], comparison: Comparison, entry: Contender) -> FamilyStanding:
    return FamilyStanding(
        comparison.label,
        entry.family,
        entry.told,
        entry.tried,
        entry.seeds,
        formatting.amount(entry.median("params")),
        tuple(ranking.measure.show(entry.median(ranking.measure.column)) for ranking in rankings),
        tuple(entry.family in ranking.leaders for ranking in rankings),
    )


def _notes(done: pd.DataFrame, fields: Sequence[Comparison]) -> list[str]:
    notes = []
    if any(entry.tried > 1 for comparison in fields for entry in comparison.entries):
        notes.append(
            "Each family stands at the setting with its lowest validation loss; the same held-out "
            f"{noun_of(done).many} chose the setting and give the number."
        )
    for comparison in fields:
        seen = {entry.family: entry.median("images_seen") for entry in comparison.entries}
        if len({value for value in seen.values() if not formatting.missing(value)}) > 1:
            told = formatting.listed([f"{family} {formatting.number(value)}" for family, value in seen.items()])
            notes.append(f"At {comparison.label} the families did not see equally many {noun_of(done).many}: {told}.")
    small = done[done["metric_small_sample"].astype(object) == True]  # noqa: E712 (an object column with nulls)
    if len(small) and scores_in(done, "frechet"):
        notes.append(
            "Fréchet distances here come from fewer samples than the extractor has features: they are "
            "biased, and KID is the score to read."
        )
    return notes
