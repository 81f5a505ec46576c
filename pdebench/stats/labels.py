"""What a table says of each row beside its numbers: seed, size and learning rate; and under which conditions it ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdebench.stats.cells import CONTENT, is_results
from pdebench.stats.column_names import is_rate, is_seed
from pdebench.stats.groups import plain

_SIZE, _SEED = "model.size", "train.seed"  # of results; what another table calls a size may be anything


@dataclass(frozen=True)
class Labels:
    """Texts, one a row each; empty where the table does not say."""

    seed: tuple[str, ...] = ()
    size: tuple[str, ...] = ()
    rate: tuple[str, ...] = ()

    def only(self, chosen: NDArray[np.bool_]) -> Labels:
        """Those of some rows."""
        found = (
            tuple(text for text, kept in zip(texts, chosen, strict=True) if kept) if texts else ()
            for texts in (self.seed, self.size, self.rate)
        )
        return Labels(*found)


def labels_of(table: pd.DataFrame, rows: Sequence[int]) -> Labels:
    """Of rows at some positions."""
    cells = is_results(table)
    rates = [str(name) for name in table if is_rate(str(name))]
    return Labels(
        seed=_texts(table, rows, _seeds(table)),
        size=_texts(table, rows, [_SIZE] if cells and _SIZE in table else []),
        rate=_texts(table, rows, rates if len(rates) == 1 else []),
    )


def seed_of(table: pd.DataFrame, row: int) -> str:
    """The seeds of a row, whatever their columns are called."""
    return " ".join(plain(table[name].iloc[row]) for name in _seeds(table))


def _texts(table: pd.DataFrame, rows: Sequence[int], names: Sequence[str]) -> tuple[str, ...]:
    columns = [[plain(value) for value in table[name].iloc[list(rows)]] for name in names]
    return tuple(" ".join(texts) for texts in zip(*columns, strict=True))


def _seeds(table: pd.DataFrame) -> list[str]:
    if is_results(table):
        return [_SEED] if _SEED in table else []
    return [str(name) for name in table if is_seed(str(name))]


def conditions_of(table: pd.DataFrame, group: Sequence[str], row: int) -> str:
    """What has to be the same in two groups that are compared, of a row of one.

    In a results table that is the task and the data; other columns that tell its groups apart are what is compared. In
    another table the first column of the groups is compared, and the others are conditions.
    """
    if is_results(table):
        names = [name for name in group if name == "task" or name.startswith("data.") or name in CONTENT]
    else:
        names = list(group[1:])
    return ", ".join(plain(table[name].iloc[row]) for name in names)
