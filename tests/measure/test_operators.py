"""Operators of a step: the same each time, more with more blocks, and untouched by what a model was doing."""

from __future__ import annotations

import torch

from pdebench.measure.operators import count_operators
from pdebench.models.backbone import Backbone, create_model


def count(model: Backbone) -> int:
    return count_operators(model, channels=3, side=16, precision="fp32", device=torch.device("cpu"))


def build(depth: int, classes: int | None = None) -> Backbone:
    return create_model("DiT-XXS/8", input_size=16, in_channels=3, num_classes=classes, depth=depth)


def test_every_block_dispatches_as_many_forward_and_backward() -> None:
    one, two, three = (count(build(depth)) for depth in (1, 2, 3))
    assert three - two == two - one > 20


def test_the_count_is_no_matter_of_chance_and_leaves_the_model_as_it_was() -> None:
    model = build(1, classes=10).train()
    assert len({count(model) for _ in range(4)}) == 1
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
