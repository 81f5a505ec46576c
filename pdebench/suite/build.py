"""How a cell's model is asked for: the name and the arguments of `create_model`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from pdebench.data import registry
from pdebench.models.registry import Dimensions, Family, parse_name
from pdebench.suite.config import Cell

DIMENSIONS = ("depth", "width", "heads", "mlp_hidden")
IMAGES = ("input_size", "in_channels", "num_classes", "learn_sigma")
"""Arguments of `create_model`; what is in neither is an option of the family."""


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


class Resolved(NamedTuple):
    """What `create_model` makes of a name and its arguments."""

    family: Family
    dimensions: Dimensions
    patch: int
    options: BaseModel


def resolved(name: str, build: Mapping[str, Any]) -> Resolved:
    """The family, dimensions, patch and options of `create_model(name, **build)`.

    Raises:
        ModelError: there is no such model.
        ValueError: the family has no such options.
    """
    family, size, patch = parse_name(name)
    options = family.options(**{key: value for key, value in build.items() if key not in (*DIMENSIONS, *IMAGES)})
    given = {key: build[key] for key in DIMENSIONS if key in build}
    return Resolved(family, family.dimensions(size, options, **given), patch, options)
