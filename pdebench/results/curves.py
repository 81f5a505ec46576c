"""Training curves of the cells of a results folder, in one frame."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pdebench.errors import ResultsError, refused_by_system
from pdebench.files import disk
from pdebench.files.seal import altered
from pdebench.results.kept_table import CURVES as KEPT_CURVES
from pdebench.results.kept_table import kept_table
from pdebench.results.store import LEFT_OUT, Results

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow

# Columns of a `curve.parquet`, one row a step.
CURVE = ("step", "images", "seconds", "train_loss", "val_loss", "lr", "grad_norm")
MOST_STEPS, MOST_STEPS_OF_ALL = 3_000_000, 10_000_000  # of one training curve, and of those of a folder

_AT_ONCE = 100  # curves that are joined: thousands of frames take long, and thousands of small tables much memory


def load_curves(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The training curves of the cells of a folder's table that have one: a row a step, with the cell's identity.

    One that cannot be read, or is not the one that its cell left, is left out, and said in the frame's
    `attrs[LEFT_OUT]`. Of a folder whose cells were not kept they are those of its `curves.parquet`, if it has one.
    """
    import numpy as np
    import pandas as pd
    import pyarrow

    if kept_table(folder) is not None:
        return _kept_curves(folder, table)
    results, left, room = Results(folder), [], MOST_STEPS_OF_ALL
    rows: dict[str, int] = {}
    read: list[pyarrow.Table] = []
    joined: list[pyarrow.Table] = []
    for cell, stated in zip(table["cell"], table["files"], strict=True):
        path = results.cell(cell) / "curve.parquet"
        try:
            curve = _read_curve(path, min(room, MOST_STEPS), None if pd.isna(stated) else stated)
        except ResultsError as error:
            left.append(str(error))
            continue
        if curve is None:
            continue
        rows[cell] = len(curve)
        room -= len(curve)
        read.append(curve)
        if len(read) == _AT_ONCE:
            joined.append(pyarrow.concat_tables(read, promote_options="permissive").combine_chunks())
            read = []
    frame = pd.DataFrame(columns=["cell", *CURVE])
    if rows:
        frame = pyarrow.concat_tables([*joined, *read], promote_options="permissive").to_pandas()
        frame.insert(0, "cell", np.repeat([*rows], [*rows.values()]))
        del joined, read
        pyarrow.default_memory_pool().release_unused()  # it keeps tens of MB
    if left:
        frame.attrs[LEFT_OUT] = left
    return frame


def _kept_curves(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    """The `curves.parquet` of a folder, of its table's cells; where it cannot be read none, which is said."""
    import pandas as pd
    import pyarrow

    from pdebench.files.parquet import Bounds, read_parquet

    columns, path = ["cell", *CURVE], folder / KEPT_CURVES
    most = MOST_STEPS_OF_ALL
    bounds = Bounds(rows=most, columns=2 * len(columns), values=most * len(columns), size=64 * most * len(columns))
    frame = pd.DataFrame(columns=columns)
    try:
        found = read_parquet(path, bounds)[columns]
        found[[*CURVE]] = found[[*CURVE]].apply(pd.to_numeric)
        return found[found["cell"].isin(table["cell"])].reset_index(drop=True)
    except FileNotFoundError:
        return frame
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
        why = refused_by_system(error) or (str(error).splitlines()[0][:200] if str(error) else type(error).__name__)
        frame.attrs[LEFT_OUT] = [f"{path} holds no training curves: {why}"]
        return frame


def _read_curve(path: Path, most: int, stated: str | None) -> pyarrow.Table | None:
    """A cell's `curve.parquet`: numbers in the declared columns, at most so many rows; None where there is none."""
    import pyarrow

    from pdebench.files.parquet import Bounds, read_columns

    bounds = Bounds(rows=most, columns=2 * len(CURVE), values=most * len(CURVE), size=64 * most * len(CURVE))
    try:
        if altered(disk.read_plain(path, bounds.size + 2**20), path.name, stated):  # and a footer
            raise ValueError("it was altered after its record was written")
        return read_columns(path, bounds, CURVE)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, pyarrow.ArrowException) as error:
        if said := refused_by_system(error):
            raise ResultsError(f"{path} cannot be read: {said}") from None
        why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ResultsError(
            f"{path} is not a training curve: {why}; delete its cell's record.json to run the cell again"
        ) from None
