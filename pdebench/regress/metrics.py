"""Which columns of a record are gated, and how. Importing this imports neither torch nor pandas."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from pdebench.results.record import dtype_of

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
    """The columns of quality, of which more is worse: the loss, and distances of samples."""
    names = ["val_loss_ema", *(name for name in values if _distance(name))]
    return {name: float(values[name]) for name in names if isinstance(values.get(name), int | float)}


def gated(values: Mapping[str, Any]) -> set[str]:
    """The columns that have a value and a gate."""
    return {name for name, value in values.items() if value is not None and (name in _NAMED or _distance(name))}


def words(column: str) -> str:
    """A column as the table calls it."""
    return WORDS.get(column, column)


def chosen(values: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    """Some columns, where they have values."""
    return {name: values[name] for name in columns if values.get(name) is not None}


def _distance(name: str) -> bool:
    """Whether a column is a distance between samples and images, and not its spread."""
    return name.startswith(("fd_", "kid", "fid")) and dtype_of(name) == "Float64" and not name.endswith(_BESIDE)


_NAMED = {*EXACT, *COSTS}
_BESIDE = ("_std",)
