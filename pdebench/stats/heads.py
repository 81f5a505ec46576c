"""Rows of a CSV that belong to its header: the header once more, where files were joined, and a row of units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pdebench.errors import TableError

_UNIT = re.compile(
    r"\(.*\)|\[.*\]|[kKMGBT]|%|[mun]?s|sec|min|h|hours|thousands?|millions?|billions?|[PTGM]?FLOPs?|nats?|bits?|images"
    r"|tokens|params|#|-",
    re.IGNORECASE,
)


def refuse_heads(path: Path, head: Sequence[str], rows: Sequence[tuple[int, Sequence[str]]]) -> None:
    """Raise TableError for the first row that is none of numbers but of the header.

    Args:
        path: of the file.
        head: the names of its columns.
        rows: the others, each with its line.
    """
    names = _written(head)
    for place, (line, cells) in enumerate(rows):
        if _written(cells) == names:
            raise TableError(f"{path}, line {line}: this row repeats the header; take it out")
        if place == 0 and _units(cells):
            shown = next(cell.strip() for cell in cells if cell.strip())
            raise TableError(
                f"{path}, line {line}: this row gives units, such as {shown!r}; take it out, and write counts in full "
                "or in one unit throughout"
            )


def _units(cells: Sequence[str]) -> bool:
    """Whether every cell that is not empty is a unit, and one says so by more than a sign."""
    known = [text for text in _written(cells) if text]
    return bool(known) and all(map(_UNIT.fullmatch, known)) and not {*known} <= {"-", "#"}


def _written(cells: Sequence[str]) -> list[str]:
    """Cells without what makes no other name of them; short rows and long ones alike."""
    texts = [cell.strip().casefold() for cell in cells]
    while texts and not texts[-1]:
        texts.pop()
    return texts
