"""Which columns of a record are gated, and how. Importing this imports neither torch nor pandas."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pdebench.results.record import COLUMNS, declared_as
from pdebench.tasks.scores import SCORES

# Not of a record: the gate looks at the file.
CHECKPOINT = "checkpoint_bytes"

# What follows from the images: of other images it says nothing about the code.
LEARNED = tuple(name for name, column in COLUMNS.items() if column.gate == "learned")

# Deterministic on one machine: any difference is a change, to be undone or to be accepted by name.
EXACT = (*(name for name, column in COLUMNS.items() if column.gate == "exact"), CHECKPOINT, *LEARNED)

# Measured, each process another value.
COSTS = tuple(name for name, column in COLUMNS.items() if column.gate == "cost")

UNCALIBRATED = ("peak_memory_bytes",)  # does not depend on how fast a machine is just now


def costs(values: Mapping[str, Any]) -> dict[str, float]:
    """The logarithm of what each measured column says a thing costs: above another's is worse."""
    return {
        column: (-1 if declared.higher_is_better else 1) * math.log(values[column])
        for column in measured(values)
        if (declared := declared_as(column)) and isinstance(values.get(column), int | float) and values[column] > 0
    }


def exact(columns: Iterable[str]) -> list[str]:
    """Those gated by any difference: ours, and what tasks of other packages declare of these."""
    return [*EXACT, *_added(columns, "exact", "learned")]


def measured(columns: Iterable[str]) -> list[str]:
    """Those gated by what they cost: ours, and what tasks of other packages declare of these."""
    return [*COSTS, *_added(columns, "cost")]


def learned(column: str) -> bool:
    """Whether a column follows from the images."""
    return (declared := declared_as(column)) is not None and declared.gate == "learned"


def _added(columns: Iterable[str], *gates: str) -> list[str]:
    added = ((column, declared_as(column)) for column in columns if column not in COLUMNS)
    return [column for column, declared in added if declared is not None and declared.gate in gates]


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
    named = {*exact(values), *measured(values)}
    return {name for name, value in values.items() if value is not None and (name in named or name in SCORES)}


def words(column: str) -> str:
    """A column as the table calls it."""
    if column == CHECKPOINT:
        return "checkpoint"
    return ((declared := declared_as(column)) is not None and declared.title) or column


def chosen(values: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    """Some columns, where they have values."""
    return {name: values[name] for name in columns if values.get(name) is not None}


def worse(column: str) -> int:
    """1 where more of a column of quality is worse, -1 where less is."""
    return -1 if column in SCORES and SCORES[column].higher_is_better else 1
