"""A results folder: records in, tables out. Every file is written whole or not at all.

    runs/<suite>/
      matched.json, where sizes were measured to match: they, and the machine that they are of
      suite.yaml plan.json machine.json table.parquet table.csv curves.parquet report.html
      .pdebench.sha256, which of these files, and of those of the report, pdebench wrote: it replaces no other
      report/figures/ and report/tables/, what `pdebench report` makes for papers
      jobs.json and slurm/ where it was submitted to SLURM: its jobs, their scripts and what they print
      cells/<id>/  config.yaml record.json timings.json log.txt checkpoint.safetensors samples.png curve.parquet
                   spatial.json where it was measured in space, probe.json where it was probed,
                   samples.webp in the place of samples.png of clips; real.png beside it
                   lease and state/ while it is unfinished

The cells are the truth: tables can be rebuilt from them at any time, and stand for them where they were not kept.
`plan.json` lists the cells of the suite as it last ran; records of cells that a changed suite no longer has stay on
disk, outside the tables.
"""

from __future__ import annotations

import json
import math
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from pdebench.errors import PdebenchError, ResultsError, printable, refused_by_system
from pdebench.files import disk
from pdebench.files.manifest import Manifest
from pdebench.files.seal import sealed, unsealed
from pdebench.results.kept_table import kept_table, read_kept, without_cells
from pdebench.results.lease import held_elsewhere
from pdebench.results.record import COLUMNS, dtype_of
from pdebench.results.record_schema import fault
from pdebench.suite.config import Cell
from pdebench.suite.validation import cell_from_yaml

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED = ("machine.json", "table.parquet", "table.csv", "curves.parquet", "report.html")  # anew with every run
PREDICTIONS = "predictions.json"  # what `pdebench plan --results` leaves beside the cells, and the report reads
IDENTITY = re.compile(r"[0-9a-f]{12}")
LARGEST = 4 * 2**20  # bytes of a record or a plan: a thousand times what one has
MOST_COLUMNS = 1000  # of a table: several times what the cells of one suite have

LEFT_OUT = "left_out"
"""Key of a frame's `attrs`: sentences on the files of cells that were left out of it, each with path and reason."""

REMARKS = "remarks"
"""Key of a frame's `attrs`: sentences on what it cannot say, since only the table of its folder is there."""


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
        with disk.replacing(path) as file:
            yield file
    except OSError as error:
        why = error.strerror or error
        raise ResultsError(
            f"cannot write {path}: {why}; make room, or mend the folder, and run the same command again"
        ) from None


def write_own(folder: Path, name: str, content: bytes | str) -> None:
    """Write a file of a folder that a user may have put files of their own into: it replaces ours alone.

    Raises:
        ResultsError: a file of that name is there and not ours, a link leads to it, or it cannot be written.
    """
    content = content.encode() if isinstance(content, str) else content
    Manifest(folder).add(name, content)
    write_atomic(folder / name, content)


def make_folder(folder: Path) -> Path:
    """A folder for what is to be written, made where there is none.

    Raises:
        ResultsError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"cannot make the folder {folder}: {error.strerror}; give another with --out") from None
    return folder


def refuse_unlike(path: Path, begins: bytes) -> None:
    """Refuse to replace a file that the user named, by slip perhaps, if it is not of the kind that is written there.

    Args:
        path: where something is to be written; nothing may be there yet.
        begins: how files of the kind begin.

    Raises:
        ResultsError: something else is there.
    """
    try:
        with disk.open_plain(path) as file:
            first = file.read(len(begins))
    except FileNotFoundError:
        return
    except (OSError, disk.NotPlain) as error:
        raise ResultsError(f"cannot write {path}: {refused_by_system(error) or error}; name another file") from None
    if first not in (b"", begins):
        raise ResultsError(f"{path} is something else than what would be written there: name another file")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON atomically, with a checksum of itself; NaN and infinities are not JSON and raise ValueError."""
    write_atomic(path, as_json(value))


def as_json(value: Mapping[str, Any]) -> str:
    """The text of a file of JSON, with a checksum of itself; NaN and infinities are not JSON and raise ValueError."""
    return json.dumps(sealed(value), indent=1, allow_nan=False) + "\n"


class Results:
    """The folder of one suite's results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._cells = folder / "cells"
        self._read: dict[str, tuple[disk.Stamp, dict[str, Any]]] = {}

    def cell(self, identity: str) -> Path:
        """The folder of a cell, which is there or not, and lies in this one.

        Raises:
            ResultsError: a link stands in its place, or in that of all cells.
        """
        refuse_link(self.folder, folder := self._cells / identity)
        return folder

    def record(self, identity: str) -> dict[str, Any] | None:
        """The record of a cell, or None where it has none; its file is read again only where it has been replaced."""
        # Before it is read: what comes after is seen next time. Thousands of cells are asked for several times.
        stamp = disk.stamp(f"{self._cells}/{identity}/record.json")
        known = self._read.get(identity)
        if known is not None and known[0] == stamp:
            return dict(known[1])
        record = read_record(self.cell(identity))
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
        found = read_json(path, "a plan", "delete the file and run the suite again")
        plan: Any = found.get("cells") if isinstance(found, dict) else found  # a list before there were checksums
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
            disk.lock_file(self.folder / ".lock").close()
        except (OSError, disk.NotPlain) as error:
            why = refused_by_system(error) or f".lock: {error}"
            raise ResultsError(f"cannot write to the results folder {self.folder}: {why}") from None
        Manifest(self.folder).refuse_foreign(["suite.yaml", "plan.json"])
        refuse_link(self.folder, self.folder / "cells")
        if (self.folder / "plan.json").exists() and self.plan() != list(plan) and self._worked_on():
            raise ResultsError(
                f"another run is filling {self.folder} with another suite: wait for it, or pass --results with "
                "another folder"
            )
        write_own(self.folder, "suite.yaml", suite)
        write_own(self.folder, "plan.json", as_json({"cells": list(plan)}))

    def describe(self, cells: Iterable[Cell]) -> None:
        """Write the configurations of cells that have none yet: what `status` names them by.

        Raises:
            ResultsError: a folder cannot be made, or leads out of the results.
        """
        for cell in cells:
            folder = self.cell(cell.id)
            if not (folder / "config.yaml").exists():
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                except OSError as error:
                    raise ResultsError(f"cannot write to the results folder {folder}: {error.strerror}") from None
                write_atomic(folder / "config.yaml", cell.to_yaml())

    def config(self, identity: str) -> Cell | None:
        """The cell of a folder as it was planned; None where nobody wrote it, or it is damaged."""
        with suppress(OSError, PdebenchError):
            return read_config(self.cell(identity))
        return None

    def suite_file(self) -> Path:
        """The file of the suite that ran here last.

        Raises:
            ResultsError: there is none, or a link stands in its place.
        """
        if not self.folder.is_dir():
            raise ResultsError(f"there is no folder {self.folder}: pass a results folder, such as runs/quickstart")
        path = self.folder / "suite.yaml"
        refuse_link(self.folder, path)
        if not path.is_file():
            raise ResultsError(f"there is no suite in {self.folder}: pass a results folder, such as runs/quickstart")
        return path

    def _worked_on(self) -> bool:
        """Whether some run holds a cell."""
        return any(held_elsewhere(cell) is not None for cell in self.folder.glob("cells/*"))


def refuse_link(root: Path, path: Path) -> None:
    """Refuse a path below a folder that a link on the way leads out of; the folder itself may be a link.

    Raises:
        ResultsError: there is one; names it.
    """
    if (link := disk.is_link_below(root, path)) is not None:
        raise ResultsError(f"{link} is a link that leads out of the results folder: remove it")


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


def read_config(cell_folder: Path) -> Cell:
    """The cell that a cell's folder was made for.

    Raises:
        OSError: there is no `config.yaml`, or it is not handed out.
        ResultsError: it is no plain file of text.
        SuiteError: it holds something else.
    """
    path = cell_folder / "config.yaml"
    try:
        text = disk.read_plain(path, LARGEST).decode()
    except ValueError as error:  # NotPlain and UnicodeDecodeError are
        raise ResultsError(f"{path} is not a cell's configuration: {error}; run its suite again") from None
    return cell_from_yaml(text, file=str(path))


def read_json(path: Path, what: str, remedy: str, *, follow: bool = False) -> Any:
    """What a file of JSON holds, None where there is none; one that is huge, endless or no plain file is refused.

    A link is followed where the user named the file: `follow`.
    """

    def no_number(text: str) -> Any:
        raise ValueError(f"{text} is no number")

    try:
        text = disk.read_plain(path, LARGEST, follow=follow)
        held = json.loads(text, parse_constant=no_number, object_pairs_hook=_object)
        if held is None:
            raise ValueError("it holds null")  # which is not the same as no file
        return unsealed(held) if isinstance(held, dict) else held
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        if why := refused_by_system(error):
            raise ResultsError(f"cannot read {path}: {why}") from None
        raise ResultsError(f"{path} is not {what}: {str(error).splitlines()[0]}; {remedy}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; of a key that it has twice nobody could say which is meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for place, (name, _) in enumerate(pairs) if name in dict(pairs[:place]))
        raise ValueError(f"it has the key {twice[:40]!r} twice")
    return found


def load_results(folder: str | Path) -> pd.DataFrame:
    """The results in a folder as a frame: one typed row for each cell of the suite that has a record.

    A record that is none is left out, with a warning. Of a folder without cells its table is read.

    Raises:
        ResultsError: the folder is not there, has no records, or only such as are none.
    """
    frame = read_results(Path(folder))
    for text in frame.attrs.get(LEFT_OUT, ()):
        warnings.warn(f"left out: {printable(text)}", stacklevel=2)
    return frame


def read_results(folder: Path) -> pd.DataFrame:
    """As `load_results`, but what was left out stands in the frame's `attrs[LEFT_OUT]` alone.

    What a table whose cells were not kept cannot say stands in `attrs[REMARKS]`.

    Raises:
        ResultsError: as `load_results`.
    """
    results = Results(folder)
    if not results.folder.is_dir():
        raise ResultsError(f"there is no results folder {folder}")
    if (table := kept_table(folder)) is not None:
        frame = read_table(table)
        frame.attrs[REMARKS] = [without_cells(folder, table), *frame.attrs.get(REMARKS, ())]
        return frame
    records, left, columns = [], [], set(COLUMNS)
    for identity in results.plan():
        try:
            record = read_record(results.cell(identity))  # each once, so none is kept
        except ResultsError as error:
            left.append(str(error))
            continue
        if record is None:
            continue
        if len(more := columns.union(record)) > MOST_COLUMNS:
            path = results.cell(identity) / "record.json"
            left.append(f"{path}: with its keys the table would have more than {MOST_COLUMNS:,} columns")
            continue
        columns = more
        # thousands of records have the same keys, each in a text of its own
        records.append({sys.intern(key): value for key, value in record.items()})
    if not records and left:
        raise ResultsError(left[0] if len(left) == 1 else f"{left[0]} ({len(left)} records of {folder} are none)")
    if not records:
        raise ResultsError(f"{folder} has no records yet: run a suite into it with `pdebench run SUITE`")
    frame = frame_of(records)
    if left:
        frame.attrs[LEFT_OUT] = left
    return frame


def read_table(path: Path, *, follow: bool = False) -> pd.DataFrame:
    """The table of a results folder, as `read_results` gives a folder's; `follow`: the user named the file.

    Raises:
        ResultsError: it is not there, or no such table.
    """
    found = read_kept(path, follow=follow)
    frame = frame_of(found.records)
    frame.attrs |= {LEFT_OUT: found.left_out} if found.left_out else {}
    frame.attrs |= {REMARKS: found.remarks} if found.remarks else {}
    return frame


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
    # as objects, since whole numbers beside missing ones would go through floats
    frame = pd.DataFrame(rows, columns=[*columns], dtype=object)
    for column in frame.columns:
        dtype = dtype_of(str(column))
        frame[column] = _typed(frame[column]) if dtype is None else frame[column].astype(dtype)  # type: ignore[call-overload]
    return frame


def _typed(values: pd.Series) -> pd.Series:
    """A column of no declared type, of one type; texts, where some of its values are texts and others are not."""
    kinds = {type(value) for value in values.dropna()}
    if kinds == {int, float}:
        return values.astype("Float64").convert_dtypes()
    if len(kinds) > 1:
        values = values.map(str, na_action="ignore")
    return values.convert_dtypes()
