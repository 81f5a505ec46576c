"""How far B is from A in each quantity, and whether what was measured lets one say which is better.

Seeds that both sides ran are pairs: the interval is Student's over their differences, of logarithms where values are
positive. A cell is a process of its own, so seeds are repeated processes too, as far as timings go; where there are
fewer than three, the scatter within a process gives an interval that says nothing of the next process, and so no
verdict. What differs by less than a float32 carries is equal: another version of PyTorch sums in another order, and
differences so small would have intervals smaller still. p-values of all tests of one comparison go through Benjamini
and Hochberg's step-up.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from pdebench.compare.pairing import CellPair, labels
from pdebench.compare.quantities import Quantity, asked_of, why_not
from pdebench.report.frame import SEED
from pdebench.stats.crossover import measured as median_of
from pdebench.stats.median import NORMAL_95
from pdebench.stats.paired import FEWEST_PAIRS, PairedDifference, paired
from pdebench.stats.regression import rejected

ALPHA = 0.05
_ROUNDING = 1e-6  # a share; float32 carries 1.2e-7, and a run of some hundred steps passes its errors on
Verdict = Literal[
    "A is better", "B is better", "A is higher", "B is higher", "not distinguishable", "equal", "differs",
    "within one process", "no interval",
]  # fmt: skip


@dataclass(frozen=True)
class QuantityDifference:
    """One quantity of one pair of settings, or of all of them.

    Attributes:
        quantity: what is compared.
        setting: in words; empty of all settings together.
        a: mean over the seeds that are compared, of ratios the geometric one.
        b: likewise.
        change: B less A; of a ratio the logarithm of B / A.
        low: begin of its 95% interval; None where there is none.
        high: its end.
        pairs: seeds that both sides have, of all settings the settings.
        verdict: what that lets one say.
        by_difference: `change` is a difference, no logarithm.
        p_value: of no difference; None where there is no test.
    """

    quantity: Quantity
    setting: str
    a: float
    b: float
    change: float
    pairs: int
    verdict: Verdict
    by_difference: bool
    low: float | None = None
    high: float | None = None
    p_value: float | None = None


@dataclass(frozen=True)
class NotCompared:
    """A quantity that is not compared in some settings, and why."""

    quantity: Quantity
    reason: str
    settings: tuple[str, ...]


def judge(
    table: pd.DataFrame, pairs: Sequence[CellPair], asked_for: Sequence[Quantity], named: Collection[str]
) -> tuple[list[QuantityDifference], list[NotCompared]]:
    """Every quantity in every pair, and over the pairs where there are three or more; and what is not compared.

    Args:
        table: of both sides, see `sides.read_sides`.
        pairs: of its rows.
        asked_for: what to compare.
        named: columns that the user named: costs of different machines are compared where they are among them.
    """
    found: list[QuantityDifference] = []
    refused: list[NotCompared] = []
    ends = [end for one in asked_for for end in _quartiles(one.column) if end in table]
    table = table[list(dict.fromkeys([SEED, *asked_of(table), *(one.column for one in asked_for), *ends]))]
    sides = [
        (label, table.loc[list(pair.a)], table.loc[list(pair.b)])
        for pair, label in zip(pairs, labels(pairs), strict=True)
    ]
    for one in asked_for:
        reasons: dict[str, list[str]] = {}
        own: list[QuantityDifference] = []
        for label, a, b in sides:
            if reason := why_not(one, a, b, named):
                reasons.setdefault(reason, []).append(label)
            else:
                own.append(_difference(one, label, a, b))
        found += own
        if one.kind != "exact" and len(own) >= FEWEST_PAIRS:
            found += _over_settings(one, own)
        refused += [NotCompared(one, reason, tuple(where)) for reason, where in reasons.items()]
    return list(_with_verdicts(found)), refused


def _difference(one: Quantity, label: str, a: pd.DataFrame, b: pd.DataFrame) -> QuantityDifference:
    ours, theirs = _by_seed(one, a), _by_seed(one, b)
    shared = ours.keys() & theirs.keys()
    values = [side[seed] for side in (ours, theirs) for seed in (shared or side)]
    by_difference = one.by_difference or min(values) <= 0
    scale = (lambda value: value) if by_difference else math.log
    back = (lambda value: value) if by_difference else math.exp
    over = paired({s: scale(v) for s, v in theirs.items()}, {s: scale(v) for s, v in ours.items()})
    seeds = shared or ours.keys(), shared or theirs.keys()
    means = [sum(scale(side[s]) for s in which) / len(which) for side, which in zip((ours, theirs), seeds, strict=True)]
    shown = [back(mean) for mean in means]
    if one.kind == "exact":  # which a logarithm would round
        shown = [sum(side[s] for s in which) / len(which) for side, which in zip((ours, theirs), seeds, strict=True)]
    plain = QuantityDifference(
        one, label, shown[0], shown[1], means[1] - means[0], len(shared), "no interval", by_difference
    )
    closeness = 0.0 if one.kind == "exact" else _ROUNDING
    if shared and all(math.isclose(ours[seed], theirs[seed], rel_tol=closeness) for seed in shared):
        return replace(plain, change=0.0, verdict="equal")
    if one.kind == "exact":
        return replace(plain, verdict="differs")
    if over is not None and over.low is not None:
        return _tested(plain, over)
    return _within(plain, a, b) if one.kind == "cost" and not by_difference else plain


def _by_seed(one: Quantity, rows: pd.DataFrame) -> dict[float, float]:
    """One number a seed; of a record that does not say its seed the seed is -1."""
    found: dict[float, list[float]] = {}
    values = rows[one.column].to_numpy(float, na_value=math.nan)
    for seed, value in zip(rows[SEED].to_numpy(float), values, strict=True):
        if not math.isnan(value):
            found.setdefault(-1.0 if math.isnan(seed) else float(seed), []).append(float(value))
    return {seed: sum(values) / len(values) for seed, values in found.items()}


def _tested(plain: QuantityDifference, over: PairedDifference) -> QuantityDifference:
    return replace(
        plain, change=over.mean, low=over.low, high=over.high, pairs=over.pairs, p_value=over.p_value,
        verdict="not distinguishable",
    )  # fmt: skip


def _within(plain: QuantityDifference, a: pd.DataFrame, b: pd.DataFrame) -> QuantityDifference:
    """With the interval that the scatter within a process gives, where its record has quartiles."""
    column = plain.quantity.column
    ends = _quartiles(column)
    if not all(end in a and end in b for end in ends):
        return plain
    sides = [rows[[column, *ends]].dropna(subset=[column]).rename(columns=ends).astype(float) for rows in (a, b)]
    ours, theirs = (median_of(rows, column) for rows in sides)
    half = NORMAL_95 * math.hypot(ours.error, theirs.error)
    if math.isnan(half):
        return plain
    return replace(plain, low=plain.change - half, high=plain.change + half, verdict="within one process")


def _quartiles(column: str) -> dict[str, str]:
    """The columns of a timing's quartiles and of their number, and what they are called beside `column`."""
    return {f"{column.removesuffix('_median')}_{end}": f"{column}_{end}" for end in ("q1", "q3", "n")}


def _over_settings(one: Quantity, own: Sequence[QuantityDifference]) -> Iterator[QuantityDifference]:
    """The mean of the settings' changes, each counting once: its interval is that over settings."""
    if len({each.by_difference for each in own}) > 1 or all(each.verdict == "equal" for each in own):
        return
    over = paired({float(i): each.change for i, each in enumerate(own)}, {float(i): 0.0 for i in range(len(own))})
    if over is not None:
        nothing = math.nan
        yield _tested(
            QuantityDifference(one, "", nothing, nothing, over.mean, over.pairs, "no interval", own[0].by_difference),
            over,
        )


def _with_verdicts(found: Sequence[QuantityDifference]) -> Iterator[QuantityDifference]:
    """A direction where the interval leaves 0 and the test holds among all others."""
    tests = [each for each in found if each.p_value is not None]
    holds = dict(zip(map(id, tests), rejected([each.p_value for each in tests if each.p_value is not None], ALPHA),
                     strict=True))  # fmt: skip
    for each in found:
        if not holds.get(id(each)):
            yield each
            continue
        more = "B" if each.change > 0 else "A"
        less = "A" if each.change > 0 else "B"
        lower = each.quantity.lower
        verdict = f"{more} is higher" if lower is None else f"{less if lower else more} is better"
        yield replace(each, verdict=verdict)  # type: ignore[arg-type]
