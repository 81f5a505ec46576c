"""Lines in columns for the terminal: what `rich.table` draws, for thousands of rows, which it takes seconds for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

GAP = "  "
Cell = tuple[str, str]
"""A text of one line, and its style; empty: none."""


@dataclass(frozen=True)
class TextColumn:
    """A column: its heading, and the fewest characters that it is cut to where lines are too long; None: never cut."""

    head: str
    right: bool = False
    least: int | None = None


def in_columns(columns: Sequence[TextColumn], rows: Sequence[Sequence[Cell]], width: int) -> Text:
    """The rows under their headings, in lines of at most `width` characters where the columns can be cut so far.

    The last column is cut first. What is cut ends in an ellipsis.
    """
    sizes = [
        max([cell_len(column.head), *(cell_len(row[place][0]) for row in rows)]) for place, column in enumerate(columns)
    ]
    over = sum(sizes) + len(GAP) * (len(columns) - 1) - width
    for place in reversed(range(len(columns))):
        if over > 0 and (least := columns[place].least) is not None:
            cut = min(over, max(0, sizes[place] - least))
            sizes[place], over = sizes[place] - cut, over - cut
    lines = Text()
    for row in [[(column.head, "bold") for column in columns], *rows]:
        filled = [place for place, (text, _) in enumerate(row) if text and sizes[place]]
        for place in range(max(filled, default=-1) + 1):
            text, style = row[place]
            fitted = _fitted(text, sizes[place], columns[place].right)
            lines.append(GAP * (place > 0) + (fitted if place < filled[-1] else fitted.rstrip()), style or None)
        lines.append("\n")
    lines.right_crop()
    return lines


def _fitted(text: str, size: int, right: bool) -> str:
    over = cell_len(text) - size
    if over > 0:
        return set_cell_size(text, size - 1) + "…" if size > 0 else ""
    return " " * -over + text if right else text + " " * -over
