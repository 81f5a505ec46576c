"""Which columns of a record are gated, and how. Importing this imports neither torch nor pandas."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pdebench.metrics.scores import SCORES

# Deterministic on one machine: any difference is a change, to be undone or to be accepted by name.
EXACT = (
    "data_checksum",
    "peak_memory_kind",
    "params",
    "macs_forward",
    "macs_uncounted",
    "flops_train_step",
    "operators_step",
    "graph_breaks",
    "weights_bytes",
    "gradients_bytes",
    "optimizer_bytes",
    "held_bytes",
    "mixer_held_bytes",
    "block_held_bytes",
    "checkpoint_bytes",
    "train_loss",
    "val_loss",
    "val_loss_ema",
)

# What follows from the images: of other images it says nothing about the code.
LEARNED = ("train_loss", "val_loss", "val_loss_ema")

# Measured, each process another value. 1: more is worse, -1: less is worse.
COSTS = {
    "train_step_ms_median": 1,
    "sample_images_per_s": -1,
    "mixer_ms_median": 1,
    "block_ms_median": 1,
    "peak_memory_bytes": 1,
}

UNCALIBRATED = ("peak_memory_bytes",)  # does not depend on how fast a machine is just now

WORDS = {
    "data_checksum": "the content of the data set",
    "peak_memory_kind": "what peak memory is",
    "train_step_ms_median": "train step",
    "sample_images_per_s": "sampling",
    "mixer_ms_median": "mixer",
    "block_ms_median": "block",
    "peak_memory_bytes": "peak memory",
    "operators_step": "operators",
    "graph_breaks": "graph breaks",
    "held_bytes": "held for backward",
    "checkpoint_bytes": "checkpoint",
    "macs_forward": "MACs",
    "val_loss_ema": "val loss",
}


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
    return WORDS.get(column, column)


def chosen(values: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    """Some columns, where they have values."""
    return {name: values[name] for name in columns if values.get(name) is not None}


def worse(column: str) -> int:
    """1 where more of a column of quality is worse, -1 where less is."""
    return -1 if column in SCORES and SCORES[column].higher_is_better else 1


_NAMED = {*EXACT, *COSTS}
