"""Columns as numbers: what is missing stays so, what is text is refused where it stands, with what to write instead.

No text is guessed at, but for a decimal comma, and that only between semicolons or tabs.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdebench.errors import TableError

MISSING = frozenset(
    {"", "#n/a", "#n/a n/a", "#na", "n/a", "na", "nan", "-nan", "<na>", "null", "none"}
    | {"1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
)
"""Texts that mean "missing": those that pandas reads so, in small letters."""

_PLAIN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?\d+,\d+(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?P<mark>[,.'’_\s])\d{3}((?P=mark)\d{3})*", re.ASCII)
_POWER = re.compile(r"([+-]?[\d.]+)\s*[x×*·]\s*10\s*(?:\^|\*\*)?\s*([+-]?\d+)", re.IGNORECASE)
_UNIT = re.compile(r"([+-]?[\d.]+)\s*([kKMGBTP])", re.ASCII)
_UNITS = {"k": 3, "K": 3, "M": 6, "G": 9, "B": 9, "T": 12, "P": 15}
_AROUND = re.compile(r"([^\d+.-]*)[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?(\D*)", re.ASCII)
_MARKS = {",": "comma", ".": "point"}
_ELSE = "write a number such as 200000 or 2e5, leave the cell empty, or take the row out"
_SHOWN = 40  # characters of a cell


def numbers_of(table: pd.DataFrame, columns: Sequence[str], places: Sequence[str]) -> pd.DataFrame:
    """The columns as floats.

    Args:
        table: rows.
        columns: of it, each there once.
        places: what a person calls each row: `line 3`.

    Raises:
        TableError: a cell holds something else; the first such row is named.
    """
    parsed = {name: _parsed(table[name]) for name in columns}
    wrong = {name: np.flatnonzero(bad) for name, (_, bad) in parsed.items() if bad.any()}
    if wrong:
        name = min(wrong, key=lambda one: wrong[one][0])
        raise TableError(_refusal(name, table[name].iloc[wrong[name][0]], places[wrong[name][0]], parsed[name]))
    return pd.DataFrame({name: values for name, (values, _) in parsed.items()}, index=table.index)


def decimal_points(table: pd.DataFrame, counts: Sequence[str], loss: str, separator: str) -> tuple[pd.DataFrame, bool]:
    """A table of texts with decimal commas as points, and whether there were any.

    A column has decimal commas where one of its commas cannot part thousands (0,263 and 1,5, but not 200,000). A loss
    between semicolons also has them where every cell has one, since that is how a spreadsheet writes three decimals.

    Args:
        table: all texts, as `read_csv` leaves one that is not separated by commas.
        counts: its columns of parameters, images and FLOPs.
        loss: its column of losses.
        separator: of its columns.

    Raises:
        TableError: some of these numbers have a decimal comma and some a point, which may part thousands there.
    """
    changed, points, example = table.copy(), [], ""
    for name in (*counts, loss):
        cells = table[name].dropna().astype(str).str.strip()
        commas = cells[cells.str.fullmatch(_COMMA)]
        pointed = cells[cells.str.fullmatch(_PLAIN) & cells.str.contains(".", regex=False)]
        points += [(line, name, text) for line, text in pointed.items()]
        sure = not commas.str.fullmatch(_THOUSANDS).all()
        if len(commas) and (sure or (name == loss and separator == ";" and len(commas) == len(cells))):
            changed.loc[commas.index, name] = commas.str.replace(",", ".", regex=False)
            example = example or f"'{commas.iloc[0]}' in column '{name}'"
    if example and points:
        line, name, text = min(points)
        raise TableError(
            f"line {line}, column '{name}': '{text}' has a point where other numbers have a decimal comma ({example}), "
            "so that it may mean two things; write all numbers with a point, or all with a comma"
        )
    return changed, bool(example)


def holds_numbers(column: pd.Series) -> bool:
    """Whether a column holds numbers, be they typed or texts, with a decimal comma or without."""
    types = pd.api.types
    if types.is_numeric_dtype(column.dtype):
        return not types.is_bool_dtype(column.dtype)
    known = column.dropna()
    return all(isinstance(cell, str) and bool(_PLAIN.fullmatch(cell.strip().replace(",", ".", 1))) for cell in known)


def instead_of(cell: object) -> str:
    """What to write in the place of a cell that is no number."""
    if not isinstance(cell, str) or len(cell) > _SHOWN:
        return _ELSE
    text = unicodedata.normalize("NFKC", cell).strip()  # thin spaces become spaces, powers digits
    if match := _THOUSANDS.fullmatch(text):
        mark = match["mark"]
        whole = text.replace(mark, "")
        if mark in _MARKS and text.count(mark) == 1:
            small = _written(Decimal(text.replace(mark, ".")))
            return f"write {whole}, or {small} if its {_MARKS[mark]} is a decimal one"
        return f"write {whole}"
    if _COMMA.fullmatch(text):
        return f"write {text.replace(',', '.')}, with a decimal point"
    if (match := _POWER.fullmatch(text)) and _PLAIN.fullmatch(match[1]):
        return f"write {match[1]}e{int(match[2])}"
    if (match := _UNIT.fullmatch(text)) and _PLAIN.fullmatch(match[1]):
        return f"write {_written(Decimal(match[1]).scaleb(_UNITS[match[2]]))}, without {match[2]}"
    if _PLAIN.fullmatch(plain := text.replace(",", "")):
        return f"write {plain}"
    if (match := _AROUND.fullmatch(text)) and any(match.groups()):
        rest = " and ".join(repr(part.strip()) for part in match.groups() if part.strip())
        return f"write the number in full, without {rest}, in every row alike"
    return _ELSE


def _written(number: Decimal) -> str:
    """Without an exponent and without needless zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _refusal(name: str, cell: Any, place: str, parsed: tuple[NDArray[np.float64], NDArray[np.bool_]]) -> str:
    values, bad = parsed
    shown = repr(cell) if isinstance(cell, str) else repr(str(cell))
    shown = shown if len(shown) <= _SHOWN + 2 else f"{shown[: _SHOWN - 1]}...'"
    if not np.isfinite(values).any():
        return f"column '{name}' holds no numbers but, for example, {shown} in {place}; {instead_of(cell)}"
    many = f" ({bad.sum():,} such cells in the column)" if bad.sum() > 1 else ""
    return f"{place}, column '{name}': {shown} is no number{many}; {instead_of(cell)}"


def _parsed(column: pd.Series) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A column's numbers, NaN where it has none, and where it holds something else."""
    known = column.notna().to_numpy(dtype=bool)
    types = pd.api.types
    if types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype):
        if not types.is_complex_dtype(column.dtype):
            return column.to_numpy(dtype=float, na_value=math.nan), np.zeros(len(column), dtype=bool)
        return np.full(len(column), math.nan), known
    read = [_number(cell) if there else math.nan for cell, there in zip(column, known, strict=True)]
    bad = np.array([value is None for value in read], dtype=bool)
    return np.array([math.nan if value is None else value for value in read], dtype=float), bad


def _number(cell: Any) -> float | None:
    """A cell's number, NaN where it says that it is missing, None where it holds something else."""
    if isinstance(cell, int | float | np.integer | np.floating | Decimal) and not isinstance(cell, bool):
        try:
            return float(cell)
        except OverflowError:
            return math.inf if cell > 0 else -math.inf
    if not isinstance(cell, str):
        return None
    text = cell.strip()
    if text.lower() in MISSING:
        return math.nan
    return float(text) if _PLAIN.fullmatch(text) or _INFINITE.fullmatch(text) else None
