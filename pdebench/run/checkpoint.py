"""A cell's trained model as a file: its averaged weights, and what has to be known to use them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pdebench.data.space import Space, space_from
from pdebench.errors import ModelError, out_of_memory, refused_by_system
from pdebench.files import weights_file
from pdebench.files.disk import open_plain
from pdebench.models.backbone import Backbone, create_model
from pdebench.models.grid import sides_of
from pdebench.results.store import replacing
from pdebench.suite.paths import default_results
from pdebench.tasks.learner import Learner
from pdebench.tasks.registry import TASKS


def write_checkpoint(
    ema: nn.Module,
    name: str,
    build: dict[str, Any],
    learner: Learner,
    folder: Path,
    space: Space | None = None,
    class_names: Sequence[str] | None = None,
) -> None:
    """The averaged weights, with what `create_model` needs to take them up again and what its task has to know.

    `space` is that of the latents that it was trained on, if any; `class_names` are those of its classes, by number.
    """
    weights = {key: value.contiguous() for key, value in ema.state_dict().items()}
    about = {"model": name, "build": json.dumps(build), "task": learner.task}
    about |= {key: json.dumps(value) for key, value in learner.about().items()}
    if space is not None:
        about["space"] = json.dumps(asdict(space))
    if class_names is not None:
        about["class_names"] = json.dumps(list(class_names))
    with replacing(folder / _NAME) as file:
        weights_file.save(weights, about, file)


_NAME = "checkpoint.safetensors"
_STORED = (torch.float32, torch.float64, torch.bfloat16, torch.float16)  # what weights may be stored as


@dataclass(frozen=True)
class Checkpoint:
    """A trained model and what is to be known to use it.

    Attributes:
        model: in eval mode.
        name: as `create_model` takes it.
        learner: the task that it was trained for.
        space: of the latents that it was trained on; None: images.
        build: the arguments of `create_model` that made it.
        class_names: by number; None: it has no classes, or is of before they were kept.
    """

    model: Backbone
    name: str
    learner: Learner
    space: Space | None = None
    build: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """Rebuild a model from a cell's checkpoint; reading it runs no code from the file.

    Raises:
        ModelError: the file is no checkpoint of pdebench, or its weights are not finite.
    """
    from safetensors import SafetensorError, safe_open

    _refuse_other_things(path)
    try:
        # before safetensors, which waits for a FIFO and calls any failure a missing file
        with open_plain(path, follow=True) as file:
            weights_file.refuse_altered(file)
        with safe_open(path, framework="pt") as held:
            about = held.metadata() or {}
            weights = {key: held.get_tensor(key) for key in held.keys()}  # noqa: SIM118 (not a dict)
        if odd := [key for key, held in weights.items() if held.dtype not in _STORED]:
            raise ValueError(f"its tensor {odd[0]} is of {weights[odd[0]].dtype}")
        name, build = about["model"], json.loads(about["build"])
        _refuse_other_sizes(build, weights)
        with torch.device("meta"):  # allocates nothing, whatever sizes the file claims
            create_model(name, **build).load_state_dict(weights, assign=True)
        model = create_model(name, **build)
        model.load_state_dict(weights)
        if (task := about.get("task", "generation")) not in TASKS:
            raise ValueError(f"it was trained for the task {task[:40]!r}, and there is no such task here")
        learner = TASKS[task].recall(about)
        space = space_from(json.loads(about["space"])) if "space" in about else None
        names = _names(about.get("class_names"))
    except (SafetensorError, OSError, LookupError, ValueError, RuntimeError, TypeError, ArithmeticError) as error:
        if why := refused_by_system(error):
            raise ModelError(f"cannot read the checkpoint {path}: {why}") from None
        if out_of_memory(error):
            raise
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path} is not a checkpoint of pdebench ({reason})") from None
    if burst := [key for key, value in model.state_dict().items() if not value.isfinite().all()]:
        raise ModelError(
            f"{path} holds weights that are NaN or infinite ({len(burst)} of {len(weights)} tensors, {burst[0]} "
            "first): its training diverged, or the file was damaged; train its cell again"
        )
    return Checkpoint(model.eval(), name, learner, space, build, names)


def _refuse_other_things(path: Path) -> None:
    """Refuse what leads to checkpoints and is none: a folder, of results or of a cell, and a suite; say which are.

    Raises:
        ModelError: it is such a thing.
    """
    if path.is_dir():
        if (path / "cells").is_dir():
            what, which = "a results folder", path / "cells" / "*" / _NAME
        elif (path / _NAME).is_file():
            what, which = "a cell's folder", path / _NAME
        else:
            what, which = "a folder", default_results("NAME") / "cells" / "*" / _NAME
    elif path.suffix in (".yaml", ".yml") and path.is_file():
        what, which = "a suite, or part of one", default_results(path.stem) / "cells" / "*" / _NAME
    else:
        return
    raise ModelError(f"{path} is not a checkpoint of pdebench but {what}: name a cell's, such as {which}")


def _names(text: str | None) -> tuple[str, ...] | None:
    """The names of classes as a file has them.

    Raises:
        ValueError: they are none.
    """
    found = None if text is None else json.loads(text)
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError("the names of its classes are no list of texts")
    return tuple(found)


def _refuse_other_sizes(build: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Refuse more layers, pixels or classes than the weights have, before as many are built.

    Raises:
        ValueError: what the file says of itself is not what it holds.
    """
    if not isinstance(build, dict):
        raise ValueError("it does not say how its model is built")
    patches = weights["x_embedder.proj.weight"].shape[2:]
    held = {
        "depth": len({key.split(".")[1] for key in weights if key.startswith("blocks.")}),
        "width": weights["pos_embed"].shape[-1],
    }
    sides, tokens = sides_of(build["input_size"]), weights["pos_embed"].shape[1]
    fits = len(sides) == len(patches) and all(side > 0 for side in sides)
    along = [divmod(side, patch) for side, patch in zip(sides, patches, strict=fits)]
    if not fits or any(rest for _, rest in along) or math.prod(count for count, _ in along) != tokens:
        raise ValueError(f"it claims images of {str(build['input_size'])[:20]} px, its weights have {tokens} tokens")
    for key, value in held.items():
        if build.get(key) != value:
            raise ValueError(f"it claims {key} {str(build.get(key))[:20]}, its weights have {value}")
