"""Names of what is fitted apart: one for each combination of values of the columns that tell groups apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pdebench.stats.cells import CONTENT

_PREFIX = 8  # digits of a checksum


def names_of(table: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Each row's group, by name: `DiT, resolution 32, data 3f2a9c1b`; empty where all rows are one.

    Values that are written alike after other columns' missing ones are not taken for each other.
    """
    if not columns or table.empty:
        return pd.Series("", index=table.index, dtype=object)
    keys = pd.DataFrame({name: [_named(name, value) for value in table[name]] for name in columns}, dtype=object)
    names = keys.apply(lambda row: ", ".join(filter(None, row)), axis=1)
    if len(keys.drop_duplicates()) > names.nunique():
        names = keys.apply(lambda row: ", ".join(f"{name} {text or 'missing'}" for name, text in row.items()), axis=1)
    names[names == ""] = f"no {' and no '.join(columns)}"
    return names.set_axis(table.index)


def plain(value: Any) -> str:
    """A value as text, "" where it is missing; numbers in as few digits as tell them apart."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(float(value))
    return str(value).strip()


def _named(column: str, value: Any) -> str:
    """A family by its name, `data.resolution` 32 as `resolution 32`, a checksum by its first digits, none as ""."""
    text = plain(value)
    if column in CONTENT:
        return f"data {text[:_PREFIX] or 'unknown'}"
    _, dot, key = column.partition(".")
    return f"{key.replace('_', ' ')} {text}" if text and dot and key != "family" else text
