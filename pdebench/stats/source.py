"""Tables to fit laws to: a CSV, a Parquet file, or a results folder, whose columns are known."""

from __future__ import annotations

import lzma
import math
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow

from pdebench.data.nouns import plural
from pdebench.errors import TableError, refused_by_system
from pdebench.files.disk import open_plain
from pdebench.files.parquet import Bounds, read_parquet
from pdebench.results.store import LEFT_OUT, Results, read_results
from pdebench.stats.cells import by_data, fill_in, is_results, states, told_apart
from pdebench.stats.csv_text import MOST_COLUMNS, MOST_ROWS, MOST_VALUES, SEPARATORS, read_csv
from pdebench.stats.left_out import counted
from pdebench.stats.numbers import decimal_points
from pdebench.stats.runs import FACTOR, Columns
from pdebench.tasks.scores import SCORES

LARGEST = Bounds(rows=MOST_ROWS, columns=MOST_COLUMNS, values=MOST_VALUES, size=2**28)
"""The most that a Parquet file may hold: what a CSV may."""


@dataclass(frozen=True)
class ChosenColumns:
    """Columns as given on the command line; what is left out a results table knows."""

    n: str | None = None
    d: str | None = None
    flops: str | None = None
    loss: str | None = None
    run: str | None = None
    group: tuple[str, ...] = ()
    factor: float = FACTOR


@dataclass(frozen=True)
class TableSource:
    """A table and how it was read.

    Attributes:
        path: of the file or the folder.
        table: all its rows; those of a CSV by their lines.
        separator: of a CSV's columns, else empty.
        decimal: the decimal sign of its numbers.
        unrecorded: cells of a results folder that have no record yet.
        left_out: sentences on its records that are none.
    """

    path: Path
    table: pd.DataFrame
    separator: str = ""
    decimal: str = "."
    unrecorded: int = 0
    left_out: tuple[str, ...] = ()

    @property
    def cells(self) -> dict[str, int]:
        """The cells of a results table by what became of them; empty for another table."""
        if not is_results(self.table):
            return {}
        known = states(self.table).replace("", "done").value_counts(sort=False)
        without = {"without a record": self.unrecorded} if self.unrecorded else {}
        return {str(state): int(count) for state, count in known.items()} | without

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        shown = {"path": str(self.path), "rows": len(self.table)}
        shown |= {"separator": self.separator, "decimal": self.decimal} if self.separator else {}
        shown |= {"left_out": list(self.left_out)} if self.left_out else {}
        return shown | ({"cells": self.cells} if self.cells else {})

    def told(self) -> list[str]:
        """What a reader should know of how it was read; nothing where nothing is odd."""
        found = []
        if self.separator not in ("", ","):
            sign = "commas" if self.decimal == "," else "points"
            found.append(
                f"Read with {SEPARATORS.get(self.separator, repr(self.separator))} between columns and decimal {sign}."
            )
        if set(self.cells) - {"done"}:
            found.append(f"Of {plural(sum(self.cells.values()), 'cell')}: {counted(self.cells)}.")
        return [*found, *(f"Left out: {text}." for text in self.left_out)]


def load(path: Path, asked: ChosenColumns) -> tuple[TableSource, Columns]:
    """A table that laws can be fitted to, and its columns.

    Raises:
        TableError: it is not there, or no table, its columns are not named, or its numbers cannot be told.
        ResultsError: a results folder that cannot be read.
    """
    source = read_table(path)
    if is_results(source.table):
        fill_in(source.table)
    columns = columns_of(source.table, asked)
    counts = [name for name in (columns.n, columns.d, columns.flops) if name is not None and name in source.table]
    if source.separator not in ("", ",") and columns.loss in source.table and source.table.columns.is_unique:
        table, commas = decimal_points(source.table, counts, columns.loss, source.separator)
        source = replace(source, table=table, decimal="," if commas else ".")
    return source, columns


def read_table(path: Path) -> TableSource:
    """A table; of a results folder all cells that have a record, and how many have none.

    Raises:
        TableError: it is not there, or no table.
        ResultsError: a results folder that cannot be read.
    """
    if not path.is_dir():
        return _read(path)
    # not by a link: the folder may be somebody else's
    whole = [
        path / name
        for name in ("table.parquet", "table.csv")
        if (path / name).is_file() and not (path / name).is_symlink()
    ]
    if whole and not (path / "cells").is_dir():
        return replace(_read(whole[0]), path=path)
    table = read_results(path)
    left = tuple(table.attrs.get(LEFT_OUT, ()))
    return TableSource(path, table, unrecorded=len(Results(path).plan()) - len(table) - len(left), left_out=left)


def columns_of(table: pd.DataFrame, asked: ChosenColumns) -> Columns:
    """The columns to fit.

    A results table is told apart by family, by whatever else of the configuration was varied at one size, the seed and
    the steps excepted, and in any case by its data.

    Raises:
        TableError: the columns of a table of another kind are not named, or the factor is no number.
    """
    n, d, flops, loss, run, group = asked.n, asked.d, asked.flops, asked.loss, asked.run, asked.group
    if not math.isfinite(asked.factor):
        raise TableError(f"--factor {asked.factor}: it has to be a number, such as 6")
    if is_results(table):
        n, loss, run = n or "params", loss or "val_loss", run or "cell"
        group = by_data(table, group) if group else told_apart(table)
        if d is None and flops is None:
            d, flops = "images_seen", "flops_train"
    if n is None or loss is None:
        lacking = " and ".join(option for option, value in (("--n", n), ("--loss", loss)) if value is None)
        shown = ", ".join(str(name)[:60] for name in table.columns[:12]) + (", ..." if len(table.columns) > 12 else "")
        raise TableError(f"{lacking}: name the column; the table has {shown}")
    if is_results(table) and (score := SCORES.get(loss)) is not None and score.higher_is_better:
        instead = f"{loss}_error" if f"{loss}_error" in table else "its loss or its error"
        raise TableError(f"--loss {loss}: {score.title} rises with compute, and laws are of what falls: take {instead}")
    return Columns(n=n, loss=loss, d=d, flops=flops, run=run, group=group, factor=asked.factor)


def _read(path: Path) -> TableSource:
    wanted = "give a CSV, a Parquet file or a results folder"
    try:
        # a FIFO would be waited for, and pyarrow calls some failures missing files
        open_plain(path, follow=True).close()
        if path.suffix == ".parquet":
            table = read_parquet(path, LARGEST, follow=True)
            named = [name for name in table.index.names if name is not None]
            return TableSource(path, table.reset_index() if named else table.reset_index(drop=True))
        return TableSource(path, *read_csv(path))
    except FileNotFoundError:
        raise TableError(f"there is no table {path}; {wanted}") from None
    except UnicodeDecodeError:
        raise TableError(f"{path} is no table: it is not text in UTF-8; save it so, or {wanted}") from None
    except (OSError, ValueError, EOFError, zlib.error, lzma.LZMAError, pyarrow.ArrowException) as error:
        if said := refused_by_system(error):
            raise TableError(f"cannot read {path}: {said}") from None
        why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise TableError(f"{path} is no table: {why}; {wanted}") from None
