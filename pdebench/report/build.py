"""One report of one or several results folders: tables, page, and the figures and tables of a paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pdebench.errors import ResultsError
from pdebench.report import drawings, papers
from pdebench.report.folders import load, named
from pdebench.report.html import make_page, sections, write_page
from pdebench.report.section import Page, Progress, Section
from pdebench.store import save_tables

FIGURES = [f".{name}" for name in drawings.FORMATS]


@dataclass(frozen=True)
class Built:
    """What was written: the page, of how many cells, and the files beside it."""

    page: Path
    cells: int
    figures: list[Path] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)


def build_report(folders: Sequence[Path], out: Path | None = None, formats: Sequence[str] = drawings.USUAL) -> Built:
    """Write the report of results folders, made from their cells, into `out`, or into the folder where there is one.

    That is `table.csv`, `table.parquet`, `curves.parquet`, `report.html`, and `report/figures` and `report/tables`,
    where files of an earlier report that this one does not have are removed.

    Raises:
        ResultsError: a folder is missing, damaged, empty or given twice, or `out` is missing or cannot be written.
    """
    target = place(folders, out)
    page, parts = _page(folders, target)
    files = drawings.figure_files([figure for part in parts for figure in part.figures], formats)
    report = write_page(page, parts, target)  # while figures are drawn, and what follows
    tables = papers.write_paper_tables(page.table, _made(target / "report" / "tables"))
    figures = drawings.write_files(files, _made(target / "report" / "figures"))
    return Built(report, len(page.table), _only(figures, FIGURES), _only(tables, papers.SUFFIXES))


def write_base(
    folders: Sequence[Path], target: Path, progress: Progress | None = None
) -> tuple[Page, list[Section], Path]:
    """Write the tables and the page alone; `progress` says that there is more to come."""
    page, parts = _page(folders, target, progress)
    return page, parts, write_page(page, parts, target)


def _page(folders: Sequence[Path], target: Path, progress: Progress | None = None) -> tuple[Page, list[Section]]:
    """The page and its sections, with the tables written."""
    sources = named(folders)
    table, curves = load(sources)
    save_tables(table, curves, _made(target))
    page = make_page(table, curves, sources, progress)
    return page, sections(page)


def place(folders: Sequence[Path], out: Path | None) -> Path:
    """Where the report of these folders goes.

    Raises:
        ResultsError: several folders need one of its own.
    """
    if out is None and len(folders) > 1:
        raise ResultsError("one report of several results folders needs a folder of its own: give it with --out FOLDER")
    if out is not None and len(folders) > 1 and out.resolve() in [folder.resolve() for folder in folders]:
        raise ResultsError(f"--out {out} is one of the results folders, whose own report would be lost: give another")
    return out or folders[0]


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultsError(f"cannot make the folder {folder}: {error.strerror}; give another with --out") from None
    return folder


def _only(written: list[Path], suffixes: Sequence[str]) -> list[Path]:
    """Remove what an earlier report left beside these files, so that no old figure is taken for a new one."""
    for folder in {path.parent for path in written}:
        for path in folder.iterdir():
            if path.suffix in suffixes and path not in written:
                path.unlink(missing_ok=True)
    return written
