"""Scaling laws beside the reference's, as the report shows them: sentences, lines of tables, what they hang on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from pdebench.errors import PdebenchError
from pdebench.report import formatting
from pdebench.report.sections.scaling_charts import family_of, parts, within
from pdebench.report.sections.summary import Finding
from pdebench.stats.comparison import PROFILES, ScalingComparison
from pdebench.stats.comparison_words import (
    compute_sentence,
    exponents_sentences,
    images_sentence,
    sealed_sentence,
    sensitivity_sentence,
    signed_parts,
)
from pdebench.stats.runs import runs_of
from pdebench.stats.sealed import FILES, Outcome, check, read
from pdebench.stats.sensitivity import Sensitivity

_NONE = (formatting.MISSING, "")
EXPONENTS = ("alpha", "beta", "a", PROFILES, "gamma")


@dataclass(frozen=True)
class ComparisonLine:
    """One family's line: growth, then differences of exponents, each with its interval as another text.

    `apart` says of each whether it is told from none.
    """

    family: str
    who: str
    values: tuple[tuple[str, str], ...]
    apart: tuple[bool, ...]


@dataclass(frozen=True)
class DropOneTable:
    """What one family's numbers are with one thing left out at a time, as texts."""

    family: str
    who: str
    sentence: str
    lines: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class SealedTable:
    """One sealed prediction beside what came; `problem` says why it could not be held against these rows.

    Attributes:
        name: of the file.
        sentence: when it was made, and how it went.
        lines: family, group, budget, predicted, what came, verdict, sizes inside.
    """

    name: str
    sentence: str = ""
    lines: tuple[tuple[str, ...], ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Compared:
    """Everything of the section that compares families; `reference` names those that others are held against."""

    reference: str = ""
    lines: list[ComparisonLine] = field(default_factory=list)
    left_out: list[DropOneTable] = field(default_factory=list)


def compared_with(found: Sequence[ScalingComparison], sensitive: Sequence[Sensitivity]) -> Compared:
    """The tables of some comparisons."""
    return Compared(
        formatting.listed(list(dict.fromkeys(one.reference for one in found))),
        [_line(one) for one in found],
        [_left_out(one) for one in sensitive if any(line.left_out for line in one.lines)],
    )


def comparison_findings(found: Sequence[ScalingComparison]) -> list[Finding]:
    """What compute each family needs, then which exponents differ."""
    told = []
    for one in found:
        pairs = f"{formatting.plural(one.pairs, 'pair')} of runs" if one.pairs else "no runs in pairs"
        told.append(Finding(" ".join(filter(None, [compute_sentence(one), images_sentence(one)])), pairs))
    return [*told, *(Finding(text) for text in exponents_sentences(found))]


def in_one_sentence(found: Sequence[ScalingComparison]) -> str:
    """The multiples of compute, least first; empty where there are none, or several references."""
    known = sorted(
        ((one, one.compute.middle) for one in found if one.compute is not None and one.compute.middle is not None),
        key=lambda item: item[1].value,
    )
    if not known or len({one.reference for one, _ in known}) > 1:
        return ""
    reference = family_of(known[0][0].reference)
    (first, least), *rest = [(family_of(one.family), " ".join(parts(multiple))) for one, multiple in known]
    told = [f"{first} needs {least} times the FLOPs of {reference}", *(" ".join(each) for each in rest)]
    unsure = [family_of(one.family) for one, _ in known if not one.apart]
    doubt = f" ({formatting.listed(unsure)} not told from as many, all comparisons together)" if unsure else ""
    return f"for one loss {formatting.listed(told)}{doubt}"


def sealed_tables(rows: pd.DataFrame, folders: Mapping[str, Path]) -> list[SealedTable]:
    """What came of every sealed prediction that stands in a results folder."""
    return [
        _sealed(rows[rows["folder"] == name] if "folder" in rows else rows, path)
        for name, folder in folders.items()
        for path in sorted(folder.glob(FILES))
    ]


def _sealed(rows: pd.DataFrame, path: Path) -> SealedTable:
    try:
        prediction = read(path)
        ended = {f"cell {cell}": str(when) for cell, when in zip(rows["cell"], rows["finished_at"], strict=True)}
        outcomes = check(prediction, runs_of(rows, prediction.columns), ended)
    except PdebenchError as error:
        return SealedTable(path.name, problem=f"{str(error).replace(str(path), path.name)}.")
    return SealedTable(path.name, sealed_sentence(prediction, outcomes), tuple(_outcome(one) for one in outcomes))


def _outcome(one: Outcome) -> tuple[str, ...]:
    return (
        family_of(one.group),
        one.group,
        formatting.amount(one.flops),
        within(one.predicted),
        formatting.number(one.observed),
        {None: "not run yet", True: "inside", False: "outside"}[one.inside],
        f"{one.sizes_inside} of {len(one.sizes)}" if one.sizes else formatting.MISSING,
    )


def _line(one: ScalingComparison) -> ComparisonLine:
    exponents = {each.exponent: each for each in one.exponents}
    growth = None if one.compute is None else one.compute.growth
    values = [parts(growth)]
    values += [signed_parts(exponents[name].difference) if name in exponents else _NONE for name in EXPONENTS]
    apart = [name in exponents and exponents[name].apart for name in EXPONENTS]
    return ComparisonLine(family_of(one.family), one.family, tuple(values), (one.grows, *apart))


def _left_out(one: Sensitivity) -> DropOneTable:
    lines = tuple(
        (
            line.left_out,
            *(formatting.number(value, 3) for value in (line.alpha, line.beta, line.a, line.gamma, line.times)),
        )
        for line in one.lines
    )
    return DropOneTable(family_of(one.family), one.family, sensitivity_sentence(one), lines)
