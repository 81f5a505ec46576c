"""What a verb has to say of what it reads, shown the same by all verbs: `note: ...`, on standard error."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager

from pdebench.errors import printable
from pdebench.results.cell_warnings import heard


def notes() -> AbstractContextManager[list[str]]:
    """Show each `CellWarning` inside as a note, once: Python's own way names a line of code, which says nothing."""
    return heard(lambda text: print(f"note: {printable(text)}", file=sys.stderr), printed=False)
