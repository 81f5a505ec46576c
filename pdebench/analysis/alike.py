"""What else differs among the runs of one group, without being in its name."""

from __future__ import annotations

import pandas as pd

from pdebench.analysis.cells import settings
from pdebench.analysis.groups import plain
from pdebench.analysis.numbers import holds_numbers

_SHOWN = 4  # values of a column
_SETTINGS = {"resolution", "patch", "batch_size", "lr", "learning_rate", "precision", "nfe", "guidance", "optimizer"}
"""Names under which tables of others keep, as numbers, what a loss also depends on."""


def differing(rows: pd.DataFrame, runs: pd.Series | None, size: pd.Series, asked: set[str], cells: bool) -> list[str]:
    """A sentence for each column whose values differ among the rows.

    Args:
        rows: of one group.
        runs: which run each is of, if that is known.
        size: the parameters of each.
        asked: columns that have a part in the fit, or in the group's name.
        cells: whether they are cells of a results folder, whose columns are known.
    """
    names = settings(rows) if cells else [str(name) for name in rows if _looks_set(rows[name], str(name))]
    found = []
    for name in names:
        values = rows[name].map(plain)
        if name in asked or values.nunique() < 2:
            continue
        told = f"{name} differs: {_counted(values, runs)}"
        if cells or name.rpartition(".")[2].lower() in _SETTINGS:
            found.append(told)
        elif 2 * values.nunique() <= len(values) and (hint := _hint(values, size, name)):
            found.append(f"{told}; {hint}")
    return found


def _looks_set(column: pd.Series, name: str) -> bool:
    """Whether a column of an unknown table may hold a setting: a text, or a number under a usual name."""
    if isinstance(column, pd.DataFrame):
        return False
    return name.rpartition(".")[2].lower() in _SETTINGS or not holds_numbers(column)


def _hint(values: pd.Series, size: pd.Series, name: str) -> str:
    """What to do about a column of texts; "" where it only names the sizes."""
    sizes = size.groupby(values).nunique()
    if (sizes > 1).any():
        return f"all are fitted as one, --group {name} fits them apart"
    if values.groupby(size).nunique().max() == 1:
        return ""
    return f"if these are runs with several rows each, --run {name} counts each once"


def _counted(values: pd.Series, runs: pd.Series | None) -> str:
    counts = values.groupby(values).size() if runs is None else runs.groupby(values).nunique()
    shown = counts if len(counts) <= _SHOWN else counts.sort_values(ascending=False, kind="stable")[:_SHOWN]
    told = [f"{value or 'none'} for {count:,}" for value, count in shown.items()]
    told[0] += " rows" if runs is None else " runs"
    more = f" and {len(counts) - _SHOWN} values more" if len(counts) > _SHOWN else ""
    return ", ".join(told) + more
