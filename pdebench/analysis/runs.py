"""The rows that laws are fitted to: one family's runs, checked and typed, from a table with named columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdebench.analysis.power_sum import Array
from pdebench.errors import TableError, did_you_mean

FACTOR = 6.0
"""FLOPs for each parameter and token of a dense model's training: C = 6 N D (arXiv 2001.08361)."""

SAME_BUDGET = 1.12
"""Budgets this near to each other are one: whole steps keep a cell within 5% of what it was given."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what.

    Attributes:
        n: parameters.
        loss: what falls: a loss or a distance, positive.
        d: images (or tokens) seen; none: C / (factor N).
        flops: training FLOPs; none: factor N D.
        run: which run a row is of, where runs have several rows; none: each row is a run.
        group: columns that tell apart what is fitted apart, such as the family.
        factor: C / (N D), where one of the two is missing.
    """

    n: str
    loss: str
    d: str | None = None
    flops: str | None = None
    run: str | None = None
    group: tuple[str, ...] = ()
    factor: float = FACTOR


@dataclass(frozen=True)
class Runs:
    """One group's rows.

    Attributes:
        name: of the group; empty where all rows are one.
        n: parameters, (rows,).
        d: images or tokens seen.
        flops: of the training.
        loss: positive.
        run: which run each row is of, 0 and on.
        dropped: rows left out, because a number in them is missing or not positive.
        factor: C / (N D), the median.
    """

    name: str
    n: Array
    d: Array
    flops: Array
    loss: Array
    run: NDArray[np.int64]
    dropped: int = 0
    factor: float = field(default=FACTOR)

    @property
    def count(self) -> int:
        """Runs, the unit of every interval."""
        return int(self.run.max()) + 1 if len(self.run) else 0

    @property
    def sizes(self) -> Array:
        """The distinct numbers of parameters."""
        return np.unique(self.n)

    @property
    def budget(self) -> NDArray[np.int64]:
        """Which budget each row is of, 0 the smallest."""
        order = np.argsort(self.flops, kind="stable")
        place, first, index = np.zeros(len(order), dtype=np.int64), 0.0, -1
        for row in order:
            if index < 0 or self.flops[row] > SAME_BUDGET * first:
                index, first = index + 1, float(self.flops[row])
            place[row] = index
        return place

    def only(self, chosen: NDArray[np.bool_]) -> Runs:
        """Some of the rows; runs are numbered anew."""
        run = np.unique(self.run[chosen], return_inverse=True)[1].astype(np.int64)
        n, d, flops, loss = (values[chosen] for values in (self.n, self.d, self.flops, self.loss))
        return Runs(self.name, n, d, flops, loss, run, self.dropped, self.factor)


def runs_of(table: pd.DataFrame, columns: Columns) -> list[Runs]:
    """The table's rows by group, in the order in which groups first appear.

    Raises:
        TableError: a column that is not there or holds no numbers, or neither images nor FLOPs are named.
    """
    if columns.d is None and columns.flops is None:
        raise TableError("name the column of the images, or that of the training FLOPs (images are then C / 6N)")
    named = (columns.n, columns.loss, columns.d, columns.flops, columns.run, *columns.group)
    for column in filter(None, named):
        if column not in table:
            raise TableError(f"there is no column '{column}'; {did_you_mean(column, map(str, table))}")
    numbers = pd.DataFrame(
        {name: _numbers(table, name) for name in (columns.n, columns.loss, columns.d, columns.flops) if name}
    )
    values = numbers.to_numpy(dtype=float)
    good = (np.isfinite(values) & (values > 0)).all(axis=1)
    keys = pd.DataFrame(
        {column: table[column].map(lambda value, column=column: _named(column, value)) for column in columns.group},
        dtype=object,
    )
    names = (
        keys.apply(lambda row: ", ".join(filter(None, row)), axis=1)
        if columns.group
        else pd.Series("", index=table.index)
    )
    if columns.run is not None:
        good = good & table[columns.run].notna().to_numpy()
    found = []
    for name in names.unique():
        own = np.asarray(names == name)
        kept = own & good
        rows, n = numbers[kept], numbers.loc[kept, columns.n].to_numpy()
        flops = rows[columns.flops].to_numpy() if columns.flops else columns.factor * n * rows[columns.d].to_numpy()
        d = rows[columns.d].to_numpy() if columns.d else flops / (columns.factor * n)
        codes = np.arange(len(rows)) if columns.run is None else pd.factorize(table.loc[kept, columns.run])[0]
        factor = float(np.median(flops / (n * d))) if len(rows) else columns.factor
        dropped = int((own & ~good).sum())
        loss = rows[columns.loss].to_numpy()
        found.append(Runs(str(name), n, d, flops, loss, codes.astype(np.int64), dropped, factor))
    return found


def _named(column: str, value: Any) -> str:
    """A value that tells groups apart: a family by its name, `data.resolution` 32 as `resolution 32`, none as ""."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    _, dot, key = column.partition(".")
    return f"{key.replace('_', ' ')} {text}" if dot and key != "family" else text


def _numbers(table: pd.DataFrame, column: str) -> pd.Series:
    """A column as floats; what is missing stays so.

    Raises:
        TableError: it holds something else.
    """
    values = pd.to_numeric(table[column], errors="coerce").astype(float)
    wrong: Sequence[object] = table.loc[values.isna() & table[column].notna(), column].tolist()
    if wrong and values.notna().sum() == 0:
        raise TableError(f"column '{column}' holds no numbers but, for example, {str(wrong[0])[:40]!r}")
    return values
