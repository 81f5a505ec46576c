"""A results folder: records in, tables out. Every file is written whole or not at all.

    results/<suite>/
      suite.yaml plan.json machine.json table.parquet table.csv curves.parquet report.html
      report/figures/ and report/tables/, what `pdebench report` makes for papers
      jobs.json and slurm/ where it was submitted to SLURM: its jobs, their scripts and what they print
      cells/<id>/  config.yaml record.json timings.json log.txt checkpoint.safetensors samples.png curve.parquet
                   spatial.json where it was measured in space
                   lease and state/ while it is unfinished

The cells are the truth: tables can be rebuilt from them at any time. `plan.json` lists the cells of the suite as it
last ran; records of cells that a changed suite no longer has stay on disk, outside the tables.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pdebench import files
from pdebench.errors import PdebenchError, ResultsError, refused_by_system
from pdebench.record import COLUMNS, dtype_of, fault

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

    from pdebench.config import Cell

PREDICTIONS = "predictions.json"  # what `pdebench plan --results` leaves beside the cells, and the report reads
IDENTITY = re.compile(r"[0-9a-f]{12}")
LARGEST = 4 * 2**20  # bytes of a record or a plan: a thousand times what one has


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, or a machine that loses power, sees the old one or the new one, never a part.

    Raises:
        ResultsError: it cannot be written; the disk may be full.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path`, whole, when the block ends well.

    Raises:
        ResultsError: it cannot be written; the disk may be full.
    """
    try:
        with files.replacing(path) as file:
            yield file
    except OSError as error:
        why = error.strerror or error
        raise ResultsError(
            f"cannot write {path}: {why}; make room, or mend the folder, and run the same command again"
        ) from None


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; NaN and infinities are not JSON and raise ValueError."""
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


# Columns of a `curve.parquet`, one row a step.
CURVE = ("step", "images", "seconds", "train_loss", "val_loss", "lr", "grad_norm")


class Results:
    """The folder of one suite's results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, tuple[files.Stamp, dict[str, Any]]] = {}

    def cell(self, identity: str) -> Path:
        """The folder of a cell."""
        return self.folder / "cells" / identity

    def record(self, identity: str) -> dict[str, Any] | None:
        """The record of a cell, or None where it has none; its file is read again only where it has been replaced."""
        folder = self.cell(identity)
        stamp = files.stamp(folder / "record.json")  # before it is read: what comes after is seen next time
        known = self._read.get(identity)
        if known is not None and known[0] == stamp:
            return dict(known[1])
        record = read_record(folder)
        if record is not None and stamp is not None:
            self._read[identity] = stamp, dict(record)
        return record

    def plan(self) -> list[str]:
        """Identities of the cells of the suite as it last ran, in its order; without a plan, all that have records.

        Raises:
            ResultsError: the plan is damaged, or holds what could lead out of the folder.
        """
        path = self.folder / "plan.json"
        if not path.exists():
            return sorted(path.parent.name for path in self.folder.glob("cells/*/record.json"))
        plan = read_json(path, "a plan", "delete the file and run the suite again")
        named = isinstance(plan, list) and all(isinstance(cell, str) and IDENTITY.fullmatch(cell) for cell in plan)
        if not named or len(set(plan)) < len(plan):
            raise ResultsError(
                f"{path} is not a plan: it must list cells by 12 hexadecimal digits each, none twice; delete the file "
                "and run the suite again"
            )
        return list(plan)

    def make(self, suite: str, plan: Sequence[str]) -> None:
        """Make the folder and write the suite and its cells' identities into it.

        Raises:
            ResultsError: it cannot be written, or another run is filling it with another suite.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / ".lock").open("a").close()
        except OSError as error:
            raise ResultsError(f"cannot write to the results folder {self.folder}: {error.strerror}") from None
        if (self.folder / "plan.json").exists() and self.plan() != list(plan) and self._worked_on():
            raise ResultsError(
                f"another run is filling {self.folder} with another suite: wait for it, or pass --results with "
                "another folder"
            )
        write_atomic(self.folder / "suite.yaml", suite)
        write_json(self.folder / "plan.json", list(plan))

    def describe(self, cells: Iterable[Cell]) -> None:
        """Write the configurations of cells that have none yet: what `status` names them by.

        Raises:
            ResultsError: a folder cannot be made, or leads out of the results.
        """
        for cell in cells:
            folder = self.cell(cell.id)
            if folder.is_symlink():
                raise ResultsError(f"{folder} is a link that leads out of the results folder: remove it")
            if not (folder / "config.yaml").exists():
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise ResultsError(f"cannot write to the results folder {folder}: {error.strerror}") from None
                write_atomic(folder / "config.yaml", cell.to_yaml())

    def config(self, identity: str) -> Cell | None:
        """The cell of a folder as it was planned; None where nobody wrote it, or it is damaged."""
        from pdebench.config import Cell

        path = self.cell(identity) / "config.yaml"
        with suppress(OSError, ValueError, PdebenchError):
            return Cell.from_yaml(files.read_plain(path, LARGEST).decode(), str(path))
        return None

    def _worked_on(self) -> bool:
        """Whether some run holds a cell."""
        from pdebench.execute.lease import held_elsewhere

        return any(held_elsewhere(cell) is not None for cell in self.folder.glob("cells/*"))


def read_record(cell_folder: Path) -> dict[str, Any] | None:
    """The record in a cell's folder, or None where there is none.

    Raises:
        ResultsError: the file there is no record of that cell.
    """
    path, remedy = cell_folder / "record.json", "delete the file to run its cell again"
    if (record := read_json(path, "a record", remedy)) is None:
        return None
    if not isinstance(record, dict):
        raise ResultsError(f"{path} is not a record: it holds no keys and values; {remedy}")
    if (wrong := fault(record, cell_folder.name)) is not None:
        raise ResultsError(f"{path} is not a record: {wrong}; {remedy}")
    return record


def read_json(path: Path, what: str, remedy: str) -> Any:
    """What a file of JSON holds, None where there is none; one that is huge, endless or no plain file is refused."""

    def no_number(text: str) -> Any:
        raise ValueError(f"{text} is no number")

    try:
        text = files.read_plain(path, LARGEST)
        if (held := json.loads(text, parse_constant=no_number)) is None:
            raise ValueError("it holds null")  # which is not the same as no file
        return held
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        if why := refused_by_system(error):
            raise ResultsError(f"cannot read {path}: {why}") from None
        raise ResultsError(f"{path} is not {what}: {str(error).splitlines()[0]}; {remedy}") from None


def load_results(folder: str | Path) -> pd.DataFrame:
    """The results in a folder as a frame: one typed row for each cell of the suite that has a record.

    Raises:
        ResultsError: the folder is not there or has no records.
    """
    results = Results(Path(folder))
    if not results.folder.is_dir():
        raise ResultsError(f"there is no results folder {folder}")
    read = (read_record(results.cell(identity)) for identity in results.plan())  # each once, so none is kept
    # thousands of records have the same keys, each in a text of its own
    records = [{sys.intern(key): value for key, value in record.items()} for record in read if record is not None]
    if not records:
        raise ResultsError(f"{folder} has no records yet: run a suite into it with `pdebench run SUITE`")
    return frame_of(records)


def frame_of(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Records as a frame: declared columns first, with their types, then what else there is."""
    import pandas as pd

    def scalar(value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    found = dict.fromkeys(key for record in records for key in record)
    configured = [key for key in found if "." in key]
    head = ["suite", "cell", "status", "message"]
    measured = [key for key in (*COLUMNS, *found) if key not in (*head, *configured)]
    columns = dict.fromkeys([*head, *configured, *measured])
    rows = ([scalar(record.get(key, math.nan)) for key in columns] for record in records)
    frame = pd.DataFrame(rows, columns=[*columns])
    for column in frame.columns:
        dtype = dtype_of(str(column))
        frame[column] = frame[column].convert_dtypes() if dtype is None else frame[column].astype(dtype)  # type: ignore[call-overload]
    return frame


_AT_ONCE = 100  # curves that are joined: thousands of frames take long, and thousands of small tables much memory


def load_curves(folder: Path, cells: Iterable[str]) -> pd.DataFrame:
    """The training curves of some cells, those that have one: one row a step, with the cell's identity.

    Raises:
        ResultsError: a curve is damaged.
    """
    import numpy as np
    import pandas as pd
    import pyarrow

    results, cells = Results(folder), list(cells)
    tables: list[pyarrow.Table] = []
    rows: dict[str, int] = {}
    for start in range(0, len(cells), _AT_ONCE):
        read = {cell: _read_curve(results.cell(cell) / "curve.parquet") for cell in cells[start : start + _AT_ONCE]}
        curves = {cell: curve for cell, curve in read.items() if curve is not None}
        rows |= {cell: len(curve) for cell, curve in curves.items()}
        if curves:
            joined = pyarrow.concat_tables(curves.values(), promote_options="permissive")
            tables.append(joined.combine_chunks())
    if not tables:
        return pd.DataFrame(columns=["cell", *CURVE])
    found: pd.DataFrame = pyarrow.concat_tables(tables, promote_options="permissive").to_pandas()
    found.insert(0, "cell", np.repeat([*rows], [*rows.values()]))
    return found


def _read_curve(path: Path) -> pyarrow.Table | None:
    """A cell's `curve.parquet`: numbers in the declared columns and no others; None where there is none."""
    import pyarrow.parquet
    from pyarrow import types

    try:
        with files.open_plain(path) as opened, pyarrow.parquet.ParquetFile(opened) as file:
            curve = file.read(list(CURVE), use_threads=False)
        for name in CURVE:
            kind = curve.schema.field(name).type
            if not (types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind)):
                raise ValueError(f"its column {name} holds {kind}")
        return curve.select(CURVE)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
        if said := refused_by_system(error):
            raise ResultsError(f"cannot read {path}: {said}") from None
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ResultsError(
            f"{path} is not a training curve: {why}; delete its cell's record.json to run the cell again"
        ) from None


def write_tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rebuild `table.parquet`, `table.csv` and `curves.parquet` from the cells; returns both frames."""
    table = load_results(folder)
    curves = load_curves(folder, table["cell"])
    save_tables(table, curves, folder)
    return table, curves


def save_tables(table: pd.DataFrame, curves: pd.DataFrame, folder: Path) -> None:
    """Write `table.parquet`, `table.csv` and `curves.parquet` into a folder."""
    write_atomic(folder / "table.parquet", table.to_parquet(index=False))
    write_atomic(folder / "table.csv", table.to_csv(index=False))
    write_atomic(folder / "curves.parquet", curves.to_parquet(index=False))
