"""The findings in words, each sentence built from the table: where the subject is behind comes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from pdebench.report import formatting
from pdebench.report.compare import Measure, Ranking, compare, measures, rank, seeds
from pdebench.report.comparisons import Comparison, Contender, comparisons
from pdebench.report.frame import SUBJECT, finished, measured, noun_of, scores_in
from pdebench.report.sections.opening import only_one_seed, opening
from pdebench.report.sections.unquiet import disturbances


@dataclass(frozen=True)
class Finding:
    """A claim, and what it stands on; `apart` says whether that lets one tell the two apart, None without interval."""

    claim: str
    basis: str = ""
    apart: bool | None = None


@dataclass(frozen=True)
class FamilyStanding:
    """One family's line in the table at a glance; `best`: which values lead, as an interval tells."""

    comparison: str
    family: str
    setting: str
    tried: int
    seeds: int
    params: str
    macs: str
    values: tuple[str, ...]
    best: tuple[bool, ...]


@dataclass(frozen=True)
class Summary:
    """What the top of the page says.

    Attributes:
        opening: sentences (see `opening`).
        cells: how many finished.
        behind: where the subject is, as an interval tells.
        worse: where its number is worse than the best, and no interval tells it from that.
        by_macs: whether networks were sized to equal MACs, which are then told beside their parameters.
        unlike: where families that are compared trained differently.
    """

    opening: list[str]
    cells: str = ""
    behind: list[Finding] = field(default_factory=list)
    worse: list[Finding] = field(default_factory=list)
    subject_compared: bool = False
    leaders: list[tuple[str, list[Finding]]] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    by_macs: bool = False
    standings: list[FamilyStanding] = field(default_factory=list)
    unlike: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def summarise(
    table: pd.DataFrame, known_fields: Sequence[Comparison] | None = None, *, beside: str = "", multiples: str = ""
) -> Summary:
    """Build the summary of a frame (see `frame.make_frame`), whose comparisons may be known already.

    The opening tells `beside`, who is told from the subject, and `multiples`, how many times its FLOPs others need.
    """
    done = finished(table)
    fields = comparisons(done) if known_fields is None else known_fields
    known = measures(done)
    rankings = [[rank(measure, comparison) for comparison in fields] for measure in known]
    compared = [ranking for of_measure in rankings for ranking in of_measure if ranking.compared]
    lone = bool(compared) and only_one_seed(compared)  # said once, and not with every number
    worse, leaders = [], []
    for measure, of_measure in zip(known, rankings, strict=True):
        told = []
        for ranking in of_measure:
            if ranking.reason:
                told.append(Finding(f"At {ranking.comparison.label}: not compared, {ranking.reason}."))
            elif ranking.entries:
                told.append(_best(ranking, lone))
            mine = next((entry for entry in ranking.entries if entry.family == SUBJECT), None)
            if mine is not None and (verdict := ranking.verdict(SUBJECT)) and verdict.better is False:
                worse.append(_worse(ranking, mine, lone))
        if told:
            leaders.append((measure.title, told))
    return Summary(
        opening=opening(table, rankings, beside, multiples),
        cells=_cells(table),
        behind=[finding for finding in worse if finding.apart],
        worse=[finding for finding in worse if not finding.apart],
        subject_compared=any(ranking.verdict(SUBJECT) for ranking in compared),
        leaders=leaders,
        measures=known,
        by_macs="matched_by" in done and bool((done["matched_by"] == "macs").any()),
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
        notes=[*_notes(done, fields, lone=lone), *_of_the_machine(table)],
    )


def _at(comparison: Comparison) -> str:
    return f"At {comparison.label}"


def _with_differences(basis: str, ranking: Ranking) -> str:
    """What a finding stands on, and that what is compared was not trained alike."""
    if ranking.measure.kind in ("rate", "memory") or not ranking.comparison.unlike:
        return basis
    names = formatting.listed([one.name for one in ranking.comparison.unlike])
    return f"{basis}; they trained with different {names}" if basis else f"they trained with different {names}"


def _cells(table: pd.DataFrame) -> str:
    """How many cells there are; empty where there is none, or none finished, which the opening says."""
    done, texts = int((table["status"] == "done").sum()), []
    if done:
        failed = len(table) - done
        rest = f", {failed} did not (see Failures)" if failed else ""
        texts.append(f"{done} of {formatting.plural(len(table), 'cell')} finished{rest}.")
    if len(tasks := sorted(table["task"].dropna().unique())) > 1:
        texts.append(f"They are of {len(tasks)} tasks ({formatting.listed(tasks)}) that are not compared.")
    return " ".join(texts)


def _best(ranking: Ranking, lone: bool) -> Finding:
    measure, label, best = ranking.measure, ranking.comparison.label, ranking.entries[0]
    value = measure.show(best.median(measure.column))
    if len(ranking.entries) == 1:
        return Finding(
            f"At {label}: {best.family} {value}, with nothing to compare.",
            "" if lone else seeds([best], measure.column),
        )
    if len(ranking.leaders) > 1:
        return Finding(
            f"At {label}: {formatting.listed(ranking.leaders)} tie at {value}.", _with_differences("", ranking)
        )
    second = ranking.entries[1]
    runner, found = measure.show(second.median(measure.column)), compare(measure, best, second)
    value = f"leads with {value}" if ranking.ahead else value
    if measure.kind == "rate" and found.gap:
        rest = f"{found.gap} the {runner} of {second.family}"
    else:
        rest = f"then {second.family} {runner}" + (f" ({found.gap})" if found.gap else "")
    return Finding(
        f"At {label}: {best.family} {value}, {rest}.",
        _with_differences("" if lone else found.basis, ranking),
        found.apart,
    )


def _worse(ranking: Ranking, mine: Contender, lone: bool) -> Finding:
    measure, best = ranking.measure, ranking.entries[0]
    ours, theirs = (measure.show(entry.median(measure.column)) for entry in (mine, best))
    found, relation = compare(measure, best, mine), "above" if measure.lower else "below"
    text = f"{measure.title} at {ranking.comparison.label}: {ours}, {relation} {best.family}’s {theirs}"
    if found.gap:
        text += f" ({best.family} is {found.gap} as fast)" if measure.kind == "rate" else f" ({found.gap})"
    return Finding(f"{text}.", _with_differences("" if lone else found.basis, ranking), found.apart)


def _standing(rankings: list[Ranking], comparison: Comparison, entry: Contender) -> FamilyStanding:
    return FamilyStanding(
        comparison.label,
        entry.family,
        entry.told,
        entry.tried,
        entry.seeds,
        formatting.amount(entry.median("params")),
        formatting.number(entry.median("macs_forward") / 1e9, 3),
        tuple(ranking.measure.show(entry.median(ranking.measure.column)) for ranking in rankings),
        tuple(entry.family == ranking.ahead for ranking in rankings),
    )


def _of_the_machine(table: pd.DataFrame) -> list[str]:
    return ["Something disturbed the timings: see Warnings."] if disturbances(table) else []


def _notes(done: pd.DataFrame, fields: Sequence[Comparison], *, lone: bool) -> list[str]:
    bold = "Bold: an interval tells it from every other of its group."
    notes = ["With one seed there is no interval, so nothing is in bold." if lone else bold]
    if any(entry.tried > 1 for comparison in fields for entry in comparison.entries):
        notes.append(
            "Each family stands at the setting with its lowest validation loss; the same held-out "
            f"{noun_of(done).many} chose the setting and give the number."
        )
    if any(comparison.flops for comparison in fields):
        notes.append(
            f"At equal training FLOPs a network sees as many {noun_of(done).many} as the budget pays for: a larger or "
            "dearer one fewer."
        )
    for comparison in [one for one in fields if not one.flops]:
        seen = {entry.family: entry.median("images_seen") for entry in comparison.entries}
        if len({value for value in seen.values() if not formatting.missing(value)}) > 1:
            told = formatting.listed([f"{family} {formatting.number(value)}" for family, value in seen.items()])
            notes.append(f"At {comparison.label} the families did not see equally many {noun_of(done).many}: {told}.")
    small = done[done["metric_small_sample"].astype(object) == True]  # noqa: E712 (an object column with nulls)
    if len(small) and scores_in(done, "frechet"):
        kernel = measured(done, [score.column for score in scores_in(done, "kernel")])
        notes.append(
            "Fréchet distances here come from fewer samples than the extractor has features: they are biased"
            f"{', and KID is the score to read' if kernel else ''}."
        )
    return notes
