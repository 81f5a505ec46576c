"""One report of one or several results folders: tables, page, and the figures and tables of a paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pdebench.errors import ResultsError
from pdebench.files.manifest import Manifest
from pdebench.report import drawings, papers
from pdebench.report.folders import load, named
from pdebench.report.frame import family_order
from pdebench.report.html import make_page, sections, write_page
from pdebench.report.section import Page, PageSection, SweepProgress
from pdebench.results.kept_table import kept_table
from pdebench.results.store import make_folder, write_own
from pdebench.results.tables import save_tables

if TYPE_CHECKING:
    import pandas as pd

FIGURES, TABLES = "report/figures", "report/tables"
BASE = ("table.parquet", "table.csv", "curves.parquet", "report.html")


@dataclass(frozen=True)
class Built:
    """What was written: the page, of how many cells, and the files beside it; what could not be read, or is missing."""

    page: Path
    cells: int
    figures: list[Path] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    left_out: Sequence[str] = ()
    remarks: Sequence[str] = ()


def build_report(folders: Sequence[Path], out: Path | None = None, formats: Sequence[str] = drawings.USUAL) -> Built:
    """Write the report of results folders, made from their cells, into `out`, or into the folder where there is one.

    That is `table.csv`, `table.parquet`, `curves.parquet`, `report.html`, and `report/figures` and `report/tables`,
    where files of an earlier report that this one does not have are removed. Nothing that is not ours is touched.

    A record or a curve that cannot be read is left out, and named on the page. Of a folder whose cells were not kept
    its table is read, and left as it is.

    Raises:
        ResultsError: a folder is missing, damaged, empty or given twice, or `out` is missing, cannot be written or has
            somebody else's file in the place of one of these; nothing is written then.
    """
    target = place(folders, out)
    base = _base(folders, target)
    Manifest(target).refuse_foreign(base)  # before all is made ready
    ready = _made_ready(folders)
    shown = [figure for part in ready.parts for figure in part.figures]
    drawn, begin = drawings.figure_files(shown, family_order(ready.page.table), formats)
    figures = {f"{FIGURES}/{name}": draw for name, draw in drawn.items()}
    tables = {
        f"{TABLES}/{name}": text for name, text in papers.table_files(ready.page.table, ready.page.comparisons).items()
    }
    Manifest(make_folder(target)).refuse_foreign([*base, *figures, *tables])
    begin()  # beside the page
    report = _write(ready, target, base)
    for place_of in (FIGURES, TABLES):
        make_folder(target / place_of)
    for name, draw in figures.items():
        write_own(target, name, draw())
    for name, text in tables.items():
        write_own(target, name, text)
    _remove_earlier(target, [*figures, *tables])
    return Built(
        report,
        len(ready.page.table),
        [target / name for name in figures],
        [target / name for name in tables],
        ready.page.left_out,
        ready.page.remarks,
    )


def write_base(
    folders: Sequence[Path], target: Path, progress: SweepProgress | None = None
) -> tuple[Page, list[PageSection], Path]:
    """Write the tables and the page alone; `progress` says that there is more to come."""
    base = _base(folders, target)
    Manifest(target).refuse_foreign(base)
    ready = _made_ready(folders, progress)
    make_folder(target)
    return ready.page, ready.parts, _write(ready, target, base)


def _base(folders: Sequence[Path], target: Path) -> Sequence[str]:
    """What is written beside figures and tables: not the tables where they are all that there is of their cells."""
    ours = target.resolve() in [folder.resolve() for folder in folders]
    return BASE[-1:] if ours and kept_table(target) is not None else BASE


@dataclass(frozen=True)
class _Ready:
    """Everything that a report is written from."""

    table: pd.DataFrame
    page: Page
    parts: list[PageSection]


def _made_ready(folders: Sequence[Path], progress: SweepProgress | None = None) -> _Ready:
    sources = named(folders)
    table, curves = load(sources)
    page = make_page(table, curves, sources, progress)
    return _Ready(table, page, sections(page))


def _write(ready: _Ready, target: Path, base: Sequence[str]) -> Path:
    if base == BASE:
        save_tables(ready.table, ready.page.curves, target)
    return write_page(ready.page, ready.parts, target)


def place(folders: Sequence[Path], out: Path | None) -> Path:
    """Where the report of these folders goes.

    Raises:
        ResultsError: several folders need one of its own, or it is named like a page.
    """
    if out is None and len(folders) > 1:
        raise ResultsError("one report of several results folders needs a folder of its own: give it with --out FOLDER")
    if out is not None and len(folders) > 1 and out.resolve() in [folder.resolve() for folder in folders]:
        raise ResultsError(f"--out {out} is one of the results folders, whose own report would be lost: give another")
    if out is not None and out.suffix.lower() in (".html", ".htm") and not out.is_dir():
        raise ResultsError(f"--out {out} names a page: give a folder, in which report.html and its figures will lie")
    return out or folders[0]


def _remove_earlier(target: Path, written: Sequence[str]) -> None:
    """Remove what an earlier report left beside these files, so that no old figure is taken for a new one."""
    manifest = Manifest(target)
    for place_of in (FIGURES, TABLES):
        for path in (target / place_of).iterdir():
            if (name := f"{place_of}/{path.name}") not in written and manifest.wrote(name):
                path.unlink(missing_ok=True)
