"""The table of a results folder whose cells were not kept: what stands in a repository, or was sent to a colleague.

Its rows are read back as the records that they were made from, and checked as records are: anybody may have filled the
folder. Imports no pandas before a Parquet file is read.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pdebench.data.nouns import plural
from pdebench.errors import ResultsError, refused_by_system
from pdebench.files import disk
from pdebench.files.csv_export import as_it_was
from pdebench.results.record import COLUMNS
from pdebench.results.record_schema import fault, from_table
from pdebench.tasks.registry import TASKS

TABLES = ("table.parquet", "table.csv")  # the first has types
CURVES = "curves.parquet"
LARGEST = 64 * 2**20  # bytes of a table
MOST_ROWS, MOST_COLUMNS, MOST_VALUES = 100_000, 1000, 5_000_000
_SHOWN = 2  # of the columns that are missing


@dataclass(frozen=True)
class KeptTable:
    """A table read back.

    Attributes:
        records: its rows, as what their cells left.
        left_out: sentences on rows that are none.
        remarks: sentences on what the table cannot say.
    """

    records: list[dict[str, Any]]
    left_out: list[str]
    remarks: list[str]


def kept_table(folder: Path) -> Path | None:
    """The table of a folder that has no cells; None where it has cells, or no table. No link is followed."""
    if (folder / "cells").is_dir():
        return None
    return next((path for name in TABLES if (path := folder / name).is_file() and not path.is_symlink()), None)


def read_kept(path: Path, *, follow: bool = False) -> KeptTable:
    """What the table of a results folder says of its cells.

    A cell that several folders had counts once, as the first had it: a report of several has one table.

    Args:
        path: `table.csv` or `table.parquet`.
        follow: the file may be a link, since the user named it.

    Raises:
        ResultsError: it cannot be read, or is no table of results.
    """
    try:
        rows = list(_parquet(path, follow) if path.suffix == ".parquet" else _csv(path, follow))
    except FileNotFoundError:
        raise ResultsError(f"there is no table {path}") from None
    except (OSError, ValueError, csv.Error, _arrow_error()) as error:
        if said := refused_by_system(error):
            raise ResultsError(f"cannot read {path}: {said}") from None
        why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ResultsError(f"{path} is not the table of a results folder: {why}") from None
    records: dict[tuple[str, ...], dict[str, Any]] = {}
    left, repeats = [], 0
    for number, row in enumerate(rows, 1):
        row.pop("folder", None)  # of a report of several
        if (wrong := fault(row, str(row.get("cell")))) is not None:
            left.append(f"row {number} of {path}: {wrong}")
            continue
        run = tuple(str(row.get(name)) for name in ("cell", "machine_fingerprint", "precision_used", "data_checksum"))
        repeats += run in records
        records.setdefault(run, row)
    if not records:
        why = f" ({left[0]})" if left else ""
        raise ResultsError(f"{path} has no row of a cell{why}: give a table that pdebench wrote")
    remarks = [*_older(path, records.values()), *([_again(path, repeats)] if repeats else [])]
    return KeptTable(list(records.values()), left, remarks)


def without_cells(folder: Path, path: Path) -> str:
    """What is missing of a folder of which only the table is there, in a sentence."""
    without = "samples" if (folder / CURVES).is_file() else "training curves, samples"
    said = f"the cells of {folder} were not kept: this is what {path.name} says of them"
    return f"{said}, without {without} and maps in space"


def _older(path: Path, records: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Which columns of today's records a table has not, those of single tasks aside."""
    of_tasks = {name for task in TASKS.built_in.values() for name in task.columns}
    known = {name for record in records for name in record}
    lacking = [name for name in COLUMNS if name not in known and name not in of_tasks]
    lacking.sort(key=lambda name: COLUMNS[name].gate is None)  # first what is judged
    if lacking:
        named = f"such as {', '.join(lacking[:_SHOWN])}" if len(lacking) > _SHOWN else ", ".join(lacking)
        lacks = f"lacks columns of today, {named}"
        yield f"the table {path} is of an older pdebench and {lacks}: what they would say is missing"


def _again(path: Path, repeats: int) -> str:
    return (
        f"the table {path}: {plural(repeats, 'row')} {'is' if repeats == 1 else 'are'} of a run that an earlier "
        f"row is of, and count{'s' * (repeats == 1)} once"
    )


def _csv(path: Path, follow: bool) -> Iterator[dict[str, Any]]:
    """The rows of a table as pdebench writes it: commas, one line of names, every text as it was."""
    text = disk.read_plain(path, LARGEST, follow=follow).decode("utf-8-sig")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    names = _names(next(reader, []))
    for row, cells in enumerate(reader, 1):
        if row > MOST_ROWS or row * len(names) > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_ROWS:,} rows or {MOST_VALUES:,} values")
        if len(cells) != len(names):
            raise ValueError(f"row {row} has {len(cells)} cells, where the header names {len(names)} columns")
        values = zip(names, cells, strict=True)
        yield {name: from_table(name, as_it_was(text), typed=False) for name, text in values}


def _parquet(path: Path, follow: bool) -> Iterator[dict[str, Any]]:
    from pdebench.files.parquet import Bounds, read_parquet

    bounds = Bounds(rows=MOST_ROWS, columns=MOST_COLUMNS, values=MOST_VALUES, size=2**28)
    frame = read_parquet(path, bounds, follow=follow)
    names = _names([str(name) for name in frame])
    columns = [values.astype(object).where(values.notna(), None).tolist() for _, values in frame.items()]
    for row in zip(*columns, strict=True):
        yield {name: from_table(name, value, typed=True) for name, value in zip(names, row, strict=True)}


def _names(names: Sequence[str]) -> Sequence[str]:
    if len(names) > MOST_COLUMNS:
        raise ValueError(f"it has {len(names):,} columns, more than {MOST_COLUMNS:,}")
    if len(set(names)) < len(names):
        raise ValueError(f"it has the column {next(name for name in names if names.count(name) > 1)[:40]!r} twice")
    if lacking := [name for name in ("cell", "status") if name not in names]:
        raise ValueError(f"it has no column {lacking[0]}")
    return names


def _arrow_error() -> type[Exception]:
    import pyarrow

    return pyarrow.ArrowException  # type: ignore[no-any-return]
