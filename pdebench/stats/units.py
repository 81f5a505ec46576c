"""Counts in two units in one column: thousands or millions beside counts in full; and counts where a loss should be.

Units that all rows share change no exponent, and a count that was computed, such as C / 6N, may have a fraction. So a
fraction is refused only where the count is small and others are whole and large.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdebench.errors import TableError
from pdebench.stats.digits import decimals
from pdebench.stats.power_sum import Array

_LARGE = 1e4
"""From here on a count is one in full: a fraction of it is of no matter, and one of thousands or millions is rarer."""

_LARGE_BESIDE_PARTS = 1e3  # beside a count below 1
_FLOPS = 1e12  # no training of 10,000 FLOPs stands beside one of these
_OFF = 1.5  # times 6 N D, from which on it is said: attention and embeddings of a language model are less
_UNITS = {"thousands": 3, "millions": 6, "billions": 9}  # digits of a whole count behind the point


def refuse_mixed(numbers: pd.DataFrame, counts: Sequence[str], flops: str | None, places: Sequence[str]) -> None:
    """Raise TableError for the first row whose count, or FLOPs, is in another unit than that of others.

    Args:
        numbers: the columns of a table that laws are fitted to.
        counts: those of parameters and of images or tokens.
        flops: that of FLOPs, which may be of any size and have a fraction.
        places: what a person calls each row.
    """
    for name in counts:
        values = numbers[name].to_numpy()
        small = _parts(values) & np.array([value < 1 or _scaled(value) for value in values], dtype=bool)
        whole = np.isfinite(values) & (values == np.floor(values))
        if not small.any() or not whole.any():
            continue
        least = _LARGE_BESIDE_PARTS if values[small].min() < 1 else _LARGE
        large = whole & (values >= least)
        if large.any():
            row, other = int(np.argmax(small)), int(np.argmax(large))
            many = f" ({small.sum():,} such cells in the column)" if small.sum() > 1 else ""
            raise TableError(
                f"{places[row]}, column '{name}': {_shown(values[row])} is no whole number, where {places[other]} has "
                f"{_shown(values[other])}{many}; {_instead(values[row])}"
            )
    if flops is None or not len(numbers):
        return
    values = numbers[flops].to_numpy()
    small, large = (values > 0) & (values < _LARGE), np.isfinite(values) & (values >= _FLOPS)
    if small.any() and large.any():
        row, other = int(np.argmax(small)), int(np.argmax(large))
        raise TableError(
            f"{places[row]}, column '{flops}': {_shown(values[row])} FLOPs are in another unit than {places[other]}, "
            f"which has {_shown(values[other])}; write all in one unit, such as 1e15"
        )


def refuse_counts(name: str, values: Array, places: Sequence[str]) -> None:
    """Raise TableError where a loss column holds only large whole numbers, which are counts: two columns were swapped.

    Args:
        name: the column's.
        values: its numbers, NaN where there is none.
        places: what a person calls each row.
    """
    there = np.flatnonzero(np.isfinite(values))
    known = values[there]
    if len(known) and (known >= _LARGE).all() and (known == np.floor(known)).all():
        raise TableError(
            f"{places[there[0]]}, column '{name}': {_shown(known[0])} is a count, as all of the column are, and no "
            "loss; name another column with --loss"
        )


def shared_unit(name: str, values: Array) -> str:
    """How a column of counts with small fractions was read; empty where there are none."""
    small = _parts(values)
    if not small.any():
        return ""
    first = float(values[small][0])
    thousands = small.all() and all(_scaled(value, _UNITS["thousands"]) for value in values)
    told = (
        f"{name} has fractions, {values.min():g} to {values.max():g}: it was read as it is written, in a unit that all "
        "rows share, and FLOPs that are computed from it are in that unit"
    )
    return (
        f"{told}; if its point parts thousands, write {round(1e3 * first)} for {_shown(first)}" if thousands else told
    )


def _parts(values: Array) -> NDArray[np.bool_]:
    """Which values are small and have a fraction."""
    return np.asarray((values > 0) & (values < _LARGE) & (values != np.floor(values)))


def _instead(value: float) -> str:
    """What to write in the place of a count in another unit."""
    known = [
        f"{round(value * 10**digits)} if it is in {unit}" for unit, digits in _UNITS.items() if _scaled(value, digits)
    ]
    return f"write {', '.join(known[:2])}" if known else "write all counts in full, or all in one unit"


def _scaled(value: float, digits: int = max(_UNITS.values())) -> bool:
    """Whether a number may be a whole count in another unit; one that was computed has more digits."""
    return math.isfinite(value) and decimals(value) <= digits


def _shown(value: float) -> str:
    """In full, without a needless `.0`."""
    return f"{value:.15g}"


def other_factor(factors: Array, expected: float) -> str:
    """A sentence where FLOPs are not those of a dense model's parameters and tokens; empty where they are.

    Args:
        factors: C / (N D) of each row, where the table has all three.
        expected: what it is of a dense model's training, 6.
    """
    middle = float(np.median(factors))
    times = middle / expected
    if 1 / _OFF < times < _OFF:
        return ""
    return (
        f"FLOPs are {middle:.3g} N D in the median, {times:.3g} times {expected:g} N D: right where each of D has many "
        "tokens, or attention adds to them; else parameters, images or FLOPs are counted otherwise "
        "(multiply-accumulates are half of the FLOPs, a forward pass is a third)"
    )
