"""The variants of experiments/: each is PDE-SSM-DiT in a limiting case, and costs what it says by hand."""

from __future__ import annotations

import math
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pdebench.models.backbone import Backbone
from pdebench.models.backbone_cost import backbone_cost
from pdebench.models.mixer_context import MixerContext
from pdebench.models.mixers.attention import Attention
from pdebench.models.mixers.pde import PDEMixer
from pdebench.models.options import PDEOptions
from pdebench.models.registry import FAMILIES, Family
from pdebench.plan.cost import count

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
PLACE = MixerContext(16, 2, (4, 6), 0, 4, mlp=True)


@pytest.fixture(scope="module")
def variant() -> Iterator[Family]:
    sys.path.insert(0, str(EXPERIMENTS))
    from pdebench_variants.family import VARIANT

    yield VARIANT
    sys.path.remove(str(EXPERIMENTS))


def backbone(family: Family, **options: object) -> Backbone:
    torch.manual_seed(0)
    chosen = family.options(**options)
    dimensions = family.dimensions("4XS", chosen, depth=4, width=32)
    model = Backbone(family, dimensions, 4, chosen, input_size=(16, 16), in_channels=3, num_classes=None)
    for block in model.blocks:  # opened: what a closed block's mixer gives is multiplied with zero
        torch.nn.init.normal_(block.adaLN_modulation[-1].bias, std=0.5)
    torch.nn.init.normal_(model.final_layer.linear.weight, std=0.1)
    return model


def out_of(model: Backbone) -> Tensor:
    random = torch.Generator().manual_seed(1)
    return model(torch.randn(2, 3, 16, 16, generator=random), torch.tensor([100.0, 700.0]))


def mixer(family: Family, **options: object) -> PDEMixer:
    torch.manual_seed(0)
    return family.mixer_class()(PLACE, family.options(**options))


def tokens() -> Tensor:
    return torch.randn(3, 24, 16, generator=torch.Generator().manual_seed(2))


SAME = [
    {},
    {"states": 2, "gate": True, "selective": True},
    {"diffusion": "isotropic", "convection": False, "boundary": "neumann"},
]


@pytest.mark.parametrize("options", SAME)
def test_at_its_defaults_it_is_pde_ssm_dit(variant: Family, options: dict[str, object]) -> None:
    ours, control = (backbone(family, **options) for family in (variant, FAMILIES["PDE-SSM-DiT"]))
    assert ours.state_dict().keys() == control.state_dict().keys()
    assert torch.equal(out_of(ours), out_of(control))


@pytest.mark.parametrize("options", [{"convolution": True}, {"steps": 3}, {"attention_every": 9}])
def test_what_is_added_begins_closed_and_moves_nothing_else(variant: Family, options: dict[str, object]) -> None:
    assert torch.equal(out_of(backbone(variant, **options)), out_of(backbone(FAMILIES["PDE-SSM-DiT"])))


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"convolution": True}, ("convolution.weight", "convolution.bias")),
        ({"steps": 2}, ("further.0.readout", "further.0.skip")),
        ({"norm": True}, ("norm.weight",)),
    ],
)
def test_what_is_added_learns(variant: Family, options: dict[str, object], names: tuple[str, ...]) -> None:
    built = mixer(variant, **options)
    built(tokens(), torch.zeros(3, 16)).square().sum().backward()
    found = dict(built.named_parameters())
    assert all(found[name].grad.abs().max() > 0 for name in names)


def test_lengths_and_drifts_start_where_they_are_told(variant: Family) -> None:
    before = mixer(FAMILIES["PDE-SSM-DiT"]).operator
    after = mixer(variant, shortest=2.0, longest=1.0, drift=0.5).operator
    lengths = after.log_length.exp()
    assert lengths[0].min().item() == pytest.approx(2 / 6)
    assert lengths[1].max().item() == pytest.approx(1.0)
    steps = after.log_length[0].flatten().diff()
    torch.testing.assert_close(steps, torch.full_like(steps, math.log(3) / (len(steps))))
    speed = after.velocity.norm(dim=0)
    torch.testing.assert_close(speed, 0.5 * lengths[0])
    torch.testing.assert_close(after.velocity / speed, before.velocity / before.velocity.norm(dim=0))
    assert torch.equal(after.readout, before.readout)
    assert not mixer(variant, drift=0.0).operator.velocity.any()


@torch.no_grad()
def test_a_mixer_is_the_formula_of_its_options(variant: Family) -> None:
    built = mixer(variant, steps=2, activation="gelu", norm=True, gate=True, convolution=True)
    for parameter in built.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    x, conv = tokens(), built.convolution
    image = built.in_proj(x).view(3, 4, 6, 16).permute(0, 3, 1, 2)
    u = built.operator(F.conv2d(image, conv.weight, conv.bias, padding=1, groups=16))
    u = u + built.further[0](F.gelu(u))
    flat = u.permute(0, 2, 3, 1).reshape(3, 24, 16)
    normed = built.norm.weight * flat / (flat.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    wanted = built.out_proj(F.gelu(normed) * F.silu(built.gate(x)))
    torch.testing.assert_close(built(x, torch.zeros(3, 16)), wanted)


def test_every_second_layer_may_be_dits_attention(variant: Family) -> None:
    model = backbone(variant, attention_every=2)
    kinds = [type(block.mixer) for block in model.blocks]
    assert [kind is Attention for kind in kinds] == [False, True, False, True]
    dit = backbone(FAMILIES["DiT"])
    mixing, reference = model.blocks[1].mixer, dit.blocks[1].mixer
    assert {k: v.shape for k, v in mixing.state_dict().items()} == {
        k: v.shape for k, v in reference.state_dict().items()
    }
    mixing.load_state_dict(reference.state_dict())
    x = torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(4))
    assert torch.equal(mixing(x, None), reference(x, None))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"convolution": True, "norm": True, "gate": True, "selective": True},
        {"steps": 3, "states": 2, "activation": "gelu"},
        {"attention_every": 2, "padding": "zero", "steps": 2},
    ],
)
def test_its_cost_by_hand_is_what_is_counted(variant: Family, options: dict[str, object]) -> None:
    with torch.device("meta"):
        model = backbone(variant, **options)
    chosen = variant.options(**options)
    dimensions = variant.dimensions("4XS", chosen, depth=4, width=32)
    by_hand = backbone_cost(variant, dimensions, 4, chosen, input_size=(16, 16), in_channels=3, num_classes=None)
    assert sum(parameter.numel() for parameter in model.parameters()) == by_hand.params
    assert count(model).macs == pytest.approx(by_hand.macs, rel=1e-3)


def test_the_package_gives_the_family_by_its_name(variant: Family) -> None:
    project = tomllib.loads((EXPERIMENTS / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pdebench.families"] == {variant.name: "pdebench_variants.family:VARIANT"}
    assert set(PDEOptions.model_fields) < set(variant.options.model_fields)
