"""Backbones of clips, (B, C, T, H, W), and of sequences: what they compute, refuse and cost."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from pdebench.errors import ModelError
from pdebench.models.backbone import Backbone, create_model
from pdebench.models.backbone_cost import backbone_cost
from pdebench.models.embedding import sincos_position_embedding
from pdebench.models.mixer_context import MixerContext
from pdebench.models.mixers.attention import Attention
from pdebench.models.mixers.zigma import ZigzagMamba
from pdebench.models.options import AttentionOptions, NoOptions
from pdebench.models.registry import FAMILIES
from pdebench.models.transfer import at_resolution
from pdebench.ops.scans import permutations
from pdebench.plan.cost import count_by_name, count_one_block
from pdebench.plan.trace import trace_step
from pdebench.suite.build import resolved

CLIP = (4, 8, 12)
OF_CLIPS = ("PDE-SSM-DiT", "DiT", "Mamba-DiT", "DiS", "ZigMa", "S4D-DiT", "GFNet-DiT", "AFNO-DiT", "None-DiT")
FACTORISED = {"attention": "factorised"}
MODELS = [*((family, {}) for family in OF_CLIPS), ("DiT", FACTORISED)]


def small(family: str, size: tuple[int, ...] = CLIP, **more: Any) -> Backbone:
    """A model with gates open, so that its mixers show."""
    torch.manual_seed(0)
    build = {"depth": 2, "width": 32, "in_channels": 2, "num_classes": 3, "patch_frames": 2 if len(size) == 3 else 1}
    built = create_model(f"{family}-XXS/4", input_size=size, **build | more)
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return built


@pytest.mark.parametrize(("family", "options"), MODELS)
def test_a_clip_comes_out_as_it_went_in_and_every_weight_learns(family: str, options: dict[str, Any]) -> None:
    model = small(family, **options)
    x = torch.randn(2, 2, *CLIP)
    y = model(x, torch.rand(2), torch.tensor([0, -1]))
    assert (model.grid, model.sides, y.shape) == ((2, 2, 3), CLIP, x.shape)
    y.square().mean().backward()
    idle = {"qkv.bias", "filter"}  # the keys' bias does nothing, nor do some frequencies of a filter
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not name.endswith(tuple(idle)):
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("family", ["Mamba2-DiT", "DiG"])
def test_a_family_without_a_form_for_clips_refuses_them(family: str) -> None:
    with pytest.raises(ModelError, match=f"^{family} takes images only: its mixer has no form for clips$"):
        create_model(f"{family}-XXS/4", input_size=CLIP)


def test_what_does_not_fit_a_clip_is_refused_in_a_sentence() -> None:
    for size, more, said in [
        (CLIP, {"patch_frames": 3}, "4 frames are not divisible by patch_frames 3"),
        ((4, 8, 10), {}, "resolution 10 is not divisible by patch 4"),
        (8, {"patch_frames": 2}, "patch_frames 2 is for clips; images have no frames"),
        (8, FACTORISED, "attention: factorised is for clips, which have space and time"),
    ]:
        with pytest.raises(ModelError, match=said):
            create_model("DiT-XXS/4", input_size=size, **more)


def test_tubelets_are_a_strided_convolution_of_the_clip() -> None:
    model, x = small("None-DiT"), torch.randn(2, 2, *CLIP)
    proj = model.x_embedder.proj
    assert proj.weight.shape == (32, 2, 2, 4, 4)
    by_convolution = F.conv3d(x, proj.weight, proj.bias, stride=(2, 4, 4)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(model.x_embedder(x), by_convolution)


def test_each_token_puts_its_tubelet_where_it_came_from() -> None:
    model = small("None-DiT")
    numbered = torch.arange(math.prod(CLIP)).view(1, 1, *CLIP).float().expand(1, 2, *CLIP)
    split = numbered.reshape(1, 2, 2, 2, 2, 4, 3, 4).permute(0, 2, 4, 6, 3, 5, 7, 1).reshape(1, 12, -1)
    assert torch.equal(model._unpatchify(split), numbered)


def test_a_clips_positions_are_its_frames_plus_its_places() -> None:
    t, h, w, width = 3, 2, 4, 16
    found = sincos_position_embedding((t, h, w), width).view(t, h * w, width)
    plane = sincos_position_embedding((h, w), width)[0]
    omega = 10_000.0 ** (-torch.arange(width // 2) / (width / 2))
    for frame in range(t):
        line = torch.cat([(frame * omega).sin(), (frame * omega).cos()])
        torch.testing.assert_close(found[frame], plane + line, atol=1e-5, rtol=1e-5)
    assert len(found.view(-1, width).unique(dim=0)) == t * h * w


def test_a_mixer_sees_other_frames_and_none_dit_does_not() -> None:
    for family, options in MODELS:
        model, x = small(family, **options).eval(), torch.randn(1, 2, *CLIP, requires_grad=True)
        (grad,) = torch.autograd.grad(model(x, torch.rand(1))[:, :, 2:].sum(), x)
        assert bool(grad[:, :, :2].any()) == (family != "None-DiT"), family


@pytest.mark.parametrize("layer", [0, 1])
def test_factorised_attention_is_attention_within_frames_or_through_time(layer: int) -> None:
    torch.manual_seed(0)
    grid, width = (3, 2, 4), 16
    mixer = Attention(MixerContext(width, 2, grid, layer, 2), AttentionOptions(attention="factorised"))
    plain = Attention(MixerContext(width, 2, grid, layer, 2), AttentionOptions())
    plain.load_state_dict(mixer.state_dict())
    x = torch.randn(2, *grid, width)
    found = mixer(x.flatten(1, 3), None).view(x.shape)
    if layer == 0:
        wanted = torch.stack([plain(frame.flatten(1, 2), None).view(2, 2, 4, width) for frame in x.unbind(1)], 1)
    else:
        places = [[plain(x[:, :, row, column], None) for column in range(4)] for row in range(2)]
        wanted = torch.stack([torch.stack(line, 2) for line in places], 2)
    torch.testing.assert_close(found, wanted)


def test_zigma_scans_frames_and_time_by_turns() -> None:
    """The paper's factorised 3-D zigzag: which tokens a token's output answers to."""
    grid, width = (3, 2, 4), 16
    for layer in range(6):
        mixer = ZigzagMamba(MixerContext(width, 1, grid, layer, 6), NoOptions())
        mixer.initialise()
        x = torch.randn(1, 24, width, requires_grad=True)
        (grad,) = torch.autograd.grad(mixer(x, None)[0, 13].square().sum(), x)  # frame 1, place 5 of 8
        seen = set(grad[0].abs().sum(-1).nonzero().flatten().tolist())
        if layer % 2:
            order = [0, 1, 2] if layer % 4 == 1 else [2, 1, 0]
            assert seen == {8 * frame + 5 for frame in order[: order.index(1) + 1]}
        else:
            path = permutations("zigzag-8", 2, 4)[layer // 2].tolist()
            assert seen == {8 + place for place in path[: path.index(5) + 1]}


def test_raster_and_its_reverse_take_frame_after_frame() -> None:
    forwards, backwards = permutations("bidirectional", 2, 2, 3)
    assert forwards.tolist() == list(range(12))
    assert backwards.tolist() == list(range(11, -1, -1))


@pytest.mark.parametrize("family", ["PDE-SSM-DiT", "GFNet-DiT", "AFNO-DiT", "None-DiT"])
def test_clips_moved_over_a_torus_by_whole_tubelets_come_out_moved(family: str) -> None:
    """Positions taken away; AFNO is no convolution, see its module."""
    model, x = small(family).eval(), torch.randn(1, 2, *CLIP)
    with torch.no_grad():
        model.pos_embed.zero_()
        moved = model(x.roll((2, 4, 8), (2, 3, 4)), torch.tensor([0.3]))
        apart = (moved - model(x, torch.tensor([0.3])).roll((2, 4, 8), (2, 3, 4))).abs().max()
    assert (apart < 1e-5) == (family != "AFNO-DiT")


def test_a_model_moves_to_longer_and_larger_clips_but_not_to_images() -> None:
    model, build = small("PDE-SSM-DiT"), {"depth": 2, "width": 32, "in_channels": 2, "num_classes": 3}
    build |= {"input_size": CLIP, "patch_frames": 2}
    moved = at_resolution(model, "PDE-SSM-DiT-XXS/4", build, (8, 16, 24))
    assert moved.grid == (4, 4, 6)
    at = moved.pos_embed.view(4, 4, 6, 32)[::2, ::2, ::2]
    torch.testing.assert_close(at, model.pos_embed.view(2, 2, 3, 32))
    with pytest.raises(ModelError, match="was trained on clips"):
        at_resolution(model, "PDE-SSM-DiT-XXS/4", build, 16)


@pytest.mark.parametrize(("family", "options"), [*MODELS, ("PDE-SSM-DiT", {"diffusion": "diagonal", "states": 2})])
def test_costs_by_hand_counted_whole_and_counted_by_turns_agree(family: str, options: dict[str, Any]) -> None:
    name, depth = f"{family}-XXS/4", 3
    build = {"input_size": (8, 16, 24), "in_channels": 3, "num_classes": 5, "patch_frames": 2, "depth": depth}
    (whole, params), (by_turns, again) = (
        count_by_name(name, **build, **options),
        count_one_block(name, **build, **options),
    )
    model = resolved(name, {**build, **options})
    hand = backbone_cost(
        model.family, model.dimensions, model.patch, model.options, input_size=(8, 16, 24), in_channels=3,
        num_classes=5, patch_frames=2,
    )  # fmt: skip
    assert (by_turns.macs, again) == (whole.macs, params)
    assert hand.params == params
    assert hand.macs == pytest.approx(whole.macs, rel=1e-3)


def test_factorised_attention_costs_what_its_shorter_sequences_do() -> None:
    build = {"input_size": (16, 32, 32), "in_channels": 3, "num_classes": None, "depth": 2, "width": 128}
    full, factorised = (
        count_by_name("DiT-XXS/4", attention=form, **build)[0].of_kinds()["attention"]
        for form in ("full", "factorised")
    )
    tokens, frame, time = 16 * 64, 64, 16
    assert full == 2 * 2 * tokens**2 * 128
    assert factorised == 2 * tokens * (frame + time) * 128


@pytest.mark.parametrize("depth", [4, 5])
def test_a_traced_step_of_blocks_that_take_turns_is_the_whole_models(
    depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = {"batch_size": 2, "input_size": CLIP, "num_classes": None, "depth": depth, **FACTORISED}
    short = trace_step("DiT-XXS/4", **build)
    monkeypatch.setattr("pdebench.plan.trace.BUILT", 9)
    assert short == trace_step("DiT-XXS/4", **build)


@pytest.mark.parametrize("family", OF_CLIPS)
def test_bf16_is_near_float32(family: str) -> None:
    model, x = small(family).eval(), torch.randn(2, 2, *CLIP)
    with torch.no_grad():
        exact = model(x, torch.rand(2) * 0)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = model(x, torch.rand(2) * 0).float()
    assert (rounded - exact).square().sum() < 1e-3 * exact.square().sum()


@pytest.mark.parametrize(("family", "options"), [("PDE-SSM-DiT", {}), ("DiT", FACTORISED), ("AFNO-DiT", {})])
def test_compiles_without_a_graph_break(family: str, options: dict[str, Any]) -> None:
    model, x = small(family, **options), torch.randn(2, 2, *CLIP)
    torch.compiler.reset()
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, torch.ones(2)), model(x, torch.ones(2)), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("family", ["PDE-SSM-DiT", "DiT", "Mamba-DiT", "S4D-DiT", "GFNet-DiT", "AFNO-DiT"])
def test_sequences_go_through_too(family: str) -> None:
    model, x = small(family, size=(24,)), torch.randn(2, 2, 24)
    assert model(x, torch.rand(2)).shape == x.shape
    assert model.grid == (6,)


def test_families_say_which_grids_they_take() -> None:
    assert {name for name in FAMILIES.at_hand() if 3 in FAMILIES[name].axes} == set(OF_CLIPS)
