"""Weights to begin a training with, from a checkpoint of any task: what has the same name and shape is taken.

Between tasks the blocks and the embedding of patches are what is common. A model that is conditioned has adaLN where
another has norms with weights: either is left as it was made. The head is taken where the task is the same, and the
position embedding never, since each grid has its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pdebench.errors import ModelError
from pdebench.models.backbone import Backbone
from pdebench.run.checkpoint import read_checkpoint
from pdebench.run.start_check import refuse_other_models

_POSITIONS, _HEAD, _MIXER = "pos_embed", "final_layer.linear.", ".mixer."


def begin_with(path: Path, model: Backbone, name: str, task: str) -> str:
    """Load what fits of a checkpoint into `model`, in place, and say what was taken and what was left.

    Args:
        path: of the checkpoint.
        model: as `create_model(name, ...)` made it, on any device.
        name: FAMILY-SIZE/PATCH.
        task: what it will learn.

    Raises:
        ModelError: the file is no checkpoint, of another family, width or patch, or none of its mixers' weights fit.
    """
    found = read_checkpoint(path)
    refuse_other_models(path, found.name, found.model.pos_embed.shape[-1], name, model.pos_embed.shape[-1])
    held, own = found.model.state_dict(), model.state_dict()
    same_task = found.learner.task == task

    def fits(key: str) -> bool:
        kept = key == _POSITIONS or (key.startswith(_HEAD) and not same_task)
        return not kept and key in held and held[key].shape == own[key].shape

    taken = {key: held[key] for key in own if fits(key)}
    mixers = [key for key in own if _MIXER in key]
    if mixers and not any(_MIXER in key for key in taken):
        raise ModelError(
            f"train.init: nothing of the mixers of {path}, a {found.name}, fits this {name}: their options or their "
            "grids of tokens differ; train it from random weights, or take another checkpoint"
        )
    with torch.no_grad():
        for key, value in taken.items():
            own[key].copy_(value)
    left = [key for key in own if key not in taken and key != _POSITIONS]
    unused = [key for key in held if key not in taken and key != _POSITIONS]
    return (
        f"{found.name}, trained for {found.learner.task}: {len(taken)} of {len(own) - 1} tensors are taken, "
        f"{_parts(taken)}"
        + (f"; as made at random: {_parts(left)}" if left else "")
        + (f"; not used of it: {_parts(unused)}" if unused else "")
    )


def _parts(keys: Mapping[str, Tensor] | list[str]) -> str:
    """Tensors by the parts of a model that they are of: `mixers 16, MLPs 16, patch embedding 2`."""
    counts = Counter(_part(key) for key in keys)
    return ", ".join(f"{part} {count}" for part, count in counts.items())


def _part(key: str) -> str:
    names: dict[str, Any] = {  # embedders first: that of times is an MLP too
        "x_embedder": "patch embedding",
        "t_embedder": "times",
        "y_embedder": "labels",
        _MIXER: "mixers",
        ".mlp.": "MLPs",
        "adaLN": "adaLN",
        ".norm": "norms",
        ".convolution.": "convolutions",
        _HEAD: "head",
    }
    return next((what for part, what in names.items() if part in key), "others")
