"""What a cell's process warns of, kept: a log alone is read by nobody."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from pdebench.errors import CellWarning

SEPARATOR = " | "
"""Between the sentences of a record's column `warnings`."""


@contextmanager
def heard(tell: Callable[[str], None], *, printed: bool = True) -> Iterator[list[str]]:
    """Every `CellWarning` inside, each text once, in their order; `tell` is told at once.

    They are printed as any warning is, too, unless `printed` is false. All other warnings are.
    """
    texts: list[str] = []
    with warnings.catch_warnings():
        otherwise = warnings.showwarning

        def show(
            message: Warning | str, category: type[Warning], filename: str, lineno: int,
            file: TextIO | None = None, line: str | None = None,
        ) -> None:  # fmt: skip
            if issubclass(category, CellWarning):
                text = " ".join(str(message).split())
                if text in texts:
                    return
                texts.append(text)
                tell(text)
                if not printed:
                    return
            otherwise(message, category, filename, lineno, file, line)

        warnings.simplefilter("always", CellWarning)
        warnings.showwarning = show
        yield texts


def joined(texts: list[str]) -> dict[str, Any]:
    """The column of a record that holds them."""
    return {"warnings": SEPARATOR.join(texts) or None}
