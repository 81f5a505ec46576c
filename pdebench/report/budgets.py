"""What a comparison holds equal: the size and the steps of a training, or its FLOPs.

A study at equal steps compares families of one size that took as many steps. A study at equal FLOPs gives every size
steps of its own: there one comparison is of one budget, and each family enters it at the size that serves it best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from pdebench.report import formatting
from pdebench.report.frame import CLIP, named, plain_value, plain_values
from pdebench.stats.runs import budgets as budgets_of

SHAPE = ("shell.preset", "model.patch", *CLIP)
"""Keys that split a comparison where a family was run with more than one value of them, whatever is held equal."""

TRAINING = ("model.size", "train.steps", "train.batch_size")
"""The same, of what a budget of FLOPs leaves open."""

EQUAL_FLOPS = 1.03
"""Budgets are met to half a step: 1.3% either way at 40 steps."""

_FLOPS = "budget.train_flops"


@dataclass(frozen=True)
class Budget:
    """Rows that were trained alike but for what is compared.

    Attributes:
        label: what they share and others of the table do not, in words.
        resolution: side of the images; NaN where it is not known.
        rows: of the table.
        flops: the training FLOPs that they share, in words; empty where they share size and steps instead.
    """

    label: str
    resolution: float
    rows: pd.DataFrame
    flops: str


def budgets(table: pd.DataFrame) -> list[Budget]:
    """The rows of a frame (see `frame.make_frame`) by data set, resolution and what else is held equal.

    A key splits them only where some family was run with several of its values: a suite that gives each family a size
    of its own, to match their cost, still compares them. FLOPs are held equal where that puts more beside each other.
    """
    several_sets = table["data.name"].nunique() > 1
    found = []
    for place, rows in table.groupby(["data.name", "data.resolution"], dropna=False, sort=True):
        name, resolution = cast(tuple[Any, Any], place)
        words = [str(name)] if several_sets and pd.notna(name) else []
        words.append(f"{resolution:g} px" if pd.notna(resolution) else "unknown resolution")
        known = rows.assign(**{_FLOPS: _nominal_flops(rows)})
        keys = _split(known)
        for values, part in known.groupby(keys, dropna=False, sort=True) if keys else [((), known)]:
            told = [_said(key, value) for key, value in zip(keys, cast(tuple[Any, ...], values), strict=True)]
            label = ", ".join([*words, *filter(None, told)])
            flops = told[-1] if keys[-1:] == [_FLOPS] else ""
            found.append(Budget(label, float(resolution), part.drop(columns=_FLOPS), flops))
    return found


def _split(rows: pd.DataFrame) -> list[str]:
    """The columns whose values tell the comparisons of one data set and resolution apart."""
    shape, training = _several(rows, SHAPE), _several(rows, TRAINING)
    by_flops, by_steps = ([*shape, *one] for one in ([_FLOPS], training))
    known = rows[rows[_FLOPS].notna()]
    if len(known) and _count(known, by_flops) < _count(known, by_steps):
        return by_flops
    return by_steps


def _several(rows: pd.DataFrame, keys: Sequence[str]) -> list[str]:
    families = rows["model.family"]
    return [key for key in keys if key in rows and (plain_values(rows[key]).groupby(families).nunique() > 1).any()]


def _count(rows: pd.DataFrame, keys: list[str]) -> int:
    return int(rows.groupby(keys, dropna=False).ngroups) if keys else 1


def _nominal_flops(rows: pd.DataFrame) -> pd.Series:
    """The budget of each row, the middle of all that are within `EQUAL_FLOPS` of it; NaN where none is known.

    A cell that failed before it counted its FLOPs has those of its other seeds, or the budget of all where it is one.
    """
    flops = rows["flops_train"].where(rows["flops_train"] > 0)
    flops = flops.fillna(flops.groupby([rows["model.family"], rows["trained"]]).transform("median"))
    known = np.log10(flops.dropna())
    middle: pd.Series = 10 ** known.groupby(budgets_of(10 ** known.to_numpy(), EQUAL_FLOPS)).transform("mean")
    return middle.reindex(rows.index).fillna(middle.iloc[0] if middle.nunique() == 1 else np.nan)


def _said(key: str, value: Any) -> str:
    if pd.isna(value):
        return ""
    return formatting.flops(value) if key == _FLOPS else named(key, plain_value(value))
