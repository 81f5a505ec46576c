"""Tables to fit laws to: a CSV, a Parquet file, or a results folder, whose columns are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow

from pdebench.analysis.runs import FACTOR, Columns
from pdebench.errors import TableError
from pdebench.record import DIMENSIONS
from pdebench.store import load_results

_RESULTS = {"cell", "status", "model.family", "params", "images_seen", "flops_train"}
_CONFIGURED = ("data.", "model.", "train.", "evaluate.", "measure.")
_SCALED = {
    "model.family",
    "model.size",
    *DIMENSIONS,
    "train.seed",
    "train.steps",
}  # what a law is fitted over, or noise


@dataclass(frozen=True)
class Asked:
    """Columns as given on the command line; what is left out a results table knows."""

    n: str | None = None
    d: str | None = None
    flops: str | None = None
    loss: str | None = None
    run: str | None = None
    group: tuple[str, ...] = ()
    factor: float = FACTOR


def read_table(path: Path) -> pd.DataFrame:
    """A table; of a results table the cells that are done.

    Raises:
        TableError: it is not there, or no table.
        ResultsError: a results folder that cannot be read.
    """
    if path.is_dir():
        whole = [path / name for name in ("table.parquet", "table.csv") if (path / name).is_file()]
        table = load_results(path) if (path / "cells").is_dir() or not whole else _read(whole[0])
    else:
        table = _read(path)
    return table[table["status"] == "done"].reset_index(drop=True) if _is_results(table) else table


def columns_of(table: pd.DataFrame, asked: Asked) -> Columns:
    """The columns to fit.

    A results table is told apart by family, and by whatever else of the configuration was varied at one size, the seed
    and the steps excepted.

    Raises:
        TableError: the columns of a table of another kind are not named.
    """
    n, d, flops, loss, run, group = asked.n, asked.d, asked.flops, asked.loss, asked.run, asked.group
    if _is_results(table):
        n, loss, run, group = n or "params", loss or "val_loss", run or "cell", group or told_apart(table)
        if d is None and flops is None:
            d, flops = "images_seen", "flops_train"
    if n is None or loss is None:
        lacking = " and ".join(option for option, value in (("--n", n), ("--loss", loss)) if value is None)
        shown = ", ".join(map(str, table.columns[:12])) + (", ..." if len(table.columns) > 12 else "")
        raise TableError(f"{lacking}: name the column; the table has {shown}")
    return Columns(n=n, loss=loss, d=d, flops=flops, run=run, group=group, factor=asked.factor)


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except FileNotFoundError:
        raise TableError(f"there is no table {path}; give a CSV, a Parquet file or a results folder") from None
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TableError(f"{path} is no table: {why}; give a CSV, a Parquet file or a results folder") from None


def _is_results(table: pd.DataFrame) -> bool:
    return set(table.columns) >= _RESULTS


def told_apart(table: pd.DataFrame) -> tuple[str, ...]:
    """The family, and the columns of the configuration that vary among the runs of one family and size."""
    alike = [table["model.family"].astype(str), table["model.size"].astype(str)]
    candidates = [str(name) for name in table if str(name).startswith(_CONFIGURED) and name not in _SCALED]
    varied = [name for name in candidates if (table[name].astype(str).groupby(alike).nunique() > 1).any()]
    return ("model.family", *varied)
