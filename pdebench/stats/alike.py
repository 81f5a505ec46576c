"""What else differs among the runs of one group, without being in its name."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pdebench.stats.cells import settings
from pdebench.stats.column_names import is_no_setting, is_setting
from pdebench.stats.groups import plain
from pdebench.stats.numbers import holds_numbers

_SHOWN = 4  # values of a column
_FEW = 8  # values of a number that is set, where one that is measured has another in most rows
_CHANCE = 1e-4


def differing(
    rows: pd.DataFrame, runs: pd.Series | None, points: pd.DataFrame, asked: set[str], cells: bool
) -> list[str]:
    """A sentence for each column whose values differ among the rows.

    Args:
        rows: of one group.
        runs: which run each is of, if that is known.
        points: the size, the images and the loss of each, in this order.
        asked: columns that have a part in the fit, or in the group's name.
        cells: whether they are cells of a results folder, whose columns are known.
    """
    size = points.iloc[:, 0]
    names = settings(rows) if cells else [str(name) for name in rows if not isinstance(rows[name], pd.DataFrame)]
    found = []
    for name in names:
        values = rows[name].map(plain)
        if name in asked or values.nunique() < 2:
            continue
        told = f"{name} differs: {_counted(values, runs)}"
        if cells or is_setting(name):
            found.append(told)
        elif holds_numbers(rows[name]):
            if not is_no_setting(name) and _set_apart(values, points):
                found.append(f"{told}, at equal sizes and images; {_apart(name)}")
        elif 2 * values.nunique() <= len(values) and (hint := _hint(values, size, name)):
            found.append(f"{told}; {hint}")
    return found


def _set_apart(values: pd.Series, points: pd.DataFrame) -> bool:
    """Whether a number of an unknown name takes few values, and several of them at equal sizes and images.

    Numbers from 0 or 1 on may count seeds: then the loss has to differ by them, beyond chance.
    """
    kinds = values[values != ""].unique()
    among = [points.iloc[:, 0], points.iloc[:, 1]]
    if len(kinds) > _FEW or 2 * len(kinds) > len(values) or (values.groupby(among).nunique() < 2).all():
        return False
    counted = {*kinds} in ({str(number + first) for number in range(len(kinds))} for first in (0, 1))
    return not counted or _matters(values, np.log(points.iloc[:, 2]), among)


def _matters(values: pd.Series, loss: pd.Series, among: list[pd.Series]) -> bool:
    """Whether losses of equal sizes and images differ by a column's values."""
    from scipy import stats  # takes longer to import than pandas

    apart = loss - loss.groupby(among).transform("mean")
    kinds = [own for _, own in apart.groupby(values) if len(own) > 1]
    return len(kinds) > 1 and bool(stats.f_oneway(*kinds).pvalue < _CHANCE)


def _apart(name: str) -> str:
    return f"all are fitted as one, --group {name} fits them apart"


def _hint(values: pd.Series, size: pd.Series, name: str) -> str:
    """What to do about a column of texts; "" where it only names the sizes."""
    sizes = size.groupby(values).nunique()
    if (sizes > 1).any():
        return _apart(name)
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
