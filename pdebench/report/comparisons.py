"""The results table sorted into fair comparisons: which families are compared, and with which of its runs each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from pdebench.report.budgets import TRAINING, Budget, budgets
from pdebench.report.differences import LEARNT, ColumnDifference, beside, differences
from pdebench.report.frame import SEED, families_in, of_samples


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

    Attributes:
        label: what tells it from the others of the table, in words.
        resolution: side of the images; NaN where it is not known.
        entries: one a family.
        unlike: where they trained differently, beside their families; that is told with the comparison.
        flops: the training FLOPs that all have, in words, where that is held equal; their sizes and steps differ.
    """

    label: str
    resolution: float
    entries: tuple[Contender, ...]
    unlike: tuple[ColumnDifference, ...] = ()
    flops: str = ""

    def ranking(self, column: str, *, lower: bool) -> list[Contender]:
        """Entries with a number in the column, the best first."""
        known = [entry for entry in self.entries if len(entry.values(column))]
        return sorted(known, key=lambda entry: entry.median(column) * (1 if lower else -1))


def comparisons(done: pd.DataFrame) -> list[Comparison]:
    """Split finished rows into fair comparisons, each family entered once, at its best setting.

    Losses of two tasks have nothing in common, so a comparison is of one: see `frame.make_frame`.
    See `budgets.budgets` for what is held equal within each.
    """
    found = []
    for budget in budgets(done):
        rows = budget.rows
        entries = [best_entry(family, rows[rows["model.family"] == family]) for family in families_in(rows)]
        found.append(_contest(budget, entries))
    return found


def _contest(budget: Budget, entries: Sequence[Contender]) -> Comparison:
    found = differences({entry.family: entry.rows for entry in entries}, LEARNT) if len(entries) > 1 else []
    told = tuple(replace(entry, beside=beside(found, entry.family)) for entry in entries)
    unlike = tuple(one for one in found if not (budget.flops and one.column in TRAINING))
    return Comparison(budget.label, budget.resolution, told, unlike, budget.flops)


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
