"""The tables of a results folder, written from its cells: a row a cell, and their training curves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pdebench.files.csv_export import to_csv
from pdebench.results.curves import load_curves
from pdebench.results.kept_table import CURVES as KEPT_CURVES
from pdebench.results.store import read_results, write_own

if TYPE_CHECKING:
    import pandas as pd

_ROWS = 2**15  # of curves that are written at a time: all of thousands of cells take 70 MB meanwhile


def write_tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rebuild `table.parquet`, `table.csv` and `curves.parquet` from the cells; returns both frames."""
    table = read_results(folder)
    curves = load_curves(folder, table)
    save_tables(table, curves, folder)
    return table, curves


def save_tables(table: pd.DataFrame, curves: pd.DataFrame, folder: Path) -> None:
    """Write `table.parquet`, `table.csv` and `curves.parquet` into a folder.

    Raises:
        ResultsError: see `write_own`.
    """
    import pyarrow

    write_own(folder, "table.parquet", table.to_parquet(index=False))
    write_own(folder, "table.csv", to_csv(table))
    write_own(folder, KEPT_CURVES, curves.to_parquet(index=False, row_group_size=_ROWS))
    pyarrow.default_memory_pool().release_unused()  # it keeps tens of MB
