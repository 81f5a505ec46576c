"""The shell as a suite changes it for every family: presets and single keys, by formulas and by published counts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pdebench.errors import ModelError
from pdebench.models.backbone import Backbone, create_model
from pdebench.models.backbone_cost import backbone_cost
from pdebench.models.mixers.base import MixerContext
from pdebench.models.mixers.linear_attention import LinearAttention
from pdebench.models.options import NoOptions
from pdebench.models.registry import FAMILIES
from pdebench.models.shell import DIT
from pdebench.models.shell_options import PRESETS, ShellOptions
from pdebench.models.transfer import at_resolution
from pdebench.ops.rotary import Rotary
from pdebench.plan.cost import count_by_name, count_one_block
from pdebench.plan.trace import trace_step

LIGHTNING, UVIT, SINGLE = {"preset": "lightning"}, {"preset": "uvit"}, {"adaln": "single"}
ALL = {"preset": "lightning", "qk_norm": True, "skips": True, "adaln": "single"}
SMALL = {"input_size": 16, "in_channels": 3, "num_classes": 10}
PLAIN: dict[str, Any] = {**SMALL, "num_classes": None, "conditioned": False}
T, Y = torch.tensor([0.2, 0.8]), torch.tensor([3, -1])

shells = pytest.mark.parametrize("shell", [LIGHTNING, UVIT, SINGLE, ALL], ids=["lightning", "uvit", "single", "all"])


def opened(model: Backbone, std: float = 0.05) -> Backbone:
    """The model with every weight moved, so that nothing is closed or the identity."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name != "pos_embed":
                parameter.add_(torch.randn_like(parameter) * std)
    return model.eval()


def given(shell: dict[str, Any], family: str) -> dict[str, Any]:
    """The same without the single keys that a family cannot have."""
    return {key: value for key, value in shell.items() if key != "qk_norm" or FAMILIES[family].queries_and_keys}


# ---- what it computes


def lightning(weights: dict[str, Tensor], x: Tensor, c: Tensor, *, patch: int, heads: int, depth: int) -> Tensor:
    """LightningDiT with norms of queries and keys, by its formulas (arXiv 2501.01423) and no module of ours."""

    def rms(name: str, value: Tensor) -> Tensor:
        return value / (value.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weights[f"{name}.weight"]

    def linear(name: str, value: Tensor) -> Tensor:
        return value @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def modulated(name: str, value: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return rms(name, value) * (1 + scale[:, None]) + shift[:, None]

    tokens = F.conv2d(x, weights["x_embedder.proj.weight"], weights["x_embedder.proj.bias"], stride=patch)
    h, w = tokens.shape[-2:]
    tokens = tokens.flatten(2).transpose(1, 2) + weights["pos_embed"]
    head = tokens.shape[-1] // heads
    omega = 10_000.0 ** (-torch.arange(0, head // 2, 2) / (head // 2))
    rows, columns = (place.reshape(-1, 1) for place in torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"))
    angles = torch.cat([rows * omega, columns * omega], 1)
    turns = torch.polar(torch.ones_like(angles), angles)

    def turned(part: Tensor) -> Tensor:
        return torch.view_as_real(torch.view_as_complex(part.unflatten(-1, (-1, 2)).contiguous()) * turns).flatten(-2)

    for block in (f"blocks.{i}" for i in range(depth)):
        parts = linear(f"{block}.adaLN_modulation.1", F.silu(c)).chunk(6, 1)
        qkv = linear(f"{block}.mixer.qkv", modulated(f"{block}.norm1", tokens, *parts[:2])).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv)
        q, k = turned(rms(f"{block}.mixer.q_norm", q)), turned(rms(f"{block}.mixer.k_norm", k))
        scores = (q @ k.transpose(-1, -2) / math.sqrt(head)).softmax(-1)
        mixed = linear(f"{block}.mixer.proj", (scores @ v).transpose(1, 2).flatten(2))
        tokens = tokens + parts[2][:, None] * mixed
        gate, up = linear(f"{block}.mlp.gate_and_up", modulated(f"{block}.norm2", tokens, *parts[3:5])).chunk(2, -1)
        tokens = tokens + parts[5][:, None] * linear(f"{block}.mlp.down", F.silu(gate) * up)
    shift, scale = linear("final_layer.adaLN_modulation.1", F.silu(c)).chunk(2, 1)
    return linear("final_layer.linear", modulated("final_layer.norm_final", tokens, shift, scale))


def test_lightning_is_lightningdit() -> None:
    """The published code itself gives the same to 2e-7, with and without its norm of queries and keys."""
    model = opened(create_model("DiT-XXS/4", head="tokens", shell={**LIGHTNING, "qk_norm": True}, **SMALL))
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        c = model._conditioning(x, T, Y)
        assert c is not None
        expected = lightning(dict(model.state_dict()), x, c, patch=4, heads=2, depth=4)
        assert expected.std() > 0.1
        torch.testing.assert_close(model(x, T, Y).flatten(2).transpose(1, 2), expected, rtol=1e-4, atol=1e-5)


def test_linear_attention_turned_by_places_is_the_formula() -> None:
    """RoFormer's equation 19: the upper sum of turned queries and keys, the lower of those that are not."""
    heads, grid = 2, (3, 4)
    mixer = LinearAttention(MixerContext(32, heads, grid, 0, 1, rope=True, qk_norm=True), NoOptions())
    torch.nn.init.normal_(mixer.q_norm.weight)
    x = torch.randn(2, 12, 32)
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in mixer.qkv(x).chunk(3, -1))
    q, k = F.relu(mixer.q_norm(q)), F.relu(mixer.k_norm(k))
    rotary = Rotary(grid, 16)
    weights = (rotary(q) @ rotary(k).transpose(-1, -2)) / (q @ k.transpose(-1, -2)).sum(-1, keepdim=True)
    expected = mixer.proj((weights @ v).transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixer(x, None), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["DiT", "ZigMa"])
def test_one_adaln_for_all_is_a_full_one_with_tied_weights(family: str) -> None:
    single = opened(create_model(f"{family}-XXS/4", depth=3, shell=SINGLE, **SMALL))
    full = create_model(f"{family}-XXS/4", depth=3, **SMALL).eval()
    state = dict(single.state_dict())
    weight, bias = state.pop("adaLN_single.1.weight"), state.pop("adaLN_single.1.bias")
    for i in range(3):
        state[f"blocks.{i}.adaLN_modulation.1.weight"] = weight
        state[f"blocks.{i}.adaLN_modulation.1.bias"] = bias + state.pop(f"blocks.{i}.adaLN_table").flatten()
    full.load_state_dict(state)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        made = single(x, T, Y)
        assert made.std() > 0.01
        torch.testing.assert_close(made, full(x, T, Y), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [4, 5])
def test_skips_that_leave_the_partner_out_are_the_plain_shell(depth: int) -> None:
    skipping = opened(create_model("DiT-XXS/4", depth=depth, shell=UVIT, **SMALL))
    joined = {name: p for name, p in skipping.named_parameters() if "skip_linear" in name}
    plain = create_model("DiT-XXS/4", depth=depth, **SMALL).eval()
    plain.load_state_dict({key: value for key, value in skipping.state_dict().items() if key not in joined})
    x, pairs = torch.randn(2, 3, 16, 16), (depth - 1) // 2
    assert len(joined) == 2 * pairs
    with torch.no_grad():
        assert not torch.allclose(skipping(x, T, Y), plain(x, T, Y), atol=1e-3)
        for name, parameter in joined.items():
            parameter.copy_(torch.eye(*parameter.shape) if name.endswith("weight") else torch.zeros_like(parameter))
        torch.testing.assert_close(skipping(x, T, Y), plain(x, T, Y), rtol=1e-5, atol=1e-6)
    fresh = create_model("DiT-XXS/4", depth=depth, shell=UVIT, **SMALL)
    assert all(torch.equal(p, joined[name]) for name, p in fresh.named_parameters() if name in joined)


def test_the_first_block_is_the_last_ones_partner() -> None:
    model = opened(create_model("DiT-XXS/4", depth=5, shell=UVIT, **SMALL))
    left: list[Tensor] = []
    partners: dict[int, Tensor] = {}
    for layer, block in enumerate(model.blocks):
        block.register_forward_hook(lambda module, inputs, made: left.append(made))
        block.register_forward_pre_hook(lambda module, inputs, layer=layer: partners.update({layer: inputs[3]}))
    with torch.no_grad():
        model(torch.randn(2, 3, 16, 16), T, Y)
    assert [layer for layer, tokens in partners.items() if tokens is not None] == [3, 4]
    assert torch.equal(partners[4], left[0])
    assert torch.equal(partners[3], left[1])


# ---- what it costs


def test_lightnings_parameters_are_those_of_the_published_models() -> None:
    """675 M in the paper; to the number what the published code builds of its XL/1 and B/1."""
    build = {"input_size": 16, "in_channels": 32, "shell": LIGHTNING}
    assert count_one_block("DiT-XL/1", **build)[1] == 675_256_736
    assert count_one_block("DiT-B/1", **build)[1] == 130_556_192
    for width in (128, 192, 384, 768, 1024, 1152):
        entry = FAMILIES["DiT"].in_shell(ShellOptions(mlp="swiglu"))
        found = entry.dimensions("S", entry.options(), width=width, heads=1)
        assert found.mlp_hidden == int(2 / 3 * int(width * 4.0))


UVITS = {
    "S": (13, 512, 8, 0, 44),
    "M": (17, 768, 12, 1000, 131),
    "L": (21, 1024, 16, 1000, 287),
    "H": (29, 1152, 16, 1000, 501),
}
"""Depth, width, heads, classes and millions of parameters (arXiv 2209.12152, table 1; S is of CIFAR-10, unlabelled)."""


@pytest.mark.parametrize("size", UVITS)
def test_uvits_parameters_are_the_published_ones(size: str) -> None:
    """Around blocks that nothing conditions; U-ViT has time and class as tokens, and no biases of queries and so on."""
    depth, d, heads, classes, published = UVITS[size]
    sizes = {"depth": depth, "width": d, "heads": heads}
    build = {"input_size": 32, "num_classes": None, "conditioned": False}
    _, ours = count_by_name("DiT-S/2", shell=UVIT, **sizes, **build)
    _, plain = count_by_name("DiT-S/2", **sizes, **build)
    assert ours - plain == depth // 2 * (2 * d * d + d)
    tokens, labels, last = (1 + bool(classes)) * d, (classes + bool(classes)) * d, 4 * 4 * 9 + 4
    assert round((ours - depth * 3 * d + tokens + labels + last) / 1e6) == published


def test_one_adaln_saves_what_pixart_says() -> None:
    _, full = count_by_name("DiT-XL/2", learn_sigma=True)
    _, single = count_by_name("DiT-XL/2", learn_sigma=True, shell=SINGLE)
    d = 1152
    assert full - single == 27 * (6 * d * d + 6 * d) - 28 * 6 * d
    assert 0.26 < (full - single) / full < 0.34  # 26% of a model that has cross attention too (arXiv 2310.00426)


few = ("DiT", "PDE-SSM-DiT", "ZigMa", "Mamba-DiT", "Linear-DiT")
families = pytest.mark.parametrize(
    "family", [name if name in few else pytest.param(name, marks=pytest.mark.exhaustive) for name in FAMILIES]
)


@families
@shells
@pytest.mark.parametrize("build", [{}, {"conditioned": False, "num_classes": None}], ids=["conditioned", "plain"])
def test_costs_by_hand_are_those_counted(family: str, shell: dict[str, Any], build: dict[str, Any]) -> None:
    asked = {key: value for key, value in given(shell, family).items() if key != "adaln" or not build}
    name, entry = f"{family}-XXS/4", FAMILIES[family].in_shell(ShellOptions(**asked))
    options = entry.options()
    counted, params = count_by_name(name, shell=asked, **build)
    by_hand = backbone_cost(entry, entry.dimensions("XXS", options), 4, options, input_size=32, **build)
    assert params == by_hand.params
    assert counted.macs == pytest.approx(by_hand.macs, rel=1e-4)
    assert count_one_block(name, shell=asked, **build) == (counted, params)


@shells
def test_costs_of_clips_by_hand_are_those_counted(shell: dict[str, Any]) -> None:
    entry, build = FAMILIES["DiT"].in_shell(ShellOptions(**shell)), {"input_size": (4, 16, 16), "in_channels": 3}
    for attention in ("full", "factorised"):
        options = entry.options(attention=attention)
        counted, params = count_by_name("DiT-XXS/4", shell=shell, attention=attention, **build)
        by_hand = backbone_cost(entry, entry.dimensions("XXS", options), 4, options, **build)
        assert params == by_hand.params
        assert counted.macs == pytest.approx(by_hand.macs, rel=1e-4)


@shells
def test_a_traced_step_does_what_is_counted(shell: dict[str, Any]) -> None:
    counted, _ = count_one_block("DiT-XXS/4", input_size=32, shell=shell)
    steps = [trace_step("DiT-XXS/4", batch_size=batch, input_size=32, shell=tuple(shell.items())) for batch in (2, 4)]
    for kind in ("linear", "attention"):
        once, twice = (sum(o.flops * n for o, n in step.forward.items() if o.kind == kind) for step in steps)
        assert twice - once == pytest.approx(2 * 2 * counted.of_kinds()[kind], rel=1e-6)


# ---- every family, clips, compilation, precision, other grids


@pytest.mark.parametrize(
    "family",
    [name if name == "DiT" else pytest.param(name, marks=pytest.mark.exhaustive) for name in FAMILIES],
)
@shells
def test_every_family_learns_in_every_shell(family: str, shell: dict[str, Any]) -> None:
    model = create_model(f"{family}-XXS/4", depth=3, shell=given(shell, family), **SMALL)
    x, aim = torch.randn(6, 3, 16, 16), torch.randn(6, 3, 16, 16)
    t, y = torch.linspace(0, 1, 6), torch.arange(6)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    losses = []
    for _ in range(6):
        loss = (model(x, t, y) - aim).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.98 * losses[0]
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == ["pos_embed"]


@pytest.mark.parametrize("attention", ["full", "factorised"])
def test_of_clips_places_are_told_along_time_too(attention: str) -> None:
    build = {"input_size": (4, 8, 8), "in_channels": 3, "num_classes": None, "attention": attention}
    model = opened(create_model("DiT-XXS/4", depth=2, shell={"rope": True}, **build), 0.3)
    with torch.no_grad():
        model.pos_embed.zero_()
        x = torch.randn(1, 3, 4, 8, 8)
        made = model(x, T[:1])
        # without any positions the model would put out the same clip in another order
        for axis in (2, 3):
            order = [1, 0, *range(2, 4)] if axis == 2 else [*range(4, 8), *range(4)]
            moved = model(x.index_select(axis, torch.tensor(order)), T[:1])
            assert not torch.allclose(moved, made.index_select(axis, torch.tensor(order)), atol=1e-3)


@pytest.mark.parametrize("family", ["DiT", pytest.param("Linear-DiT", marks=pytest.mark.exhaustive)])
def test_it_is_one_graph(family: str) -> None:
    model = opened(create_model(f"{family}-XXS/4", depth=3, shell=ALL, **SMALL))
    x = torch.randn(2, 3, 16, 16)
    torch._dynamo.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, T, Y), model(x, T, Y))


@pytest.mark.parametrize("family", ["DiT", "Linear-DiT", "PDE-SSM-DiT"])
def test_bf16_stays_close_to_fp32(family: str) -> None:
    model = opened(create_model(f"{family}-XXS/4", shell=given(ALL, family), **SMALL))
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        exact = model(x, T, Y)
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(x, T, Y)
    assert (rough - exact).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize("family", ["DiT", "Linear-DiT", "PDE-SSM-DiT"])
def test_weights_move_to_another_grid_and_the_same_places_keep_their_turns(family: str) -> None:
    name, build = f"{family}-XXS/4", {**SMALL, "depth": 3, "shell": given(ALL, family)}
    model = opened(create_model(name, **build))
    same, larger = at_resolution(model, name, build, 16), at_resolution(model, name, build, 32)
    x = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(same(x, T, Y), model(x, T, Y))
        assert larger(torch.randn(2, 3, 32, 32), T, Y).isfinite().all()
    if family == "DiT":
        trained, moved = model.blocks[0].mixer.rotary, larger.blocks[0].mixer.rotary
        assert torch.equal(moved.cos.view(8, 8, -1)[::2, ::2], trained.cos.view(4, 4, -1))


@pytest.mark.parametrize("attention", ["full", "factorised"])
def test_of_clips_too(attention: str) -> None:
    build = {"input_size": (4, 8, 8), "in_channels": 3, "num_classes": None, "shell": ALL, "attention": attention}
    model = opened(create_model("DiT-XXS/4", **build))
    moved = at_resolution(model, "DiT-XXS/4", build, (4, 16, 16))
    assert moved(torch.randn(2, 3, 4, 16, 16), T).isfinite().all()
    assert torch.equal(at_resolution(model, "DiT-XXS/4", build, (4, 8, 8)).blocks[1].mixer.rotary.sin,
                       model.blocks[1].mixer.rotary.sin)  # fmt: skip


def test_where_nothing_is_conditioned_all_but_adaln_is_there() -> None:
    shell = {key: value for key, value in ALL.items() if key != "adaln"}
    model = opened(create_model("DiT-XXS/4", head="vector", out_channels=10, shell=shell, **PLAIN))
    assert model(torch.randn(2, 3, 16, 16), None).shape == (2, 10)
    names = {name.split(".", 2)[-1] for name, _ in model.blocks.named_parameters(prefix="blocks")}
    assert names == {
        *(f"mixer.{part}" for part in ("qkv.weight", "qkv.bias", "proj.weight", "proj.bias")),
        *(f"mlp.{part}" for part in ("gate_and_up.weight", "gate_and_up.bias", "down.weight", "down.bias")),
        "mixer.q_norm.weight", "mixer.k_norm.weight", "norm1.weight", "norm2.weight",
        "skip_linear.weight", "skip_linear.bias",
    }  # fmt: skip


# ---- what a family can have


def test_a_preset_gives_a_family_what_it_can_have() -> None:
    had = {name: ShellOptions(preset="lightning").applied(family) for name, family in FAMILIES.items()}
    assert had["DiT"] == replace(DIT, norm="rms", rms_epsilon=1e-6, mlp="gated", rope=True)
    assert had["PDE-SSM-DiT"] == replace(had["DiT"], rope=False)
    assert had["Mamba-DiT"] == replace(had["PDE-SSM-DiT"], mlp="narrowed gated")
    assert had["DiG"] == replace(FAMILIES["DiG"].shell, norm="rms", rms_epsilon=1e-6)
    assert had["Linear-DiT"] == replace(FAMILIES["Linear-DiT"].shell, norm="rms", rms_epsilon=1e-6, rope=True)
    assert had["ZigMa"] == FAMILIES["ZigMa"].shell
    assert all(ShellOptions(preset="dit").applied(family) == family.shell for family in FAMILIES.values())


@pytest.mark.parametrize("family", ["Mamba-DiT", "Mamba2-DiT"])
def test_a_narrowed_mlp_stays_one_that_makes_the_block_dits(family: str) -> None:
    def block(name: str, shell: ShellOptions) -> int:
        entry = FAMILIES[name].in_shell(shell)
        sizes = (entry.dimensions("S", entry.options(), depth=depth) for depth in (1, 2))
        one, two = (backbone_cost(entry, size, 2, entry.options(), input_size=32).params for size in sizes)
        return two - one

    assert block(family, ShellOptions(mlp="swiglu")) == pytest.approx(block("DiT", ShellOptions()), rel=0.01)


@pytest.mark.parametrize(
    ("family", "shell", "said"),
    [
        ("PDE-SSM-DiT", {"rope": True}, "rope is of queries and keys, and the mixer of PDE-SSM-DiT has none"),
        ("DiG", {"qk_norm": True}, "qk_norm is of queries and keys"),
        ("DiG", {"mlp": "gelu"}, "mlp gelu is not the MLP of DiG, whose paper has an MLP of its own"),
        ("DiS", {"mlp": "swiglu"}, "mlp swiglu is not the MLP of DiS, whose paper has no MLP"),
        ("ZigMa", {"norm": "layer"}, "norm layer is not the norm of ZigMa, whose paper has rms in this place"),
        ("DiT", {"norm": "group"}, "no shell is .*it takes preset, norm, mlp, rope, qk_norm, skips, adaln"),
        ("DiT", {"registers": 4}, "no shell is"),
    ],
)
def test_a_single_key_that_a_family_cannot_have_is_refused(family: str, shell: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        create_model(f"{family}-XXS/4", shell=shell, **SMALL)


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ModelError, match="adaln single is of times and classes"):
        create_model("DiT-XXS/4", shell=SINGLE, **PLAIN)
    with pytest.raises(ModelError, match="rope turns pairs of channels, 2 or more in a head, and a head has 2"):
        create_model("DiT-XXS/4", shell=LIGHTNING, width=64, heads=32, **SMALL)
    create_model("DiG-XXS/4", shell={"mlp": "swiglu"}, **SMALL)  # its own


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_resolved_says_itself(family: str) -> None:
    entry = FAMILIES[family]
    for preset in PRESETS:
        resolved = ShellOptions(preset=preset).resolved_for(entry)
        assert None not in resolved.model_dump().values()
        assert resolved.resolved_for(entry) == resolved
        assert ShellOptions(**resolved.changes(entry)).resolved_for(entry) == resolved
        assert ShellOptions(**resolved.asked_of(entry)).resolved_for(entry) == resolved
