"""What a verb has to say of what it reads, shown the same by all verbs: `note: ...`, on standard error."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from pdebench.errors import CellWarning, printable


@contextmanager
def notes() -> Iterator[None]:
    """Show each `CellWarning` inside as a note, once; Python's own way names a line of code, which says nothing here.

    All other warnings are shown as they are elsewhere.
    """
    told: set[str] = set()
    with warnings.catch_warnings():
        otherwise = warnings.showwarning

        def show(
            message: Warning | str, category: type[Warning], filename: str, lineno: int,
            file: TextIO | None = None, line: str | None = None,
        ) -> None:  # fmt: skip
            if not issubclass(category, CellWarning):
                otherwise(message, category, filename, lineno, file, line)
            elif (text := " ".join(str(message).split())) not in told:
                told.add(text)
                print(f"note: {printable(text)}", file=sys.stderr)

        warnings.simplefilter("always", CellWarning)
        warnings.showwarning = show
        yield
