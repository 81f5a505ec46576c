"""What `pdebench plan` predicted of a folder's cells beside what was measured of them, cell by cell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pdebench.errors import ResultsError
from pdebench.report import formatting
from pdebench.report.charts import run_of
from pdebench.report.frame import records
from pdebench.results.store import PREDICTIONS, read_json

_LONGEST = 200  # characters of what is said of a device


@dataclass(frozen=True)
class Against:
    """A quantity as predicted, as measured, and the first over the second; as text."""

    predicted: str
    measured: str
    ratio: str


@dataclass(frozen=True)
class PredictionRow:
    """One finished cell that has a prediction."""

    family: str
    who: str
    cell: str
    step: Against
    memory: Against


@dataclass(frozen=True)
class Predicted:
    """What was predicted of one folder; `problem` says why there are no rows, where that is of no use.

    Attributes:
        folder: its name on the page, empty where there is but one.
        kinds: how memory was measured.
        rows: cells in the table's order.
        device: what the predictions are for.
        basis: what they rest on.
        elsewhere: what ran the cells, where that is another device.
        summary: how far off the predictions are, in a sentence.
    """

    folder: str
    rows: list[PredictionRow]
    device: str = ""
    basis: str = ""
    elsewhere: str = ""
    summary: str = ""
    kinds: str = ""
    problem: str = ""


def predicted(table: pd.DataFrame, folders: Mapping[str, Path]) -> list[Predicted]:
    """The section of a frame: one for each folder that has predictions."""
    return [
        _of_folder(name, table[table["folder"] == name], folder / PREDICTIONS)
        for name, folder in folders.items()
        if (folder / PREDICTIONS).exists()
    ]


def _of_folder(name: str, table: pd.DataFrame, path: Path) -> Predicted:
    try:
        found = read_json(path, "what pdebench plan writes", "plan the suite again, or delete it")
        device = {key: str(found["device"][key])[:_LONGEST] for key in ("name", "basis", "recorded_as")}
        cells: dict[str, list[dict[str, Any]]] = {}
        for cell in found["cells"]:
            cells.setdefault(str(cell.get("planned_as") or cell["cell"]), []).append(dict(cell))
    except ResultsError as error:
        return Predicted(name, [], problem=f"{str(error).replace(str(path), path.name)}.")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Predicted(
            name, [], problem=f"{PREDICTIONS} is not what pdebench plan writes: plan the suite again, or delete it."
        )
    finished = records(table[table["status"] == "done"])
    if not finished:
        return Predicted(name, [], problem="No cell is finished yet.")
    known = ((row, _predicted_for(row, cells)) for row in finished)
    done = {str(row["cell"]): (row, cell) for row, cell in known if cell is not None}
    if not done:
        return Predicted(
            name, [], problem="No finished cell has a prediction: the suite was planned with other settings."
        )
    rows, ratios = [], []
    for row, cell in done.values():
        step = _against(cell, "predicted_step_seconds", 1e3, row["train_step_ms_median"], _milliseconds)
        memory = _against(cell, "predicted_memory_bytes", 1, row["peak_memory_bytes"], formatting.size)
        if math.isfinite(step[1]):
            ratios.append(step[1])
        rows.append(PredictionRow(str(row["model.family"]), run_of(row), str(row["cell"]), step[0], memory[0]))
    ran = {str(row["cpu"] if row["device"] == "cpu" else row["device"]) for row, _ in done.values() if row["device"]}
    other = sorted(name for name in ran if device["recorded_as"] not in name)
    summary = ""
    if ratios:
        summary = (
            f"Predicted over measured step time: {formatting.times(min(ratios))} to {formatting.times(max(ratios))} "
            f"over {formatting.plural(len(ratios), 'cell')}."
        )
    kinds = formatting.listed(
        sorted({str(row["peak_memory_kind"]) for row, _ in done.values() if row["peak_memory_kind"]})
    )
    return Predicted(name, rows, device["name"], device["basis"], formatting.listed(other), summary, kinds)


def _predicted_for(row: Mapping[str, Any], cells: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any] | None:
    """The prediction of a row's cell: of several that differ in their arithmetic the one of the row's."""
    found = cells.get(str(row.get("planned_as") or row["cell"]), [])
    exact = [cell for cell in found if cell.get("precision") == row["precision_used"]]
    return next(iter(exact or found), None)


def _against(cell: Mapping[str, Any], key: str, scale: float, measured: Any, told: Any) -> tuple[Against, float]:
    """A prediction beside its measurement, and their ratio; NaN where one of them is missing."""
    value = cell.get(key)
    known = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30
    guess = float(value) * scale if known else math.nan  # type: ignore[arg-type]
    real = math.nan if formatting.missing(measured) else float(measured)
    ratio = guess / real if real > 0 else math.nan
    return Against(told(guess), told(real), formatting.MISSING if math.isnan(ratio) else formatting.times(ratio)), ratio


def _milliseconds(value: float) -> str:
    return formatting.MISSING if math.isnan(value) else f"{formatting.number(value, 3)} ms"
