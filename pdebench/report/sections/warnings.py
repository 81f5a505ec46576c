"""What a reader of the numbers has to know: what cells warned of, each sentence once, and what their timings show."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pdebench.report import formatting
from pdebench.report.frame import families_in
from pdebench.report.sections.tables import cut
from pdebench.report.sections.unquiet import disturbances
from pdebench.results.cell_warnings import SEPARATOR


@dataclass(frozen=True)
class Warned:
    """One sentence, and what it is true of: `all 6 cells`, `2 of 6 cells (DiT)`."""

    text: str
    whose: str


MOST = 200  # sentences: more than anybody reads, and cells may each say another


@dataclass(frozen=True)
class Warnings:
    """The section: what was seen of the machine, what cells said, and how many sentences are left out."""

    found: list[Warned]
    seen: list[Warned]
    more: int = 0


def warned(table: pd.DataFrame) -> Warnings | None:
    """The section of a frame; None where no cell warned of anything, and nothing disturbed a timing."""
    seen = [Warned(one.text, _whose(table, one.rows)) for one in disturbances(table)]
    cells: dict[str, list[int]] = {}
    for place, text in table["warnings"].dropna().items():
        for sentence in str(text).split(SEPARATOR):
            cells.setdefault(sentence, []).append(place)  # type: ignore[arg-type]
    found = [
        Warned(cut(sentence, min(MOST, len(cells))), _whose(table, table.loc[places]))
        for sentence, places in cells.items()
    ]
    found.sort(key=lambda one: one.whose)
    return Warnings(found[:MOST], seen, max(0, len(found) - MOST)) if found or seen else None


def _whose(table: pd.DataFrame, rows: pd.DataFrame) -> str:
    if len(rows) == len(table):
        return f"all {formatting.plural(len(table), 'cell')}" if len(table) > 1 else "the cell"
    families = f" ({formatting.listed(families_in(rows))})" if len(families_in(rows)) < len(families_in(table)) else ""
    return f"{len(rows)} of {formatting.plural(len(table), 'cell')}{families}"
