"""Data sets of a table by what they hold: rows of other content are rows of another set, whatever it is called.

A row says what its set holds by `data.content`, which is the same at all resolutions, or, where an older pdebench wrote
it, by the checksum of its training images at one.
"""

from __future__ import annotations

from collections.abc import Hashable

import pandas as pd

from pdebench.suite.labels import shortest

DIGITS = 8  # of a digest, in a name


def set_names(table: pd.DataFrame) -> pd.Series:
    """The data set of each row by a name that tells it from all others of the table; None where it has no name.

    Sets that share a name are told apart by the ends of their paths where these differ, else by their content.
    """
    names = table["data.name"]
    keys = _contents(table)
    found = names.copy()
    for name in names.dropna().unique():
        rows = names == name
        told = keys[rows & (keys != "")]  # a cell that failed early does not know its images, and is no other set
        if (told.groupby(table.loc[told.index, "data.resolution"]).nunique() > 1).any() or told.map(_is_content).all():
            found[rows] = _told_apart(str(name), keys[rows], table.loc[rows])
    return found


def _contents(table: pd.DataFrame) -> pd.Series:
    """What tells the content of each row; a checksum stands for the content that other rows have beside it."""
    checksums = table["data_checksum"]
    known = table[table["data.content"].notna() & checksums.notna()]
    content_of: dict[Hashable, str] = dict(zip(known["data_checksum"], known["data.content"], strict=True))
    keys = table["data.content"].where(
        table["data.content"].notna(), checksums.map(lambda one: content_of.get(one, one))
    )
    return keys.astype(object).where(keys.notna(), "")


def _is_content(key: str) -> bool:
    return len(key) == 32


def _told_apart(name: str, keys: pd.Series, rows: pd.DataFrame) -> pd.Series:
    distinct = [key for key in keys.unique() if key]
    if len(distinct) < 2:
        return pd.Series(name, index=keys.index, dtype=object)
    paths = [sorted({str(path) for path in rows.loc[keys == key, "data.path"].dropna()}) for key in distinct]
    ends = shortest([one[0] for one in paths]) if all(paths) else []
    short = dict(zip(distinct, ends, strict=False)) if len(set(ends)) == len(distinct) else {}
    return keys.map(lambda key: f"{name} {short.get(key) or (key[:DIGITS] if key else 'of unknown content')}").astype(
        object
    )
