"""What the page is made of: sections, each one module that reads tables and one partial that shows what it found.

A section is added in three steps. A module of `sections` returns a dataclass with what its partial needs, or nothing
where the table has nothing for it; charts stand in that dataclass's `figures`. A partial, `sections/<name>.html`,
shows it: it sees that as `section`, may call the macros of `macros.html` (`chart(figure)`, `key()`, `mark(family)`,
`told(finding)`, imported `with context`), and stands in one `<section id="<name>" aria-labelledby="h-<name>">`. A line
in `html.sections` gives both a place on the page and a name in its navigation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from pdebench.report.charts import Figure
from pdebench.report.comparisons import Comparison, comparisons
from pdebench.report.frame import finished


@dataclass(frozen=True)
class SweepProgress:
    """How far a sweep is whose page is redrawn: cells that have ended, of how many; after what time to look again."""

    settled: int
    cells: int
    seconds: int


@dataclass(frozen=True)
class Page:
    """What sections are made from.

    Attributes:
        table: one row a cell (see `frame.make_frame`); its column `folder` says which of the folders a row is from.
        curves: columns folder, cell, step, train_loss, val_loss; may be empty.
        folders: results folders by the name that the page gives them.
        progress: None where the page is not redrawn.
        left_out: sentences on the files of cells that could not be read, and are not in the tables.
        remarks: sentences on what is missing of folders of which only the table was kept.
    """

    table: pd.DataFrame
    curves: pd.DataFrame
    folders: Mapping[str, Path]
    progress: SweepProgress | None = None
    left_out: Sequence[str] = ()
    remarks: Sequence[str] = ()

    @cached_property
    def comparisons(self) -> list[Comparison]:
        """The fair comparisons of its finished cells; the findings and the tables of papers are made from them."""
        return comparisons(finished(self.table))


@dataclass(frozen=True)
class PageSection:
    """One section of the page; without content it is left out.

    Attributes:
        name: its anchor, and the name of its partial.
        title: in the navigation.
        content: what the partial reads as `section`; its charts, where it has some, in its attribute `figures`.
    """

    name: str
    title: str
    content: Any

    @property
    def partial(self) -> str:
        """The template that shows it."""
        return f"sections/{self.name}.html"

    @property
    def figures(self) -> list[Figure]:
        """The charts that the partial places with `chart(figure)`."""
        return list(getattr(self.content, "figures", []))
