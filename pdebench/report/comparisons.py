"""The results table sorted into fair comparisons: which families are compared, and with which of its runs each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, cast

import numpy as np
import pandas as pd

from pdebench.report.differences import LEARNT, ColumnDifference, beside, differences
from pdebench.report.frame import BUDGET, SEED, families_in, named, of_samples, plain_value, plain_values


@dataclass(frozen=True)
class Contender:
    """One family in a comparison, as it was trained best by validation loss.

    Attributes:
        family: its name.
        rows: all that were trained so, one a seed, or more where a seed was evaluated in several ways or places.
        sampled: those of them that were evaluated in one way, the way that most seeds were.
        trained: what tells its trainings apart.
        setting: the same, and what tells its evaluations apart.
        tried: how many trainings it has.
        beside: what it trained with that others did not, where its setting does not say it: `steps 100`.
    """

    family: str
    rows: pd.DataFrame
    sampled: pd.DataFrame
    trained: str
    setting: str
    tried: int
    beside: str = ""

    @property
    def told(self) -> str:
        """Its setting, and what it has beside the others."""
        said = self.setting.split(", ")
        return ", ".join(filter(None, [self.setting, *(one for one in self.beside.split(", ") if one not in said)]))

    @property
    def seeds(self) -> int:
        """Runs of different seeds; the same on two machines is one of them."""
        return len(self.rows.drop_duplicates(SEED)) if self.rows[SEED].notna().all() else len(self.rows)

    def of(self, column: str) -> pd.DataFrame:
        """The rows that may be put together in a column: how a cell is evaluated changes no loss and every score."""
        return self.sampled if of_samples(column) else self.rows

    def values(self, column: str) -> pd.Series:
        """What was measured, one number a seed, without the missing."""
        if column not in self._values:
            self._values[column] = self._found(column)
        return self._values[column]

    @cached_property
    def _values(self) -> dict[str, pd.Series]:
        """What `values` has found: rankings ask again and again."""
        return {}

    def _found(self, column: str) -> pd.Series:
        if column not in self.rows:
            return pd.Series(dtype=float)
        known = self.of(column)[list(dict.fromkeys([SEED, column]))]
        known = known[known[column].notna()]
        if not known[SEED].is_unique and known[SEED].notna().all():
            return known.groupby(SEED, sort=False)[column].mean()
        return known[column]

    def median(self, column: str) -> float:
        """Median over seeds; NaN where nothing was measured."""
        values = self.values(column)
        return float(values.median()) if len(values) else float("nan")

    def spread(self, column: str) -> tuple[float, float]:
        """Lowest and highest over seeds, and over the quartiles within a run where the record has them."""
        low, high = (f"{column}_q1", f"{column}_q3")
        lows = self.values(low) if low in self.rows and len(self.values(low)) else self.values(column)
        highs = self.values(high) if high in self.rows and len(self.values(high)) else self.values(column)
        return float(lows.min()), float(highs.max())


@dataclass(frozen=True)
class Comparison:
    """Families that may be compared: one data set, one resolution, one budget.

    `unlike`: where they trained differently, beside their families; that is told with the comparison.
    """

    label: str
    resolution: float
    entries: tuple[Contender, ...]
    unlike: tuple[ColumnDifference, ...] = ()

    def ranking(self, column: str, *, lower: bool) -> list[Contender]:
        """Entries with a number in the column, the best first."""
        known = [entry for entry in self.entries if len(entry.values(column))]
        return sorted(known, key=lambda entry: entry.median(column) * (1 if lower else -1))


def comparisons(done: pd.DataFrame) -> list[Comparison]:
    """Split finished rows into fair comparisons, each family entered once, at its best setting.

    Losses of two tasks have nothing in common, so a comparison is of one: see `frame.make_frame`.
    Size, patch, frames, steps and batch size split the comparison only where some family was run with several of
    them: a suite that gives each family a size of its own, to match their cost, still compares them.
    """
    if done.empty:
        return []
    split = budget_split(done)
    several_sets = done["data.name"].nunique() > 1
    found = []
    for key, rows in done.groupby(["data.name", "data.resolution", *split], dropna=False, sort=True):
        name, resolution, *budget = cast(tuple[Any, ...], key)
        words = [str(name)] if several_sets and pd.notna(name) else []
        words.append(f"{resolution:g} px" if pd.notna(resolution) else "unknown resolution")
        words += [
            named(column, plain_value(value)) for column, value in zip(split, budget, strict=True) if pd.notna(value)
        ]
        entries = [best_entry(family, rows[rows["model.family"] == family]) for family in families_in(rows)]
        found.append(_contest(", ".join(words), float(resolution), entries))
    return found


def _contest(label: str, resolution: float, entries: Sequence[Contender]) -> Comparison:
    unlike = differences({entry.family: entry.rows for entry in entries}, LEARNT) if len(entries) > 1 else []
    told = tuple(replace(entry, beside=beside(unlike, entry.family)) for entry in entries)
    return Comparison(label, resolution, told, tuple(unlike))


def budget_split(rows: pd.DataFrame) -> list[str]:
    """The keys of the budget of which some family was run with several values."""
    places = [rows["data.name"].fillna(""), rows["data.resolution"].fillna(-1), rows["model.family"]]
    present = [key for key in BUDGET if key in rows]
    return [key for key in present if (plain_values(rows[key]).groupby(places).nunique() > 1).any()]


def best_entry(family: str, rows: pd.DataFrame) -> Contender:
    """A family's rows as they were trained with the lowest median validation loss."""
    losses = rows[["trained", SEED, "val_loss"]]
    trainings = {str(name): group for name, group in losses.groupby("trained", sort=True)}
    best = min(trainings, key=lambda name: (np.nan_to_num(_by_seed(trainings[name]).median(), nan=np.inf), name))
    own = rows.loc[trainings[best].index]
    evaluations = {str(name): group for name, group in own.groupby("setting", sort=True)}
    most = min(evaluations, key=lambda name: (-evaluations[name][SEED].nunique(), name))
    return Contender(family, own, evaluations[most], best, most, len(trainings))


def _by_seed(rows: pd.DataFrame) -> pd.Series:
    """The loss of each seed: one that was evaluated in two ways is one run."""
    return rows.groupby(SEED, dropna=False)["val_loss"].mean()
