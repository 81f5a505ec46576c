"""A results folder: records in, tables out. Every file is written whole or not at all.

    results/<suite>/
      suite.yaml plan.json machine.json table.parquet table.csv curves.parquet report.html
      cells/<id>/  config.yaml record.json timings.json log.txt checkpoint.safetensors samples.png curve.parquet
                   lease and state/ while it is unfinished

The cells are the truth: tables can be rebuilt from them at any time. `plan.json` lists the cells of the suite as it
last ran; records of cells that a changed suite no longer has stay on disk, outside the tables.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdebench.errors import ResultsError
from pdebench.record import COLUMNS, dtype_of

if TYPE_CHECKING:
    import pandas as pd

TEMPORARY = ".tmp"


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file so that a reader, or a machine that loses power, sees the old one or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:  # a full disk has no room for half a file either
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically; NaN and infinities are not JSON and raise ValueError."""
    write_atomic(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


class Results:
    """The folder of one suite's results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def cell(self, identity: str) -> Path:
        """The folder of a cell."""
        return self.folder / "cells" / identity

    def record(self, identity: str) -> dict[str, Any] | None:
        """The record of a cell, or None where it has none."""
        return read_record(self.cell(identity))

    def plan(self) -> list[str]:
        """Identities of the cells of the suite as it last ran, in its order; without a plan, all that have records."""
        plan = self.folder / "plan.json"
        if plan.exists():
            return list(json.loads(plan.read_text()))
        return sorted(path.parent.name for path in self.folder.glob("cells/*/record.json"))

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

    def _worked_on(self) -> bool:
        """Whether some run holds a cell."""
        from pdebench.execute.lease import held_elsewhere

        return any(held_elsewhere(cell) is not None for cell in self.folder.glob("cells/*"))


def read_record(cell_folder: Path) -> dict[str, Any] | None:
    """The record in a cell's folder, or None where there is none."""
    path = cell_folder / "record.json"
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text())
    except ValueError as error:
        raise ResultsError(f"{path} is not a record: {error}; delete the file to run its cell again") from None
    if not isinstance(record, dict):
        raise ResultsError(f"{path} is not a record: delete the file to run its cell again")
    return record


def load_results(folder: str | Path) -> pd.DataFrame:
    """The results in a folder as a frame: one typed row for each cell of the suite that has a record.

    Raises:
        ResultsError: the folder is not there or has no records.
    """
    results = Results(Path(folder))
    if not results.folder.is_dir():
        raise ResultsError(f"there is no results folder {folder}")
    records = [record for identity in results.plan() if (record := results.record(identity)) is not None]
    if not records:
        raise ResultsError(f"{folder} has no records yet: run a suite into it with `pdebench run SUITE`")
    return frame_of(records)


def frame_of(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Records as a frame: declared columns first, with their types, then what else there is."""
    import pandas as pd

    def scalar(value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    rows = [{key: scalar(value) for key, value in record.items()} for record in records]
    found = dict.fromkeys(key for row in rows for key in row)
    configured = [key for key in found if "." in key]
    head = ["suite", "cell", "status", "message"]
    measured = [key for key in (*COLUMNS, *found) if key not in (*head, *configured)]
    frame = pd.DataFrame(rows, columns=[*head, *configured, *dict.fromkeys(measured)])
    for column in frame.columns:
        dtype = dtype_of(str(column))
        frame[column] = frame[column].convert_dtypes() if dtype is None else frame[column].astype(dtype)  # type: ignore[call-overload]
    return frame


def load_curves(folder: Path) -> pd.DataFrame:
    """The training curves of the suite's cells, one row a step, with the cell's identity."""
    import pandas as pd

    results, curves = Results(folder), []
    for identity in results.plan():
        path = results.cell(identity) / "curve.parquet"
        if path.exists() and results.record(identity) is not None:
            curve = pd.read_parquet(path)
            curve.insert(0, "cell", identity)
            curves.append(curve)
    columns = ["cell", "step", "images", "seconds", "train_loss", "val_loss", "lr", "grad_norm"]
    return pd.concat(curves, ignore_index=True) if curves else pd.DataFrame(columns=columns)


def write_tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rebuild `table.parquet`, `table.csv` and `curves.parquet` from the cells; returns both frames."""
    table, curves = load_results(folder), load_curves(folder)
    write_atomic(folder / "table.parquet", table.to_parquet(index=False))
    write_atomic(folder / "table.csv", table.to_csv(index=False))
    write_atomic(folder / "curves.parquet", curves.to_parquet(index=False))
    return table, curves
