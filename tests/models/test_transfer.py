"""Weights on a grid that they were not trained on."""

from __future__ import annotations

import pytest
import torch

from pdebench.errors import ModelError
from pdebench.models.backbone import Backbone, create_model
from pdebench.models.registry import FAMILIES
from pdebench.models.transfer import at_resolution

BUILD = {"input_size": 16, "in_channels": 3, "num_classes": 10}
MOVABLE = [name for name, family in FAMILIES.items() if not family.bound_to_grid]


def trained(name: str) -> Backbone:
    model = create_model(name, **BUILD)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    return model.eval()


@pytest.mark.parametrize("family", MOVABLE)
def test_a_move_to_the_same_grid_changes_nothing_and_to_another_keeps_the_weights(family: str) -> None:
    name = f"{family}-XXS/4"
    model = trained(name)
    same, larger = at_resolution(model, name, BUILD, 16), at_resolution(model, name, BUILD, 32)
    inputs = torch.randn(2, 3, 16, 16), torch.tensor([3.0, 700.0]), torch.tensor([1, 4])
    with torch.no_grad():
        assert torch.equal(same(*inputs), model(*inputs))
        assert larger(torch.randn(2, 3, 32, 32), *inputs[1:]).isfinite().all()
    kept, moved = model.state_dict(), larger.state_dict()
    assert kept.keys() == moved.keys()
    assert [key for key in kept if not torch.equal(kept[key], moved[key])] == ["pos_embed"]
    assert not larger.training


def test_a_place_in_the_image_keeps_its_position_embedding() -> None:
    model = trained("DiT-XXS/4")
    moved = at_resolution(model, "DiT-XXS/4", BUILD, 32)
    grid = moved.pos_embed.view(8, 8, -1)[::2, ::2]
    torch.testing.assert_close(grid, model.pos_embed.view(4, 4, -1))


def test_weights_bound_to_a_grid_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="bound to the grid that they were trained on"):
        at_resolution(trained("GFNet-DiT-XXS/4"), "GFNet-DiT-XXS/4", BUILD, 32)
