"""How often a PDE's symbol is formed while samples are drawn: once a layer, where it is of the weights alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pdebench.models.backbone import create_model
from pdebench.models.mixers import pde
from pdebench.ops.precision import cast_once
from pdebench.tasks.generation.solver import sample

LAYERS, STEPS = 2, 5


@pytest.mark.parametrize(
    ("options", "how", "wanted"),
    [
        ({}, {"sampler": "euler", "nfe": STEPS}, LAYERS),
        ({}, {"sampler": "heun", "nfe": 2 * STEPS, "guidance": 4.0}, LAYERS),
        ({"padding": "zero", "states": 2}, {"sampler": "euler", "nfe": STEPS}, LAYERS),
        # a time of its own for each sample and step: another symbol each
        ({"selective": True}, {"sampler": "euler", "nfe": STEPS}, LAYERS * STEPS),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_five_steps_form_it_once_a_layer(
    options: dict[str, Any], how: dict[str, Any], wanted: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    formed = []

    def counted(*given: Any) -> torch.Tensor:
        formed.append(given)
        return symbol(*given)

    symbol = pde.pde_symbol
    monkeypatch.setattr(pde, "pde_symbol", counted)
    model = create_model(
        "PDE-SSM-DiT-XXS/4", input_size=16, in_channels=3, num_classes=2, depth=LAYERS, **options
    ).eval()
    model.requires_grad_(False)  # as averaged weights are
    with cast_once(model, precision, torch.device("cpu")):
        sample(model, torch.randn(2, 3, 16, 16), torch.tensor([0, 1]), **how)
    assert len(formed) == wanted
