"""How each family scales: laws with intervals, the largest budget as it was predicted, and what cannot be said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from pdebench.data.nouns import Noun
from pdebench.errors import InsufficientData
from pdebench.report import formatting
from pdebench.report.charts import Figure
from pdebench.report.frame import SUBJECT, finished, measured, noun_of, scores_in
from pdebench.report.sections.scaling_charts import (
    envelope_figure,
    family_of,
    isoflop_figure,
    multiplier_figure,
    parts,
    residual_figure,
    within,
)
from pdebench.report.sections.scaling_comparison import (
    Compared,
    SealedTable,
    compared_with,
    comparison_findings,
    in_one_sentence,
    sealed_tables,
)
from pdebench.report.sections.scaling_headline import Headline, headlines
from pdebench.report.sections.summary import Finding
from pdebench.stats.cells import states, told_apart
from pdebench.stats.comparison import comparisons
from pdebench.stats.holdout import Held
from pdebench.stats.left_out import sentence
from pdebench.stats.paired_cells import paired
from pdebench.stats.power_law import PowerLaw, envelope, power_law
from pdebench.stats.runs import Columns, Runs, budgets, runs_of
from pdebench.stats.scaling import Scaling, scale
from pdebench.stats.sensitivity import sensitivities


@dataclass(frozen=True)
class ScalingLine:
    """One group's figures, as texts, and their intervals as others; `why` says that `L(N, D)` was refused.

    `held` is of how many sizes at the largest budget the prediction held, and how far off it was in the median.
    """

    family: str
    who: str
    runs: str
    alpha: tuple[str, str]
    beta: tuple[str, str]
    a: tuple[str, str]
    floor: tuple[str, str]
    gamma: tuple[str, str]
    held: tuple[str, str]
    why: str


@dataclass(frozen=True)
class ScalingSection:
    """The section.

    Attributes:
        findings: in words: how families compare, or what the laws of one family are.
        lines: a table, one line a group.
        notes: on its law of compute, the reasons for its form.
        groups: figures under a heading each.
        refusals: what could not be fitted, of whom and why.
        warnings: what to know before believing the rest.
        compared: families beside the reference.
        sealed: predictions that were made before, and what came.
        headlines: families in one table, by their losses at the largest budget.
        multiples: in words, how many times the reference's FLOPs each family needs; may be empty.
        only: in place of all that, where there is one budget.
    """

    findings: list[Finding] = field(default_factory=list)
    lines: list[ScalingLine] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    groups: list[tuple[str, list[Figure]]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    compared: Compared = field(default_factory=Compared)
    sealed: list[SealedTable] = field(default_factory=list)
    headlines: list[Headline] = field(default_factory=list)
    multiples: str = ""
    only: str = ""

    @property
    def figures(self) -> list[Figure]:
        """Every chart of the section."""
        return [figure for _, figures in self.groups for figure in figures]


def scaling_section(table: pd.DataFrame, folders: Mapping[str, Path] | None = None) -> ScalingSection | None:
    """The section of a frame; None where it is no study of scaling: no family of several sizes and run lengths.

    Args:
        table: of cells.
        folders: results folders by name, in which sealed predictions may stand.
    """
    done = finished(table)
    done = done[states(done) == ""]
    apart = done.groupby("model.family")[["params", "images_seen"]].nunique()
    if not (apart > 1).all(axis=1).any():
        return None
    rows = table[~table["repeat"]]
    runs = paired(runs_of(rows, _columns(rows, "val_loss")))
    if not any(one.count for one in runs):
        return None
    if (only := _one_budget(runs)) is not None:
        return ScalingSection(only=only)
    found = sorted(map(scale, runs), key=lambda one: family_of(one.group) != SUBJECT)
    groups = [(f"Loss against compute, parameters and {noun_of(done).many}", figures_of(found, table))]
    compared = comparisons(found, SUBJECT)
    if any(one.compute for one in compared):
        groups[0][1].insert(1, multiplier_figure(compared, table))
    refusals = [(one.group, f"{name}: {why}") for one in found for name, why in one.refused]
    warnings = [(one.group, warning) for one in found for warning in one.warnings]
    for score in scores_in(done, "frechet"):
        column, title = score.column, score.title
        if not measured(done, [column]):
            continue
        scored, refused = _envelopes(rows, column)
        if scored:
            groups.append((title, [envelope_figure(scored, table, title)]))
        refusals += [(group, f"{title}: {why}") for group, why in refused.items()]
        left = [(runs.name, sentence(runs.left_out, runs.rows)) for runs, _ in scored if runs.left_out]
        warnings += [(group, f"{title}: {why}") for group, why in left]
    return ScalingSection(
        findings=comparison_findings(compared) if compared else _findings(found, noun_of(done)),
        lines=[_line(one) for one in found],
        notes=_by_whom([(one.group, f"γ is of a law {one.envelope.why}") for one in found if one.envelope]),
        groups=[(title, figures) for title, figures in groups if figures],
        refusals=_by_whom(refusals),
        warnings=_by_whom(warnings),
        compared=compared_with(compared, sensitivities(found, compared)),
        sealed=sealed_tables(rows, folders or {}),
        headlines=headlines(found, compared),
        multiples=in_one_sentence(compared),
    )


def _one_budget(groups: Sequence[Runs]) -> str | None:
    """What there is to say of runs that had one budget in each setting; None where some had several."""
    known = [one for one in groups if one.count]
    if any(one.budget.max() > 0 for one in known):
        return None
    flops = np.concatenate([one.flops for one in known])
    runs, told = sum(one.count for one in known), formatting.amount(float(np.median(flops)), "FLOPs")
    had = f"All {runs} runs had one budget, {told} each"
    if budgets(flops).max() > 0:
        had = f"In each of {len(known)} settings all runs had one budget ({runs} runs)"
    return f"{had}: how loss falls with compute takes runs of other budgets, over a decade or more."


def _envelopes(rows: pd.DataFrame, score: str) -> tuple[list[tuple[Runs, PowerLaw]], dict[str, str]]:
    """The power laws of a score, and why groups that have it carry none. Other sample counts are other groups."""
    columns = _columns(rows, score)
    found, refused = [], {}
    for runs in runs_of(rows, replace(columns, group=tuple(dict.fromkeys((*columns.group, *_samples(rows)))))):
        if not runs.count:  # the score was not asked of it
            continue
        try:
            if runs.refusal:
                refused[runs.name] = runs.refusal
            else:
                found.append((runs, power_law(envelope(runs))))
        except InsufficientData as error:
            refused[runs.name] = str(error)
    return found, refused


def _columns(rows: pd.DataFrame, loss: str) -> Columns:
    return Columns("params", loss, "images_seen", "flops_train", "cell", told_apart(rows))


def _samples(rows: pd.DataFrame) -> tuple[str, ...]:
    return ("metric_samples",) if rows["metric_samples"].nunique() > 1 else ()


def figures_of(found: Sequence[Scaling], table: pd.DataFrame) -> list[Figure]:
    """The charts of some laws; of the table only its families matter."""
    fronts = [(one.runs, one.envelope) for one in found if one.envelope is not None]
    figures = [envelope_figure(fronts, table, "validation loss")] if fronts else []
    figures += [isoflop_figure(one, table) for one in found if one.isoflop is not None]
    return figures + ([residual_figure(found, table)] if any(one.parametric for one in found) else [])


def _findings(found: Sequence[Scaling], noun: Noun) -> list[Finding]:
    told = []
    for one in found:
        if (law := one.parametric) is not None:
            claim = (
                f"{one.group}: loss falls as N^−{within(law.alpha)} with parameters and D^−{within(law.beta)} with "
                f"{noun.many}; at equal compute the best size grows as C^{within(law.a)}."
            )
            told.append(
                Finding(claim, f"{formatting.plural(one.runs.count, 'run')}, 95% intervals by bootstrap over runs")
            )
        if one.held:
            told.append(Finding(f"{one.group}: {_predicted(one.held)}."))
        if one.envelope is not None:
            floor = "" if one.envelope.floor is None else f" above a floor of {within(one.envelope.floor)}"
            told.append(
                Finding(
                    f"{one.group}: the best loss of each budget falls as C^−{within(one.envelope.gamma)}{floor}.",
                    one.envelope.why,
                )
            )
    return told


def _predicted(held: Sequence[Held]) -> str:
    inside, off = _held(held)
    points = formatting.plural(len(held), "size")
    return (
        f"held out and predicted from the smaller budgets, the largest had {inside} of {points} in the 95% interval "
        f"({off:.1%} off in the median)"
    )


def _held(held: Sequence[Held]) -> tuple[int, float]:
    """How many predictions held, and how far off they were in the median, as a share."""
    off = sorted(abs(point.predicted.value / point.observed - 1) for point in held)[len(held) // 2]
    return sum(point.covered for point in held), off


def _line(one: Scaling) -> ScalingLine:
    law = one.parametric
    held = (formatting.MISSING, "")
    if one.held:
        inside, off = _held(one.held)
        held = f"{inside} of {len(one.held)}", f"{off:.1%} off"
    return ScalingLine(
        family=family_of(one.group),
        who=one.group,
        runs=str(one.runs.count),
        alpha=parts(None if law is None else law.alpha),
        beta=parts(None if law is None else law.beta),
        a=parts(None if law is None else law.a),
        floor=parts(None if law is None else law.E),
        gamma=parts(None if one.envelope is None else one.envelope.gamma),
        held=held,
        why=one.refusals.get("L(N, D)", ""),
    )


def _by_whom(said: Sequence[tuple[str, str]]) -> list[str]:
    """Each sentence once, before it the groups that it is true of."""
    whose: dict[str, list[str]] = {}
    for group, told in said:
        whose.setdefault(told, []).append(group)
    return [f"{formatting.listed(groups)}: {told}." for told, groups in whose.items()]
