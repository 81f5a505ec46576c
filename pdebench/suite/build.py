"""How a cell's model is asked for: the name and the arguments of `create_model`. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from pdebench.data import registry
from pdebench.data.source import Source
from pdebench.models.registry import FAMILIES, Dimensions, Family, parse_name
from pdebench.models.shell_options import ShellOptions
from pdebench.suite.config import Cell, DataConfig
from pdebench.tasks.registry import TASKS
from pdebench.tasks.task import Outputs

DIMENSIONS = ("depth", "width", "heads", "mlp_hidden")
IMAGES = (
    "input_size", "in_channels", "num_classes", "learn_sigma", "patch_frames", "head", "out_channels", "conditioned",
)  # fmt: skip
OTHERS = ("stochastic_depth", "shell")
"""Arguments of `create_model`; what is in none of these is an option of the family."""


def build_of(cell: Cell, classes: int | None) -> tuple[str, dict[str, Any]]:
    """The model's name and its arguments, which are plain data; `classes` are those of the cell's images, if any."""
    model, source = cell.model, registry.SOURCES[cell.data.name]
    channels = source.channels_of(cell.data)
    outputs = TASKS[cell.task].outputs(classes, channels)
    return f"{model.family}-{model.size}/{model.patch}", {
        "input_size": input_size_of(source, cell.data),
        "in_channels": channels,
        "num_classes": outputs.num_classes,
        # what is as it would be without being said is not said: names of counts that are kept, and checkpoints
        **{key: value for key, value in outputs._asdict().items() if value != Outputs._field_defaults.get(key, value)},
        **({} if model.patch_frames == 1 else {"patch_frames": model.patch_frames}),
        **cell.train.of_the_model,
        **({"shell": shell} if (shell := cell.shell.changes(FAMILIES[model.family])) else {}),
        **model.dimensions,
        **model.options,
    }


def input_size_of(source: Source, data: DataConfig) -> int | tuple[int, ...]:
    """The sides of a data set's images, as `create_model` takes them: one number for a square; of clips all three."""
    sides = source.sides(data)
    return sides[0] if len(sides) == 2 and sides[0] == sides[1] else sides


class Resolved(NamedTuple):
    """What `create_model` makes of a name and its arguments."""

    family: Family
    dimensions: Dimensions
    patch: int
    options: BaseModel


def resolved(name: str, build: Mapping[str, Any]) -> Resolved:
    """The family in its shell, dimensions, patch and options of `create_model(name, **build)`.

    Raises:
        ModelError: there is no such model.
        ValueError: the family has no such options.
    """
    family, size, patch = parse_name(name)
    options = family.options(
        **{key: value for key, value in build.items() if key not in (*DIMENSIONS, *IMAGES, *OTHERS)}
    )
    given = {key: build[key] for key in DIMENSIONS if key in build}
    family = family.in_shell(ShellOptions(**dict(build.get("shell", ()))))
    return Resolved(family, family.dimensions(size, options, **given), patch, options)
