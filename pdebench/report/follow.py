"""Redraws a report while its cells run: looks for new records now and then, until every cell has its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pdebench.data.nouns import plural
from pdebench.errors import ResultsError
from pdebench.files.disk import Stamp, stamp
from pdebench.report.build import Built, build_report, place, write_base
from pdebench.report.section import SweepProgress
from pdebench.results.kept_table import kept_table
from pdebench.results.record import SETTLED
from pdebench.results.store import Results

LOOK = 5.0  # seconds between two looks at the folders
RELOAD = 15  # seconds after which an open page loads itself again


def follow(folders: Sequence[Path], out: Path | None, formats: Sequence[str], say: Callable[[str], None]) -> Built:
    """Write tables and page anew whenever a cell has ended; returns the whole report once all have, or at Ctrl-C.

    Meanwhile the page reloads itself. Figures and tables for papers are written at the end. A cell that was interrupted
    has not ended: the same `pdebench run` goes on with it.

    Raises:
        ResultsError: a folder is missing or damaged, or was left before any cell had ended.
    """
    target, seen = place(folders, out), None
    try:
        while True:
            stamps = {folder: _stamps(folder) for folder in folders}
            progress = _progress(folders)
            if progress.settled == progress.cells:
                break
            begun = [folder for folder in folders if stamps[folder]]
            if stamps != seen and begun:
                write_base(begun, target, progress)
            if stamps != seen:
                say(
                    f"{progress.settled} of {plural(progress.cells, 'cell')} "
                    f"{'has' if progress.cells == 1 else 'have'} ended: {target / 'report.html'}"
                )
            seen = stamps
            time.sleep(LOOK)
    except KeyboardInterrupt:
        say("no longer watching")
    return build_report(folders, out, formats)


def _progress(folders: Sequence[Path]) -> SweepProgress:
    """How many cells of the folders' plans have ended, well or not; one whose record is none has, too.

    Of a folder that has only a table all have.
    """
    found = [_ended(results, cell) for results in map(Results, folders) if kept_table(results.folder) is None
             for cell in results.plan()]  # fmt: skip
    return SweepProgress(sum(found), len(found), RELOAD)


def _ended(results: Results, cell: str) -> bool:
    try:
        record = results.record(cell)
    except ResultsError:
        return True
    return record is not None and record["status"] in SETTLED


def _stamps(folder: Path) -> dict[str, Stamp]:
    """Which record each cell has; a cell that is run again loses its own at any moment."""
    found = {path.parent.name: stamp(path) for path in folder.glob("cells/*/record.json")}
    return {cell: one for cell, one in found.items() if one is not None}
