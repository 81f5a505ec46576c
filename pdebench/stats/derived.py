"""Rows that were computed from others of the same size and images: averages of seeds, and rounded copies."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from pdebench.stats.column_names import is_seed
from pdebench.stats.digits import decimals
from pdebench.stats.groups import plain
from pdebench.stats.power_sum import Array
from pdebench.stats.suspects import summing

_SIGNIFICANT = 3  # digits of a rounded loss; fewer agree by chance
_FEWEST_COPIES = 5  # without seeds
_COPIES = 0.25  # of all rows then: one loss in ten ends in a zero, and may be near another's
_FEWEST_POINTS = 4  # with an average, where no cell says that it is one
_NEARLY_ALL = 0.9  # of the points have one then
_APART = 10.0  # times the last digit, that losses differ by where one of three is seldom between the others

Points = Sequence[Sequence[int]]
"""The rows of each point, by position: of one group, with equal parameters, images and FLOPs."""


def averages(losses: Array, points: Points, others: pd.DataFrame) -> dict[int, str]:
    """The rows whose loss is the mean or the median of the others of their point, and which of the two.

    Three seeds with few digits have such a row by chance. So a cell of the row has to be empty, or to name a summary,
    where the others have a value, or nearly every point has such a row.

    Args:
        losses: of all rows.
        points: which rows to look at.
        others: the columns that are no part of the fit.
    """
    blank = [others[name].isna().to_numpy(dtype=bool) | summing(others[name]) for name in others]
    sure: dict[int, str] = {}
    likely: dict[int, str] = {}
    possible = [list(rows) for rows in points if len(rows) > 2]
    for rows in possible:
        marked = {row for cells in blank if 2 * cells[rows].sum() <= len(rows) for row in rows if cells[row]}
        runs = [row for row in rows if row not in marked]
        for row in rows:
            others_of = [one for one in runs if one != row]
            what = _what(losses, row, others_of) if len(others_of) > 1 else ""
            if what and row in marked:
                sure[row] = what
            elif what and not marked and _apart(losses, row, others_of):
                likely = {one: told for one, told in likely.items() if one not in rows} | {row: what}
    if len(likely) >= max(_FEWEST_POINTS, _NEARLY_ALL * len(possible)):
        return sure | likely
    return sure


def rounded(losses: Array, points: Points, others: pd.DataFrame) -> dict[int, int]:
    """The rows whose loss is another's of their point with fewer digits, and that other.

    Two rows of one seed are one run. Where seeds are unknown such rows have to be many: a loss may end in zeros.

    Args:
        losses: of all rows.
        points: which rows to look at.
        others: the columns that are no part of the fit.
    """
    seeds = [others[name].map(plain).tolist() for name in others if is_seed(str(name))]
    digits = {row: decimals(losses[row]) for rows in points for row in rows}
    sure: dict[int, int] = {}
    likely: dict[int, int] = {}
    for rows in points:
        for row in rows:
            for fine in rows:
                if not (digits[fine] > digits[row] and _rounds(losses, fine, row, digits[row])):
                    continue
                known = [(of[fine], of[row]) for of in seeds if of[fine] and of[row]]
                if all(one == other for one, other in known):
                    (sure if known else likely).setdefault(row, fine)
    return sure | likely if len(likely) >= max(_FEWEST_COPIES, _COPIES * len(digits)) else sure


def _what(losses: Array, row: int, others: Sequence[int]) -> str:
    """What of the others' losses a row's is, as far as its digits and theirs go; empty where it is nothing."""
    close = _precision(losses, row, others)
    for name, value in (("mean", np.mean(losses[list(others)])), ("median", np.median(losses[list(others)]))):
        if math.isclose(losses[row], value, rel_tol=1e-9, abs_tol=close):
            return name
    return ""


def _apart(losses: Array, row: int, others: Sequence[int]) -> bool:
    """Whether the others differ by so much that a row is seldom their mean by chance."""
    return float(np.ptp(losses[list(others)])) > _APART * _precision(losses, row, others)


def _precision(losses: Array, row: int, others: Sequence[int]) -> float:
    """How far the printed digits of a loss and of others leave open what the others' mean is."""
    theirs = max(decimals(losses[one]) for one in others)
    return 0.501 * (10.0 ** -decimals(losses[row]) + 10.0**-theirs)


def _rounds(losses: Array, fine: int, coarse: int, places: int) -> bool:
    """Whether a loss is another in so many places."""
    value = float(losses[coarse])
    significant = places + math.floor(math.log10(value)) + 1
    return significant >= _SIGNIFICANT and abs(float(losses[fine]) - value) <= 0.501 * 10.0**-places
