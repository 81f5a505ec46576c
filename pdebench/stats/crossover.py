"""Where one family overtakes another as tokens grow: the zero of their log-ratio, between two sizes measured.

Between sizes the log-ratio is taken as linear in log tokens; beyond them nothing is said, nor where the two can nowhere
be told apart. The interval joins the points where the ratio's 95% interval leaves 0. It holds the scatter within runs
and between seeds, not what differs from one process to the next on a machine that is not quiet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pdebench.stats.median import NORMAL_95, half_width
from pdebench.stats.paired import FEWEST_PAIRS, student_t

REFERENCE = "DiT"


@dataclass(frozen=True)
class Measured:
    """The log of a quantity at one size, and its standard error; NaN where a single figure stands for it."""

    log: float
    error: float


@dataclass(frozen=True)
class Crossover:
    """A size at which the ratio passes 1.

    Attributes:
        at: tokens.
        low: begin of its interval; None: outside what was measured, or no scatter is known.
        high: its end, likewise.
        rises: the ratio is above 1 beyond it.
        measured: the fewest and the most tokens where the interval was sought; None where no scatter is known.
    """

    at: float
    low: float | None
    high: float | None
    rises: bool
    measured: tuple[float, float] | None = None


def measured(rows: pd.DataFrame, column: str) -> Measured:
    """The median over runs of one setting, with the error of its log.

    Of a run's median it comes from the quartiles and the number of its timings, two or more. A peak of memory has no
    quartiles: its error is that between runs, from three on. Both are larger than a normal error by as much as the
    interval of so few samples is than the normal one, so that 1.96 of them make an interval.
    """
    values = rows[column].astype(float)
    center = float(values.median())
    if f"{column}_q1" not in rows:
        few = len(values) < FEWEST_PAIRS
        spread = math.nan if few else float(np.log(values).std(ddof=1)) * student_t(len(values) - 1) / NORMAL_95
        return Measured(math.log(center), spread / math.sqrt(len(values)))
    errors = []
    told = [column, *(f"{column}_{end}" for end in ("q1", "q3", "n"))]
    for row in rows[[name for name in told if name in rows]].to_dict("records"):
        low, high, n = (_number(row.get(f"{column}_{end}")) for end in ("q1", "q3", "n"))
        if low is not None and high is not None and n is not None and n >= 2:
            errors.append(half_width(int(n)) / NORMAL_95 * (high - low) / float(row[column]))
    within = float(np.mean(np.square(errors))) if errors else math.nan
    between = float(np.log(values).var(ddof=1)) if len(values) > 1 else 0.0
    return Measured(math.log(center), math.sqrt((within + between) / len(values)))


def crossovers(ours: dict[float, Measured], theirs: dict[float, Measured]) -> list[Crossover]:
    """Every size at which `ours` over `theirs` passes 1, among the sizes that both were measured at.

    Its interval is sought among the sizes around it whose scatter is known, without a gap.
    """
    sizes = sorted(ours.keys() & theirs.keys())
    x = [math.log(size) for size in sizes]
    ratio = [ours[size].log - theirs[size].log for size in sizes]
    half = [NORMAL_95 * math.hypot(ours[size].error, theirs[size].error) for size in sizes]
    found = []
    for at, rises, place in _zeros(x, ratio):
        around = _known(half, place)
        if around is None:
            found.append(Crossover(math.exp(at), None, None, rises))
            continue
        lows, highs = (
            _zeros(x[around], [r + sign * h for r, h in zip(ratio[around], half[around], strict=True)])
            for sign in (-1, 1)
        )
        first, last = (highs, lows) if rises else (lows, highs)  # where the interval lets go of one side, of the other
        low = max((zero for zero, up, _ in first if up == rises and zero <= at), default=None)
        high = min((zero for zero, up, _ in last if up == rises and zero >= at), default=None)
        if low is not None or high is not None:
            span = (sizes[around][0], sizes[around][-1])
            found.append(Crossover(math.exp(at), _exp(low), _exp(high), rises, span))
    return found


def above_everywhere(ours: dict[float, Measured], theirs: dict[float, Measured]) -> bool | None:
    """Whether `ours` is above `theirs` at every size that both have, or (False) below at every one; None: neither."""
    signs = {np.sign(ours[size].log - theirs[size].log) for size in ours.keys() & theirs.keys()}
    return bool(signs == {1}) if signs in ({1}, {-1}) else None


def _known(half: Sequence[float], place: int) -> slice | None:
    """The sizes around the gap that begins at `place` whose intervals are known; None where one of its ends is not."""
    known = [not math.isnan(one) for one in half]
    if not (known[place] and known[place + 1]):
        return None
    begin = max((i + 1 for i in range(place) if not known[i]), default=0)
    end = min((i for i in range(place + 2, len(half)) if not known[i]), default=len(half))
    return slice(begin, end)


def _zeros(x: Sequence[float], y: Sequence[float]) -> list[tuple[float, bool, int]]:
    """Where the piecewise linear function through the points changes its sign, whether upwards, and after which."""
    found = []
    for i in range(len(x) - 1):
        if (y[i] < 0) != (y[i + 1] < 0):
            found.append((x[i] + (x[i + 1] - x[i]) * y[i] / (y[i] - y[i + 1]), y[i] < 0, i))
    return found


def _exp(value: float | None) -> float | None:
    return None if value is None else math.exp(value)


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
