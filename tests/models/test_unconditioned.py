"""The shell without conditioning: a ViT around every mixer."""

from __future__ import annotations

import math

import pytest
import torch
from representatives import few
from torch import Tensor
from torch.nn import functional as F

from pdebench.errors import ModelError
from pdebench.models.backbone import Backbone, create_model, left_out
from pdebench.models.backbone_cost import backbone_cost
from pdebench.models.registry import FAMILIES
from pdebench.models.transfer import at_resolution
from pdebench.plan.cost import count, count_by_name, count_one_block

CLASSES = 10
PLAIN = {"input_size": 16, "in_channels": 3, "num_classes": None, "conditioned": False}
VECTOR = {**PLAIN, "head": "vector", "out_channels": CLASSES}

# compiling takes seconds a family: attention, a PDE in Fourier space and a scan always
COMPILED = [
    family if family in ("DiT", "PDE-SSM-DiT", "Mamba-DiT") else pytest.param(family, marks=pytest.mark.exhaustive)
    for family in FAMILIES
]


def opened(model: Backbone) -> Backbone:
    """The model with a head that is no longer of zeros."""
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns_by_images_alone(family: str) -> None:
    torch.manual_seed(0)
    model = create_model(f"{family}-XXS/4", depth=1, **VECTOR)
    x, y = torch.randn(10, 3, 16, 16), torch.arange(10)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    losses = []
    for _ in range(6):
        loss = F.cross_entropy(model(x, None, None), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(CLASSES), abs=1e-4) or family == "ZigMa"  # whose head starts open
    assert losses[-1] < 0.7 * losses[0]
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == ["pos_embed"]


@pytest.mark.parametrize("family", few(FAMILIES))
def test_nothing_in_it_knows_of_times_and_labels(family: str) -> None:
    model = opened(create_model(f"{family}-XXS/4", depth=1, **VECTOR)).eval()
    assert not [name for name in model.state_dict() if "embedder.mlp" in name or "y_embed" in name or "adaLN" in name]
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        given = model(x, torch.tensor([3.0, 700.0]), torch.tensor([1, 4]))
        assert given.shape == (2, CLASSES)
        assert torch.equal(given, model(x, None))
        assert create_model(f"{family}-XXS/4", depth=1, **PLAIN)(x, None).shape == x.shape  # the other head


@pytest.mark.parametrize("family", COMPILED)
def test_it_is_one_graph(family: str) -> None:
    model = opened(create_model(f"{family}-XXS/4", depth=1, stochastic_depth=0.1, **VECTOR))
    x = torch.randn(2, 3, 16, 16)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.manual_seed(0)
    expected = model(x, None)
    torch.manual_seed(0)
    torch.testing.assert_close(compiled(x, None), expected)


def vit(weights: dict[str, Tensor], x: Tensor, *, patch: int, heads: int, depth: int) -> Tensor:
    """A ViT's logits of images, by its formulas (arXiv 2010.11929) and no module of ours; tokens are averaged."""

    def normed(name: str, value: Tensor) -> Tensor:
        centred = value - value.mean(-1, keepdim=True)
        return (
            centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights[f"{name}.weight"]
            + weights[f"{name}.bias"]
        )

    def linear(name: str, value: Tensor) -> Tensor:
        return value @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    tokens = F.conv2d(x, weights["x_embedder.proj.weight"], weights["x_embedder.proj.bias"], stride=patch)
    tokens = tokens.flatten(2).transpose(1, 2) + weights["pos_embed"]
    for block in (f"blocks.{i}" for i in range(depth)):
        q, k, v = (
            part.unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in linear(f"{block}.mixer.qkv", normed(f"{block}.norm1", tokens)).chunk(3, -1)
        )
        scores = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        tokens = tokens + linear(f"{block}.mixer.proj", (scores @ v).transpose(1, 2).flatten(2))
        hidden = linear(f"{block}.mlp.fc1", normed(f"{block}.norm2", tokens))
        hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        tokens = tokens + linear(f"{block}.mlp.fc2", hidden)
    return linear("final_layer.linear", normed("final_layer.norm_final", tokens).mean(1))


def test_attention_in_it_is_a_vit() -> None:
    torch.manual_seed(1)
    model = create_model("DiT-XXS/4", **VECTOR)
    weights = {name: torch.randn_like(value) * 0.05 for name, value in model.state_dict().items()}
    model.load_state_dict(dict(weights))
    x = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        expected = vit(weights, x, patch=4, heads=2, depth=4)
        assert expected.std() > 0.01
        torch.testing.assert_close(model(x, None), expected, rtol=1e-4, atol=1e-5)


# ---- what it costs

# DeiT's parameters (arXiv 2012.12877, as timm has them: 5.7, 22 and 86 M); its GMACs at 224 px as its paper and timm
# print them, 1.3, 4.6 and 17.6, which has attention's two products; and as fvcore counts them, which leaves those out
# of a fused attention and takes 5 an element of a norm.
DEIT = {"Ti": (5_717_416, "1.3", "1.1"), "S": (22_050_664, "4.6", "4.3"), "B": (86_567_656, "17.6", "16.9")}


@pytest.mark.parametrize("size", DEIT)
def test_attention_in_it_costs_what_deit_does_without_its_class_token(size: str) -> None:
    published, whole, without = DEIT[size]
    build = {"input_size": 224, "in_channels": 3, "num_classes": None, "conditioned": False}
    cost, params = count_by_name(f"DiT-{size}/16", head="vector", out_channels=1000, **build)
    depth, d, _ = FAMILIES["DiT"].size(size)
    assert params == published - 2 * d  # the class token, and its position

    def linear(tokens: int) -> int:
        return depth * 12 * d * d * tokens + 196 * 768 * d + 1000 * d

    def attention(tokens: int) -> int:
        return depth * 2 * tokens**2 * d

    kinds = cost.of_kinds()
    assert (kinds["linear"], kinds["attention"]) == (linear(196), attention(196))
    assert cost.macs == linear(196) + attention(196) + (2 * depth + 1) * 196 * d  # 1 MAC an element of a norm
    assert f"{(linear(197) + attention(197)) / 1e9:.1f}" == whole
    assert f"{(linear(197) + 5 * (2 * depth + 1) * 197 * d) / 1e9:.1f}" == without


@pytest.mark.parametrize(
    ("family", "head"),
    [(name, {}) for name in FAMILIES] + few(FAMILIES, with_={"head": "vector", "out_channels": 100}),
)
@pytest.mark.parametrize(("size", "patch"), [("XXS", 2), pytest.param("S", 4, marks=pytest.mark.exhaustive)])
def test_costs_by_hand_are_those_counted(family: str, size: str, patch: int, head: dict[str, object]) -> None:
    entry = FAMILIES[family]
    options = entry.options()
    build = {"num_classes": None, "conditioned": False, **head}
    counted, params = count_by_name(f"{family}-{size}/{patch}", input_size=32, **build)
    by_hand = backbone_cost(entry, entry.dimensions(size, options), patch, options, input_size=32, **build)
    assert params == by_hand.params
    assert counted.macs == pytest.approx(by_hand.macs, rel=1e-4)
    one_block = count_one_block(f"{family}-{size}/{patch}", input_size=32, stochastic_depth=0.1, **build)
    assert one_block == (counted, params)


def test_it_has_neither_adaln_nor_embedders_to_pay_for() -> None:
    with torch.device("meta"):
        bare = create_model("DiT-XXS/4", **PLAIN)
        whole = create_model("DiT-XXS/4", **{**PLAIN, "conditioned": True})
    d, depth = 128, 4
    adaln = depth * (6 * d * d + 6 * d) + 2 * d * d + 2 * d
    norms, embedder = (2 * depth + 1) * 2 * d, 256 * d + d + d * d + d
    params = [sum(p.numel() for p in model.parameters()) for model in (whole, bare)]
    assert params[0] - params[1] == adaln + embedder - norms
    assert count(whole).macs - count(bare).macs == depth * 6 * d * d + 2 * d * d + 256 * d + d * d


# ---- other grids, stochastic depth, wrong use


@pytest.mark.parametrize("family", [name for name, family in FAMILIES.items() if not family.bound_to_grid])
def test_its_weights_move_to_another_grid(family: str) -> None:
    name, build = f"{family}-XXS/4", {**VECTOR, "depth": 1}
    model = opened(create_model(name, **build)).eval()
    same, larger = at_resolution(model, name, build, 16), at_resolution(model, name, build, 32)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(same(x, None), model(x, None))
        assert larger(torch.randn(2, 3, 32, 32), None).isfinite().all()
    kept, moved = model.state_dict(), larger.state_dict()
    assert [key for key in kept if not torch.equal(kept[key], moved[key])] == ["pos_embed"]


def test_stochastic_depth_rises_to_the_last_block_and_sleeps_outside_training() -> None:
    model = opened(create_model("DiT-XXS/4", stochastic_depth=0.3, **VECTOR))
    assert [block.drop for block in model.blocks] == pytest.approx([0, 0.1, 0.2, 0.3])
    x = torch.randn(8, 3, 16, 16)
    with torch.no_grad():
        assert not torch.equal(model(x, None), model(x, None))
        model.eval()
        assert torch.equal(model(x, None), model(x, None))
    plain = create_model("DiT-XXS/4", **VECTOR).eval()
    plain.load_state_dict(model.state_dict())
    assert torch.equal(plain(x, None), model(x, None))


def test_a_branch_is_left_out_for_whole_images_and_keeps_its_mean() -> None:
    from torchvision.ops import stochastic_depth

    branch = torch.randn(4000, 3, 2)
    torch.manual_seed(3)
    ours = left_out(branch, 0.25)
    torch.manual_seed(3)
    assert torch.equal(ours, stochastic_depth(branch, 0.25, "row"))
    gone = (ours == 0).all((1, 2))
    assert gone.float().mean() == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(ours[~gone], branch[~gone] / 0.75)


def test_what_needs_conditioning_is_refused() -> None:
    with pytest.raises(ModelError, match="PDE-SSM-DiT-XXS/4: option 'selective' acts by the time and the class"):
        create_model("PDE-SSM-DiT-XXS/4", selective=True, **VECTOR)
    create_model("PDE-SSM-DiT-XXS/4", selective=False, gate=True, **VECTOR)
