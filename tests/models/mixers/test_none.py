"""The floor: one linear layer a token."""

from __future__ import annotations

import torch

from pdebench.models.backbone import create_model
from pdebench.models.mixers.base import MixerContext
from pdebench.models.mixers.none import PerToken
from pdebench.models.options import NoOptions


def test_it_is_one_linear_layer_a_token() -> None:
    mixer = PerToken(MixerContext(8, 1, (3, 4), 0, 1), NoOptions())
    x = torch.randn(2, 12, 8)
    expected = torch.stack([token @ mixer.proj.weight.T + mixer.proj.bias for token in x.unbind(1)], 1)
    torch.testing.assert_close(mixer(x, torch.randn(2, 8)), expected)
    assert sum(parameter.numel() for parameter in mixer.parameters()) == 8**2 + 8


def test_no_token_of_the_whole_backbone_sees_another() -> None:
    """A patch of the output depends on the same patch of the input and on no other."""
    model = create_model("None-DiT-XXS/4", input_size=16, in_channels=3, num_classes=10)
    with torch.no_grad():
        for zeroed in model.parameters():
            if not zeroed.any():
                zeroed.normal_(std=0.05)
    x = torch.randn(2, 3, 16, 16)
    t, y = torch.rand(2), torch.tensor([3, 7])
    changed = x.clone()
    changed[:, :, 4:8, 8:12] += 1
    with torch.no_grad():
        difference = (model(changed, t, y) - model(x, t, y)).abs()
    assert difference[:, :, 4:8, 8:12].max() > 1e-3
    difference[:, :, 4:8, 8:12] = 0
    assert difference.max() < 1e-6
