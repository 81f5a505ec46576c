"""Rows that may be no runs: the averages and totals that spreadsheets end with.

A row that says so itself, and lacks what the others have, is left out and named. One that only looks so is named: a run
may have a cell missing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_MOST = 0.1  # share of the rows that may lack a cell, for it to be one that the others have
_WORDS = re.compile(
    r"(grand )?(mean|average|avg\.?|median|total|sum|std\.?|stdev|std dev|min|max|minimum|maximum|count|all|overall"
    r"|summary|25%|50%|75%)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Suspects:
    """What is odd about rows, by their position.

    Attributes:
        left: rows of a summary, and why each is none of a run.
        named: other rows, and what is odd about each: what it says, or lacks.
    """

    left: dict[int, str]
    named: dict[int, str]


def suspects(table: pd.DataFrame, run: str | None, numbers: Sequence[str]) -> Suspects:
    """The rows of a table that is of no results folder which may be of a summary.

    Args:
        table: rows.
        run: its column of runs, if it was named: no run is called `mean`.
        numbers: its columns that hold what laws are fitted to, which are checked elsewhere.
    """
    every = list(table.columns)
    others = [name for name in every if isinstance(name, str) and name not in numbers and every.count(name) == 1]
    says = {name: _summing(table[name]) for name in others}
    word = np.any(list(says.values()), axis=0) if says else np.zeros(len(table), dtype=bool)
    usual = [name for name in says if name != run and _usual(table.loc[~word, name])]
    empty = {name: table[name].isna().to_numpy(dtype=bool) for name in usual}
    lacks = {
        int(row): [name for name in usual if empty[name][row]]
        for row in np.flatnonzero(np.any(list(empty.values()), axis=0) if empty else [])
    }
    left, named = {}, {}
    for row in sorted({*map(int, np.flatnonzero(word)), *lacks}):
        told = [name for name, rows in says.items() if rows[row]]
        missing = lacks.get(row, [])
        if told and (missing or run in told or (run is not None and pd.isna(table[run].iloc[row]))):
            left[row] = f"{told[0]} is '{str(table[told[0]].iloc[row]).strip()}', a row of a summary"
        elif missing:
            named[row] = f"lacks {' and '.join(missing[:3])}, which the other rows have"
        elif word.mean() <= _MOST:
            named[row] = f"says '{str(table[told[0]].iloc[row]).strip()}' in '{told[0]}'"
    return Suspects(left, named)


def summing(column: pd.Series) -> NDArray[np.bool_]:
    """Which cells name a summary."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return np.zeros(len(column), dtype=bool)
    return np.array([isinstance(cell, str) and bool(_WORDS.fullmatch(cell.strip())) for cell in column], dtype=bool)


def _summing(column: pd.Series) -> NDArray[np.bool_]:
    """Which cells name a summary, in a column of names that are another in each row, or where hardly any does.

    A family may well be called `mean`, after what it mixes by.
    """
    found = summing(column)
    others = column[~found].dropna().astype(str)
    names = 2 * found.sum() < len(found) and 2 * others.nunique() > len(others)
    return found if names or found.sum() <= _MOST * len(found) else np.zeros(len(column), dtype=bool)


def _usual(column: pd.Series) -> bool:
    """Whether nearly every row has a value."""
    return len(column) > 0 and float(column.isna().mean()) <= _MOST
