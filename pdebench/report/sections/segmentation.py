"""How well pixels were told apart: each family's scores, its IoU of every class, and its maps beside the true ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import pandas as pd
from pydantic import ValidationError

from pdebench.errors import ResultsError
from pdebench.report import formatting
from pdebench.report.folders import cell_folder
from pdebench.report.frame import finished, measured, records
from pdebench.report.sections.samples import TOTAL_BYTES, Picture, encode, shown_runs
from pdebench.results.store import read_json
from pdebench.tasks.segmentation.classes import CLASSES, ClassScores
from pdebench.tasks.segmentation.columns import PICTURE

COLUMNS = {
    "miou": "Mean IoU",
    "pixel_accuracy": "Pixel accuracy",
    "boundary_f": "Boundary F",
    "segmented_images_per_s": "Images/s",
}


@dataclass(frozen=True)
class Run:
    """One run that is shown: its scores as text, its picture, and what was found of its classes."""

    family: str
    who: str
    scores: tuple[str, ...]
    path: Path
    limit: int
    classes: ClassScores | None

    @cached_property
    def picture(self) -> Picture | None:
        """None where there is none, or it could not be read."""
        return encode(self.path, self.limit) if os.path.lexists(self.path) else None


@dataclass(frozen=True)
class ClassLine:
    """One class: the share of pixels that are of it, and the IoU of each run."""

    name: str
    pixels: str
    iou: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """What was found on one data set at one resolution."""

    label: str
    runs: tuple[Run, ...]
    classes: tuple[ClassLine, ...]


@dataclass(frozen=True)
class Segmentation:
    """The section; `titles` are of the scores, `problems` of files that could not be read."""

    titles: tuple[str, ...]
    places: tuple[Place, ...]
    problems: tuple[str, ...]


def segmentation(table: pd.DataFrame, folders: Mapping[str, Path]) -> Segmentation | None:
    """The section of a frame; None where nothing was segmented.

    Shown is the lowest seed of each family's best setting by validation loss.
    """
    done = finished(table)
    if not measured(done, ["miou"]):
        return None
    picked = shown_runs(done[done["miou"].notna() & done["cell"].notna()], ["data.name", "data.resolution"])
    sizes = picked["model.size"].nunique() > 1
    shown = measured(picked, list(COLUMNS))
    share = TOTAL_BYTES // len(picked)
    places, problems = [], []
    for key, group in picked.groupby(["data.name", "data.resolution"], dropna=False, sort=True):
        name, resolution = cast(tuple[Any, Any], key)
        runs = []
        for row in records(group):
            family, folder = str(row["model.family"]), cell_folder(row, folders)
            try:
                classes = _classes_of(folder)
            except ResultsError as error:
                problems.append(str(error))
                classes = None
            who = f"{family} {row['model.size']}" if sizes and row["model.size"] else family
            scores = tuple(formatting.number(row[column]) for column in shown)
            runs.append(Run(family, who, scores, folder / PICTURE, share, classes))
        side = formatting.MISSING if pd.isna(resolution) else f"{resolution:g} px"
        places.append(Place(f"{name}, {side}", tuple(runs), tuple(_lines(runs))))
    return Segmentation(tuple(COLUMNS[column] for column in shown), tuple(places), tuple(problems))


def _lines(runs: Sequence[Run]) -> list[ClassLine]:
    """The classes that occur, the most frequent first; a run of other classes has none of these."""
    known = next((run.classes for run in runs if run.classes is not None), None)
    if known is None:
        return []
    alike = [run.classes if run.classes is not None and run.classes.names == known.names else None for run in runs]
    found = []
    for place in sorted(range(len(known.names)), key=lambda place: -known.pixels[place]):
        values = [None if one is None else one.iou[place] for one in alike]
        if any(value is not None for value in values):
            found.append(
                ClassLine(
                    known.names[place],
                    f"{known.pixels[place]:.1%}",
                    tuple(formatting.MISSING if value is None else f"{value:.3f}" for value in values),
                )
            )
    return found


def _classes_of(folder: Path) -> ClassScores | None:
    """What a cell's folder holds of its classes; None where there is nothing.

    Raises:
        ResultsError: what is there is something else.
    """
    path = folder / CLASSES
    what, remedy = "the scores of classes", "delete its cell's record.json to run the cell again"
    if (found := read_json(path, what, remedy)) is None:
        return None
    try:
        return ClassScores.model_validate(found)
    except ValidationError as error:
        raise ResultsError(f"{path} is not {what}: {error.errors()[0]['msg'].lower()}; {remedy}") from None
