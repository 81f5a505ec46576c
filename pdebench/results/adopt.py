"""Finished cells of an older pdebench, found again under the identities that their experiments have by now.

Identities once left the arithmetic of `train.precision: auto` open and named images by their path. The record of such a
cell says what it was: its configuration, the arithmetic that it used and the checksum of its images. Where that is what
a cell of the suite is, the folder takes the cell's name, and nothing is trained again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from pdebench.data import registry
from pdebench.errors import PdebenchError, ResultsError
from pdebench.models.registry import FAMILIES
from pdebench.results.lease import held_elsewhere
from pdebench.results.record_schema import fault
from pdebench.results.store import Results, read_json, write_atomic, write_json
from pdebench.suite.config import SECTIONS, Cell, DataConfig, given
from pdebench.suite.identity import NEUTRAL
from pdebench.suite.validation import resolve, task_of


def adopt(cells: Sequence[Cell], results: Results, say: Callable[[str], None]) -> None:
    """Give folders of finished cells the names that their experiments have by now; `say` is told how many."""
    planned = {cell.id: cell for cell in cells}
    # first what has the name of a planned cell and is another one, so that the name is free
    folders = sorted(results.folder.glob("cells/*"), key=lambda path: (path.name not in planned, path.name))
    taken = 0
    for folder in folders:
        if folder.is_symlink():  # what lies behind it is not ours to rename
            continue
        with suppress(PdebenchError, OSError):  # what cannot be read or moved stays where it is
            record = _record(folder, results)
            if record is None or record["status"] != "done":
                continue
            own = planned.get(folder.name)
            if own is not None and record.get("precision_used") in (None, own.train.precision):
                continue
            cell = _same(record, planned)
            name = cell.id if cell is not None else own and _other_name(record, own)
            if name and not results.cell(name).exists() and held_elsewhere(folder) is None:
                _take(folder, record, name, cell)
                taken += cell is not None
    if taken:
        them, are = ("1 cell", "is") if taken == 1 else (f"{taken} cells", "are")
        say(f"{them} of this suite that an older pdebench finished {are} taken over under a new identity")


def _record(folder: Path, results: Results) -> dict[str, Any] | None:
    """The record in a folder, also where it has got its new identity and the folder has not: we were cut off there."""
    with suppress(ResultsError):
        return results.record(folder.name)
    found = read_json(folder / "record.json", "a record", "")
    known = isinstance(found, dict) and isinstance(found.get("cell"), str)
    return dict(found) if known and fault(found, found["cell"]) is None else None


def _same(record: Mapping[str, Any], planned: Mapping[str, Cell]) -> Cell | None:
    """The planned cell that a record is of, if there is one."""
    found = _cell_of(record)
    if found is None:
        return None
    if found.id in planned or found.data.content is not None:
        return planned.get(found.id)
    for data in dict.fromkeys(cell.data for cell in planned.values() if cell.data.content is not None):
        alike = {"path": None, "content": None}
        if data.model_copy(update=alike) != found.data.model_copy(update=alike):
            continue
        cell = planned.get(found.with_sections(data=data).id)
        if cell is not None and record.get("data_checksum") == _checksum(data):
            return cell
    return None


def _other_name(record: Mapping[str, Any], own: Cell) -> str | None:
    """The identity of a record that lies under a planned cell's, which it had in common with it once."""
    found = _cell_of(record)
    return found.id if found is not None and found.id != own.id else None


@cache
def _checksum(data: DataConfig) -> str:
    return registry.load(data, "train").checksum


def _cell_of(record: Mapping[str, Any]) -> Cell | None:
    """The cell of a record, resolved; None where it is none that could be run today."""
    raw: dict[str, Any] = {"suite": record["suite"], "task": record.get("task")}
    for section, model in given(task_of(raw)).items():
        if section in SECTIONS:
            neutral = NEUTRAL.get(section, {})
            raw[section] = {key: value for key, value in neutral.items() if key in model.model_fields}
    for key, value in record.items():
        section, dot, name = key.partition(".")
        if dot and section in SECTIONS:
            raw[section][name] = value
    raw["train"]["precision"] = record.get("precision_used")
    family = FAMILIES.get(str(raw["model"].get("family")))
    if family is None or family.revision != record.get("family_revision", 1):
        return None
    raw["model"] = {**family.neutral, **raw["model"]}
    found = resolve(raw)
    return found if isinstance(found, Cell) else None


def _take(folder: Path, record: Mapping[str, Any], name: str, cell: Cell | None) -> None:
    """Give the folder its new name, its record first: what is cut off in between is taken up by the next run."""
    configuration = {} if cell is None else cell.flat()
    write_json(folder / "record.json", {**record, **configuration, "cell": name})
    if cell is not None:
        write_atomic(folder / "config.yaml", cell.to_yaml())
    if not (folder / "state").is_symlink():  # of an unfinished run for the timings, which belongs to the old name
        for state in folder.glob("state/[0-9]*.pt"):
            state.unlink()
    folder.rename(folder.with_name(name))
