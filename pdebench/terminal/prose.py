"""Sentences in a terminal: broken between words, never within one, since a path or an address is to be copied."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.text import Text

from pdebench.errors import printable


def say(console: Console, text: str, style: str | None = None, *, lead: Text | str = "") -> None:
    """Print a text in lines of the console's width, whatever signs of a terminal's or of markup are in it.

    Args:
        console: where to.
        text: it may have lines of its own. A word longer than a line is left whole.
        style: of it.
        lead: what stands before its first line; before the others as many columns are left free.
    """
    before = Text(lead) if isinstance(lead, str) else lead
    room = max(console.width - before.cell_len, 1)
    for one in printable(text).split("\n"):
        for line in textwrap.wrap(one, room, break_long_words=False, break_on_hyphens=False) or [""]:
            console.print(before + Text(line, style or ""), soft_wrap=True)
            before = Text(" " * before.cell_len)
