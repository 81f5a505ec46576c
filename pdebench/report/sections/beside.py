"""Every family beside the subject, over all comparisons together, with intervals that hold for all families at once.

Findings speak of the best other family, which one takes by looking; here stands everybody, so that a reader may pick
any line without fearing that chance picked it. See `stats.simultaneous` for the intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from pdebench.report import formatting
from pdebench.report.compare import Measure, Ranking, by_seed, measures, rank
from pdebench.report.comparisons import Comparison, Contender
from pdebench.report.forest import Bar, bars
from pdebench.report.frame import SUBJECT
from pdebench.report.sections.opening import headline, name_of
from pdebench.stats.paired import FEWEST_PAIRS
from pdebench.stats.simultaneous import MeanDifference, mean_difference

FEWEST = 3
"""Other families with an interval: of fewer the findings say all."""

_NAMED = 5  # families that a sentence can name


@dataclass(frozen=True)
class BesideLine:
    """One family.

    Attributes:
        family: its name.
        values: its median in each comparison, and how far its mean is from the subject's there; a dash, and nothing,
            where it has none.
        change: from the subject over all comparisons.
        interval: of that; empty where there is none.
        verdict: `ahead`, `behind`, or what keeps one from saying either.
        bar: the interval as a drawing.
        sure: an interval tells the two apart.
    """

    family: str
    values: tuple[tuple[str, str], ...]
    change: str
    interval: str
    verdict: str
    bar: Bar | None
    sure: bool


@dataclass(frozen=True)
class Beside:
    """The section.

    Attributes:
        title: the measure.
        lower: whether lower is better.
        places: the comparisons, in words.
        lines: of families, the best first, the subject among them.
        claim: who is ahead and who behind, for the opening.
        tested: how many families have an interval.
    """

    title: str
    lower: bool
    places: tuple[str, ...]
    lines: list[BesideLine]
    claim: str
    tested: int


@dataclass(frozen=True)
class _Other:
    """A family and its difference from the subject, of logarithms where values are positive: above 0 is worse."""

    family: str
    difference: MeanDifference | None


_SUBJECT = _Other(SUBJECT, None)


def beside(done: pd.DataFrame, fields: Sequence[Comparison]) -> Beside | None:
    """The section of finished rows and their comparisons; None where few have seeds in common with the subject."""
    known = [
        [one for field in fields if (one := rank(measure, field)).compared]
        for measure in measures(done)
        if measure.kind in ("loss", "score", "signed")
    ]
    if not (known := [of_measure for of_measure in known if of_measure]):
        return None
    rankings = headline(done, known)
    measure, columns = rankings[0].measure, [_entries(ranking) for ranking in rankings]
    families = list(dict.fromkeys(name for column in columns for name in column if name != SUBJECT))
    pairs = {family: _pairs(measure, columns, family) for family in families}
    tested = sum(bool(places) for places in pairs.values())
    if tested < FEWEST:
        return None
    others = [_Other(family, mean_difference(places, settings=tested)) for family, places in pairs.items()]
    most = max(len(places) for places in pairs.values())
    shown = sorted([*others, _SUBJECT], key=_order)
    drawn = bars([one.difference for one in shown])
    lines = [_line(measure, columns, one, bar, most) for one, bar in zip(shown, drawn, strict=True)]
    return Beside(
        measure.title, measure.lower, tuple(ranking.comparison.label for ranking in rankings), lines,
        _claim(measure, others, tested), tested,
    )  # fmt: skip


def _entries(ranking: Ranking) -> dict[str, Contender]:
    return {entry.family: entry for entry in ranking.entries}


def _pairs(
    measure: Measure, columns: Sequence[dict[str, Contender]], family: str
) -> list[tuple[dict[float, float], dict[float, float]]]:
    """Values of a family and of the subject where they have enough seeds in common."""
    there = [column for column in columns if family in column and SUBJECT in column]
    both = [(by_seed(measure, column[family]), by_seed(measure, column[SUBJECT])) for column in there]
    return [(own, ours) for own, ours in both if len(own.keys() & ours.keys()) >= FEWEST_PAIRS]


def _order(one: _Other) -> tuple[bool, float]:
    """The best first, those without an interval last."""
    if one.family == SUBJECT:
        return (False, 0.0)
    return (one.difference is None, one.difference.mean if one.difference else 0.0)


def _line(
    measure: Measure, columns: Sequence[dict[str, Contender]], one: _Other, bar: Bar | None, most: int
) -> BesideLine:
    values = tuple(_value(measure, column, one.family, alone=len(columns) == 1) for column in columns)
    found = one.difference
    if one.family == SUBJECT or found is None:
        few = "" if one.family == SUBJECT else f"under {FEWEST_PAIRS} seeds in common"
        return BesideLine(one.family, values, "" if not few else formatting.MISSING, "", few, None, False)
    verdict = "not distinguishable" if not found.apart else "ahead" if found.mean < 0 else "behind"
    if found.places < most:
        verdict += f", over {found.places} of {most}"
    ends = sorted((found.low, found.high), reverse=not measure.lower)
    interval = " to ".join(measure.change(end) for end in ends)
    return BesideLine(one.family, values, measure.change(found.mean), interval, verdict, bar, found.apart)


def _value(measure: Measure, column: dict[str, Contender], family: str, *, alone: bool) -> tuple[str, str]:
    if family not in column:
        return (formatting.MISSING, "")
    shown = measure.show(column[family].median(measure.column))
    if alone or family == SUBJECT or SUBJECT not in column:
        return (shown, "")
    own, ours = by_seed(measure, column[family]), by_seed(measure, column[SUBJECT])
    if not (common := own.keys() & ours.keys()):
        return (shown, "")
    return (shown, measure.change(sum(own[seed] - ours[seed] for seed in common) / len(common)))


def _claim(measure: Measure, others: Sequence[_Other], tested: int) -> str:
    told = sorted((one for one in others if one.difference and one.difference.apart), key=_order)
    ahead = [one for one in told if one.difference and one.difference.mean < 0]
    behind = [one for one in told if one not in ahead]
    rest = tested - len(told)
    parts = []
    if ahead:
        parts.append(f"{_names(measure, ahead)} {'is' if len(ahead) == 1 else 'are'} ahead of {SUBJECT}")
    else:
        best = min(others, key=_order)
        found = best.difference
        mean = f" ({best.family} has the best mean, {measure.change(found.mean)})" if found and found.mean < 0 else ""
        parts.append(f"nobody is told to be ahead of {SUBJECT}{mean}")
    if behind:
        parts.append(f"{_names(measure, behind[::-1])} {'is' if len(behind) == 1 else 'are'} behind it")
    if rest:
        parts.append(f"{rest} cannot be told from it")
    return f"in {name_of(measure)}, with intervals corrected for {tested} comparisons, {formatting.listed(parts)}"


def _names(measure: Measure, of: Sequence[_Other]) -> str:
    """The farthest with their changes, and how many more."""
    shown = of if len(of) <= _NAMED else of[: _NAMED - 1]
    told = [f"{one.family} ({measure.change(one.difference.mean)})" for one in shown if one.difference]
    return formatting.listed(told if shown is of else [*told, f"{len(of) - len(shown)} more"])
