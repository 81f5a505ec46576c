"""Several results folders as one table: each row keeps its folder, so that its pictures and its curve are found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pdebench.errors import ResultsError
from pdebench.results.curves import load_curves
from pdebench.results.store import LEFT_OUT, REMARKS, Results, read_results


def named(folders: Sequence[Path]) -> dict[str, Path]:
    """Results folders by short names: their last part, and as much of their path as tells them apart; one has none.

    Raises:
        ResultsError: one stands there twice.
    """
    resolved = [folder.resolve() for folder in folders]
    for place, path in enumerate(resolved):
        if path in resolved[:place]:
            raise ResultsError(f"the results folder {folders[place]} is given twice; give each once")
    if len(resolved) == 1:
        return {"": folders[0]}
    depth = 1
    while len({path.parts[-depth:] for path in resolved}) < len(resolved):
        depth += 1
    return {"/".join(path.parts[-depth:]): folder for path, folder in zip(resolved, folders, strict=True)}


def load(sources: Mapping[str, Path]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Table and curves of all the folders, where there are several with a first column `folder`.

    Of what was left out of either, and of what is missing where only a table was kept, their `attrs` say.

    Raises:
        ResultsError: a folder is not there, is damaged or has no records.
    """
    tables = [(name, read_results(folder)) for name, folder in sources.items()]
    curves = [(name, load_curves(sources[name], table)) for name, table in tables]
    return _joined(tables), _joined(curves)


def _joined(frames: Sequence[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    parts = []
    for name, frame in frames:
        if name:
            frame.insert(0, "folder", pd.Series(name, index=frame.index, dtype="string"))
        parts.append(frame)
    joined = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    said = {key: [text for part in parts for text in part.attrs.get(key, ())] for key in (LEFT_OUT, REMARKS)}
    joined.attrs = {key: texts for key, texts in said.items() if texts}
    return joined


def cell_folder(row: Mapping[str, Any], folders: Mapping[str, Path]) -> Path:
    """Where the files of a row's cell are, the row being of a frame (see `frame.make_frame`).

    Raises:
        ResultsError: a link stands in its place.
    """
    return Results(folders[row["folder"]]).cell(str(row["cell"]))
