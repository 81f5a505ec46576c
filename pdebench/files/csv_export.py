"""CSV that a spreadsheet or a terminal may be shown, whatever texts of others stand in it.

A spreadsheet takes a text that begins with one of a few signs for a formula, and runs it; so it gets an apostrophe in
front, which says "text" there and is taken off again where `pdebench fit` reads a table. Numbers stay numbers. What
would move a terminal's cursor is written out. Imports no pandas.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pdebench.errors import printable

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile("'*\\s*[=+\\-@\uff1d\uff0b\uff0d\uff20]")  # a spreadsheet knows their wide forms too
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


def to_csv(table: pd.DataFrame) -> str:
    """A table as CSV, without its index."""
    shown = table.copy()
    for name, kind in table.dtypes.items():
        if kind.kind == "O":
            shown[name] = table[name].map(_cell, na_action="ignore").astype(object)
    return shown.rename(columns=_cell).to_csv(index=False)


def as_text(text: str) -> str:
    """A text that no spreadsheet takes for a formula and no terminal for an order."""
    text = printable(text)
    return f"'{text}" if _is_formula(text) else text


def as_it_was(text: str) -> str:
    """What `as_text` made of a text with an apostrophe in front, without it."""
    return text[1:] if text[:1] == "'" and _is_formula(text[1:]) else text


def _is_formula(text: str) -> bool:
    return _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None


def _cell(value: Any) -> Any:
    return as_text(value) if isinstance(value, str) else value
