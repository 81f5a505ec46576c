"""Which columns of a record are gated, and how. Importing this imports neither torch nor pandas."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pdebench.results.record import COLUMNS
from pdebench.tasks.scores import SCORES

# Not of a record: the gate looks at the file.
CHECKPOINT = "checkpoint_bytes"

# What follows from the images: of other images it says nothing about the code.
LEARNED = tuple(name for name, column in COLUMNS.items() if column.gate == "learned")

# Deterministic on one machine: any difference is a change, to be undone or to be accepted by name.
EXACT = (*(name for name, column in COLUMNS.items() if column.gate == "exact"), CHECKPOINT, *LEARNED)

# Measured, each process another value. 1: more is worse, -1: less is worse.
COSTS = {name: -1 if column.higher_is_better else 1 for name, column in COLUMNS.items() if column.gate == "cost"}

UNCALIBRATED = ("peak_memory_bytes",)  # does not depend on how fast a machine is just now


def costs(values: Mapping[str, Any]) -> dict[str, float]:
    """The logarithm of what each measured column says a thing costs: above another's is worse."""
    return {
        column: sign * math.log(values[column])
        for column, sign in COSTS.items()
        if isinstance(values.get(column), int | float) and values[column] > 0
    }


def same_measure(column: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a column of two processes was measured in the same way, as far as both say how."""
    how = [values.get("peak_memory_kind") for values in (one, other)] if column == "peak_memory_bytes" else []
    return None in how or len(set(how)) <= 1


def qualities(values: Mapping[str, Any]) -> dict[str, float]:
    """The columns of quality: the loss, and the scores of samples."""
    names = ["val_loss_ema", *(name for name in values if name in SCORES)]
    return {name: float(values[name]) for name in names if isinstance(values.get(name), int | float)}


def gated(values: Mapping[str, Any]) -> set[str]:
    """The columns that have a value and a gate."""
    return {name for name, value in values.items() if value is not None and (name in _NAMED or name in SCORES)}


def words(column: str) -> str:
    """A column as the table calls it."""
    if column == CHECKPOINT:
        return "checkpoint"
    return (COLUMNS[column].title if column in COLUMNS else "") or column


def chosen(values: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    """Some columns, where they have values."""
    return {name: values[name] for name in columns if values.get(name) is not None}


def worse(column: str) -> int:
    """1 where more of a column of quality is worse, -1 where less is."""
    return -1 if column in SCORES and SCORES[column].higher_is_better else 1


_NAMED = {*EXACT, *COSTS}
