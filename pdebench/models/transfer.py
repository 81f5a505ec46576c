"""A trained backbone on another grid of tokens than it was trained on."""

from __future__ import annotations

from typing import Any

from torch import nn

from pdebench.errors import ModelError
from pdebench.models.backbone import Backbone, create_model
from pdebench.models.embedding import sincos_position_embedding
from pdebench.models.grid import KINDS, InputSize, sides_of
from pdebench.models.registry import parse_name
from pdebench.ops.rotary import Rotary


def at_resolution(model: nn.Module, name: str, build: dict[str, Any], input_size: InputSize) -> Backbone:
    """The weights of `model`, which is `create_model(name, **build)`, for images or clips of `input_size`.

    Nothing is trained. The position embedding is taken at the places that the tokens of the new grid have in the
    trained one, so that the same place in the image, or in the clip, keeps its embedding (as PixArt does, arXiv
    2310.00426), and rotary positions are too (as in EVA-02, arXiv 2303.11331); every other weight is kept.

    Raises:
        ModelError: the family's weights are bound to one grid, the patch does not divide `input_size`, or that has
            other axes.
    """
    family, _, _ = parse_name(name)
    if family.bound_to_grid:
        raise ModelError(f"{name}: the weights of {family.name} are bound to the grid that they were trained on")
    assert isinstance(model, Backbone)
    if len(sides_of(input_size)) != len(model.grid):
        raise ModelError(f"{name} was trained on {KINDS[len(model.grid)]}; it does not serve {input_size}")
    moved = create_model(name, **{**build, "input_size": input_size})
    scales = [trained / tokens for trained, tokens in zip(model.grid, moved.grid, strict=True)]
    places = sincos_position_embedding(moved.grid, moved.pos_embed.shape[-1], scales)
    moved.load_state_dict({**model.state_dict(), "pos_embed": places})
    for turned in (module for module in moved.modules() if isinstance(module, Rotary)):
        turned.stand_apart({1: scales[:1], 2: scales[-2:], 3: scales}[len(turned.grid)])
    return moved.to(model.pos_embed.device).train(model.training)
