"""What is compared: a results folder, the table of one, or a single cell's folder, as a table of finished cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pdebench.errors import ResultsError
from pdebench.report.frame import make_frame
from pdebench.results.store import LEFT_OUT, REMARKS, frame_of, read_record, read_results, read_table

A, B = "A", "B"
SIDE = "folder"
"""The column that says which side a row is of; `frame.make_frame` keeps it."""


@dataclass(frozen=True)
class ComparedSide:
    """One of the two.

    Attributes:
        name: A or B.
        path: as it was given.
        cells: how many it has.
        done: how many of them ran to their end.
        remarks: sentences on what was left out, or is missing of it.
    """

    name: str
    path: Path
    cells: int
    done: int
    remarks: tuple[str, ...] = ()


def read_sides(a: Path, b: Path) -> tuple[list[ComparedSide], pd.DataFrame]:
    """Both sides, and their finished cells as one table (see `frame.make_frame`) whose column SIDE is A or B.

    Raises:
        ResultsError: one is not there, is damaged or has no finished cell, or both are the same.
    """
    if a.resolve() == b.resolve():
        raise ResultsError(f"{a} and {b} are the same: give two results to be compared")
    frames, sides = [], []
    for name, path in ((A, a), (B, b)):
        frame = _read(path)
        done = frame[frame["status"] == "done"]
        if done.empty:
            raise ResultsError(f"{path} has no cell that is done, and nothing to compare")
        remarks = [f"{text}: left out" for text in frame.attrs.get(LEFT_OUT, ())]
        sides.append(ComparedSide(name, path, len(frame), len(done), (*remarks, *frame.attrs.get(REMARKS, ()))))
        frames.append(done.assign(**{SIDE: name}))
    for frame in frames:
        frame.attrs.clear()
    return sides, make_frame(pd.concat(frames, ignore_index=True))


def _read(path: Path) -> pd.DataFrame:
    if path.is_dir() and (path / "record.json").exists():
        record = read_record(path.resolve())
        return frame_of([] if record is None else [record])
    if path.is_dir():
        return read_results(path)
    if path.suffix in (".csv", ".parquet"):
        return read_table(path, follow=True)
    what = "is neither a folder nor a table" if path.exists() else "is not there"
    raise ResultsError(f"{path} {what}: give a results folder, its table.csv or table.parquet, or a cell's folder")
