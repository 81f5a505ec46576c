"""What is known of a results table: which cells are runs, and what tells apart those that one law is fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from pdebench.models.settings import options_of
from pdebench.results.record import DIMENSIONS
from pdebench.suite.identity import NEUTRAL

CONTENT = ("data.content", "data_checksum")
"""Columns that say what a data set holds, whatever it is called."""

CODE = ("family_revision", "family_source")
"""Columns that say which code a family was, whatever it is called."""

PRESET = "shell.preset"
UNTRAINED = "not trained"
ELSEWHERE = "done in another row"

_RESULTS = {"cell", "status", "model.family", "params", "images_seen", "flops_train"}
_CONFIGURED = ("data.", "shell.", "model.", "train.", "evaluate.", "measure.")
_SCALED = {
    "model.family",
    "model.size",
    *DIMENSIONS,
    "train.seed",
    "train.steps",
}  # what a law is fitted over, or noise
_RECORDED = ("precision_used", "classes", "train_images", "val_images", *CONTENT)  # what a loss also depends on


def is_results(table: pd.DataFrame) -> bool:
    """Whether the columns are those of a results folder's table."""
    return table.columns.is_unique and set(table.columns) >= _RESULTS


def fill_in(table: pd.DataFrame) -> None:
    """Write into a results table what records of before leave open: the values of keys and options that came later.

    Only in columns that are there, since some row has them: else rows of then and of now were no runs of one thing.
    """
    for section, keys in NEUTRAL.items():
        for key, value in keys.items():
            if value is not None and not isinstance(value, list):
                _fill(table, f"{section}.{key}", value, table.index == table.index)
    for family in table["model.family"].dropna().unique():
        own = (table["model.family"] == family).fillna(False).astype(bool)
        for option in options_of(str(family)):
            _fill(table, f"model.{option.name}", option.before, own)


def _fill(table: pd.DataFrame, name: str, value: Any, own: Any) -> None:
    if name not in table:
        return
    open_ = table[name].isna() & own
    if open_.any() and value is not None:
        number = pd.api.types.is_float_dtype(table[name]) and type(value) is int
        table[name] = table[name].astype(object).where(~open_, float(value) if number else value)


def states(table: pd.DataFrame) -> pd.Series:
    """Why each cell of a results table is no run, empty where it is one: its status, or that nothing was trained."""
    found = table["status"].astype(object).where(table["status"].notna(), "without a status").astype(str)
    done = found == "done"
    found[done] = ""
    if "train.steps" in table:
        found[done & (pd.to_numeric(table["train.steps"], errors="coerce") == 0)] = UNTRAINED
    found[~done & table["cell"].notna() & table["cell"].isin(table.loc[done, "cell"])] = ELSEWHERE
    return found


def told_apart(table: pd.DataFrame) -> tuple[str, ...]:
    """The family, the columns of the configuration that vary among the runs of one family and size, and the data."""
    rows = table[states(table) == ""]
    alike = [rows["model.family"].astype(str), rows["model.size"].astype(str)] if "model.size" in rows else []
    known = [name for name in configured(rows) if not (name.startswith("data.") and name in CONTENT)]
    varied = [name for name in known if alike and (rows[name].astype(str).groupby(alike).nunique() > 1).any()]
    if PRESET in varied:  # it tells the shell's other keys, where nobody changed one by itself
        said = [*alike, rows[PRESET].astype(str)]
        varied = [name for name in varied if not name.startswith("shell.") or name == PRESET
                  or (rows[name].astype(str).groupby(said).nunique() > 1).any()]  # fmt: skip
    return by_data(rows, ("model.family", *varied))


def by_data(table: pd.DataFrame, group: Sequence[str]) -> tuple[str, ...]:
    """The columns of a group, and those of data and code that it does not tell apart: no law is of two of either."""
    rows, found = table[states(table) == ""], list(group)
    for name in ("task", "data.name", "data.resolution", *CONTENT, *CODE):
        if name in rows and name not in found:
            alike = [rows[column].astype(str) for column in found if column in rows]
            values = rows[name].astype(object).where(rows[name].notna(), 1) if name == "family_revision" else rows[name]
            kinds = values.groupby(alike).nunique() if alike else pd.Series([values.nunique()])
            if (kinds > 1).any():
                found.append(name)
    return tuple(found)


def configured(table: pd.DataFrame) -> list[str]:
    """The columns of the configuration, without what laws are fitted over; a path only where contents are unknown."""
    contents = any(name in table and table[name].notna().all() for name in CONTENT)
    ignored = {*_SCALED, *(["data.path"] if contents else [])}
    return [str(name) for name in table if str(name).startswith(_CONFIGURED) and name not in ignored]


def settings(table: pd.DataFrame) -> list[str]:
    """What a loss may depend on beside size and images: of the configuration all but what is only measured."""
    chosen = [name for name in configured(table) if not name.startswith("measure.")]
    return [*chosen, *(name for name in _RECORDED if name in table and name not in chosen)]
