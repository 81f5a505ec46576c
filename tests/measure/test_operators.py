"""Operators of a step: the same each time, more with more blocks, and untouched by what a model was doing."""

from __future__ import annotations

import torch

from pdebench.measure.operators import step_counts
from pdebench.models.backbone import Backbone, create_model


def counts(model: Backbone) -> dict[str, int]:
    return step_counts(model, precision="fp32", device=torch.device("cpu"))


def count(model: Backbone) -> int:
    return counts(model)["operators_step"]


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


def test_what_is_kept_for_the_backward_pass_grows_with_what_a_block_keeps() -> None:
    one, two, three = (counts(build(depth))["held_bytes"] for depth in (1, 2, 3))
    tokens, width = 2 * 4, 128  # two images, their tokens, and an MLP of four times the width: at least its activation
    assert three - two == two - one > 4 * tokens * 4 * width
    model = build(1)
    act = model.blocks[0].mlp.act
    act.register_forward_hook(lambda module, args, result: result * result.detach())  # keeps one more tensor
    assert counts(model)["held_bytes"] == one + 4 * tokens * 4 * width
