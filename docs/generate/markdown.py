"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def code(text: object) -> str:
    """Text as code; nothing of nothing."""
    return f"`{text}`" if str(text) else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a column that is empty in all rows is left out."""
    rows = list(rows)
    kept = [at for at in range(len(heads)) if any(row[at] for row in rows)]
    lines = [[heads[at] for at in kept], ["---"] * len(kept), *([row[at] for at in kept] for row in rows)]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    """What may stand between two bars."""
    return " ".join(text.split()).replace("|", "\\|")
