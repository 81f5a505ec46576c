"""Where each family is better than DiT: the crossovers of a section's charts, as one table."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from pdebench.report import formatting
from pdebench.report.frame import family_order
from pdebench.stats.crossover import REFERENCE, Crossover, Measured, above_everywhere, crossovers, measured
from pdebench.stats.paired import FEWEST_PAIRS


@dataclass(frozen=True)
class CurveStanding:
    """How a curve stands to DiT's of the same size, kind and machine.

    Attributes:
        curve: its name, which begins with its family.
        other: the name of DiT's.
        crossings: where it passes that one.
        above: whether it is above at every size that both were measured at, or below at every one; None: neither.
    """

    curve: str
    other: str
    crossings: list[Crossover]
    above: bool | None

    @property
    def family(self) -> str:
        """Of the curve."""
        return family_of(self.curve)


@dataclass(frozen=True)
class CrossoverTable:
    """The table: a column a chart, a row a curve.

    Attributes:
        unit: of the places where one curve passes another.
        columns: titles of the charts.
        rows: family, curve, and what stands in each column.
    """

    unit: str
    columns: list[str]
    rows: list[tuple[str, str, list[str]]]


def standings(rows: pd.DataFrame, curves: Sequence[str], x: str, y: str, *, scatter: bool) -> list[CurveStanding]:
    """Each curve against DiT's, where there is one, in the palette's order of families.

    Args:
        rows: one a run.
        curves: the curve of each.
        x: the column of sizes.
        y: the column that is compared.
        scatter: leave out crossovers without an interval: where the median is of one run, they may be chance.
    """
    by_curve = {
        str(curve): {float(size): _over_runs(part, y) for size, part in own.groupby(x)}  # type: ignore[arg-type]
        for curve, own in rows.groupby(pd.Series(list(curves), index=rows.index))
    }
    found = []
    for curve in sorted(by_curve, key=order_of(rows)):
        other = ", ".join([REFERENCE, *curve.split(", ")[1:]])
        if other != curve and other in by_curve:
            ours, theirs = by_curve[curve], by_curve[other]
            crossed = [one for one in crossovers(ours, theirs) if one.measured or not scatter]
            found.append(CurveStanding(curve, other, crossed, above_everywhere(ours, theirs)))
    return found


def _over_runs(rows: pd.DataFrame, y: str) -> Measured:
    """The median of some runs. Of fewer than three it has no error: what they scattered within a process is not it."""
    found = measured(rows, y)
    return found if len(rows) >= FEWEST_PAIRS else replace(found, error=math.nan)


def crossover_table(
    unit: str, found: Sequence[tuple[str, Sequence[CurveStanding]]], *, higher_is_better: bool
) -> CrossoverTable | None:
    """The table of some charts' standings, by their titles; None where DiT has no other beside it."""
    columns = {title: {one.curve: one for one in of_chart} for title, of_chart in found if of_chart}
    curves = list(dict.fromkeys(curve for of_chart in columns.values() for curve in of_chart))
    rows = [
        (family_of(curve), curve, [_told(of_chart.get(curve), higher_is_better) for of_chart in columns.values()])
        for curve in curves
    ]
    return CrossoverTable(unit, list(columns), rows) if rows else None


def family_of(curve: str) -> str:
    """A curve's family, with which its name begins."""
    return curve.split(", ")[0]


def order_of(rows: pd.DataFrame) -> Callable[[str], tuple[int, str]]:
    """A key that sorts curves by their families' places in the palette."""
    order = family_order(rows)
    return lambda curve: (order.index(family_of(curve)), curve)


def _told(standing: CurveStanding | None, higher_is_better: bool) -> str:
    """Where a curve is better: `from 340 (327–354)`, `everywhere`."""
    if standing is None:
        return formatting.MISSING
    if standing.crossings:
        return ", ".join(_span(one, one.rises == higher_is_better) for one in standing.crossings)
    if standing.above is None:
        return formatting.MISSING
    return "everywhere" if standing.above == higher_is_better else "nowhere"


def _span(one: Crossover, better_beyond: bool) -> str:
    text = f"{'from' if better_beyond else 'up to'} {one.at:,.0f}"
    if one.low == one.high:  # unknown, or of bytes that are the same in every run
        return text
    if one.low is None:
        return f"{text} (to {one.high:,.0f})"
    return f"{text} ({one.low:,.0f} on)" if one.high is None else f"{text} ({one.low:,.0f}–{one.high:,.0f})"
