"""How each family scales: laws with intervals, the largest budget as it was predicted, and what cannot be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from pdebench.data.nouns import Noun
from pdebench.errors import InsufficientData
from pdebench.report import formatting
from pdebench.report.charts import Figure
from pdebench.report.frame import SUBJECT, finished, measured, noun_of, scores_in
from pdebench.report.sections.scaling_charts import envelope_figure, isoflop_figure, residual_figure, within
from pdebench.report.sections.summary import Finding
from pdebench.stats.bootstrap import Interval
from pdebench.stats.cells import states, told_apart
from pdebench.stats.holdout import Held
from pdebench.stats.left_out import sentence
from pdebench.stats.power_law import PowerLaw, envelope, power_law
from pdebench.stats.runs import Columns, Runs, runs_of
from pdebench.stats.scaling import Scaling, scaling


@dataclass(frozen=True)
class ScalingLine:
    """One group's figures, as text; `why` stands in their place where `L(N, D)` was refused."""

    family: str
    who: str
    runs: str
    alpha: str
    beta: str
    a: str
    floor: str
    gamma: str
    held: str
    why: str


@dataclass(frozen=True)
class ScalingSection:
    """The section.

    Attributes:
        findings: in words, the subject's first.
        lines: a table, one line a group.
        groups: figures under a heading each.
        refusals: what could not be fitted, of whom and why.
        warnings: what to know before believing the rest.
    """

    findings: list[Finding]
    lines: list[ScalingLine]
    groups: list[tuple[str, list[Figure]]]
    refusals: list[str]
    warnings: list[str]

    @property
    def figures(self) -> list[Figure]:
        """Every chart of the section."""
        return [figure for _, figures in self.groups for figure in figures]


def scaling_section(table: pd.DataFrame) -> ScalingSection | None:
    """The section of a frame; None where it is no study of scaling: no family of several sizes and run lengths."""
    done = finished(table)
    done = done[states(done) == ""]
    apart = done.groupby("model.family")[["params", "images_seen"]].nunique()
    if not (apart > 1).all(axis=1).any():
        return None
    rows = table[~table["repeat"]]
    found = _laws(rows, "val_loss")
    groups = [(f"Loss against compute, parameters and {noun_of(done).many}", _figures(found, table))]
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
        findings=_findings(found, noun_of(done)),
        lines=[_line(one) for one in found],
        groups=[(title, figures) for title, figures in groups if figures],
        refusals=_by_whom(refusals),
        warnings=_by_whom(warnings),
    )


def _laws(rows: pd.DataFrame, loss: str) -> list[Scaling]:
    """The laws of every group, the subject's first."""
    return sorted(scaling(rows, _columns(rows, loss)), key=lambda one: family_of(one.group) != SUBJECT)


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


def _figures(found: Sequence[Scaling], table: pd.DataFrame) -> list[Figure]:
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
    known = [one for one in found if one.parametric is not None]
    return told + [_against(known[0], other) for other in known[1:]]


def _against(a: Scaling, b: Scaling) -> Finding:
    """Whether two groups spend compute alike."""
    assert a.parametric is not None
    assert b.parametric is not None
    one, other = a.parametric.a, b.parametric.a
    if one.low > other.high or other.low > one.high:
        more, less = (a, b) if one.value > other.value else (b, a)
        return Finding(
            f"{more.group} wants more of its compute in parameters than {less.group}.", "95% intervals apart"
        )
    return Finding(f"How {a.group} and {b.group} best share compute is not distinguishable.", "95% intervals overlap")


def _predicted(held: Sequence[Held]) -> str:
    inside = sum(point.covered for point in held)
    off = sorted(abs(point.predicted.value / point.observed - 1) for point in held)[len(held) // 2]
    points = formatting.plural(len(held), "size")
    return (
        f"held out and predicted from the smaller budgets, the largest had {inside} of {points} in the 95% interval "
        f"({off:.1%} off in the median)"
    )


def _line(one: Scaling) -> ScalingLine:
    law = one.parametric
    inside = f"{sum(point.covered for point in one.held)} of {len(one.held)}" if one.held else formatting.MISSING
    return ScalingLine(
        family=family_of(one.group),
        who=one.group,
        runs=str(one.runs.count),
        alpha=_told(None if law is None else law.alpha),
        beta=_told(None if law is None else law.beta),
        a=_told(None if law is None else law.a),
        floor=_told(None if law is None else law.E),
        gamma=_told(None if one.envelope is None else one.envelope.gamma),
        held=inside,
        why=one.refusals.get("L(N, D)", ""),
    )


def family_of(group: str) -> str:
    """The family of a group, whose name begins with it."""
    return group.split(", ")[0]


def _told(found: Interval | None) -> str:
    return formatting.MISSING if found is None else within(found)


def _by_whom(said: Sequence[tuple[str, str]]) -> list[str]:
    """Each sentence once, before it the groups that it is true of."""
    whose: dict[str, list[str]] = {}
    for group, told in said:
        whose.setdefault(told, []).append(group)
    return [f"{formatting.listed(groups)}: {told}." for told, groups in whose.items()]
