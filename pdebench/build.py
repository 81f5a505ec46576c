"""How a cell's model is asked for: the name and the arguments of `create_model`. Imports no torch."""

from __future__ import annotations

from typing import Any

from pdebench.config import Cell
from pdebench.data import registry


def build_of(cell: Cell, classes: int | None) -> tuple[str, dict[str, Any]]:
    """The model's name and its arguments, which are plain data; `classes` are those of the cell's images, if any."""
    model = cell.model
    return f"{model.family}-{model.size}/{model.patch}", {
        "input_size": cell.data.resolution,
        "in_channels": registry.SOURCES[cell.data.name].channels,
        "num_classes": classes,
        **model.dimensions,
        **model.options,
    }
