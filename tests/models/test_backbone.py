"""The shell: DiT to the digit and to the number, and what every family keeps of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from representatives import few
from torch import Tensor
from torch.nn import functional as F

from pdebench.errors import ModelError
from pdebench.models.backbone import Backbone, create_model
from pdebench.models.embedding import sincos_position_embedding
from pdebench.models.mixers.attention import Attention
from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.models.mixers.mamba import BidirectionalMamba
from pdebench.models.mixers.pde import PDEMixer
from pdebench.models.options import AttentionOptions, NoOptions, PDEOptions
from pdebench.models.registry import FAMILIES
from pdebench.models.sizes import SIZES


def on_meta(name: str, **options: object) -> Backbone:
    with torch.device("meta"):
        return create_model(name, **options)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def small(family: str = "DiT", **options: object) -> Backbone:
    """A small RGB model whose weights are all away from their zeros."""
    arguments = {"input_size": 16, "in_channels": 3, "num_classes": 10} | options
    model = create_model(f"{family}-XXS/4", **arguments)
    with torch.no_grad():
        for zeroed in model.parameters():
            if not zeroed.any():
                zeroed.normal_(std=0.05)
    return model


def batch(size: int = 16, channels: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(2, channels, size, size), torch.tensor([3.0, 700.0]), torch.tensor([1, 4])


# ---- DiT as published


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("DiT-S/2", 32_963_360), ("DiT-B/2", 130_512_416), ("DiT-L/2", 458_102_816), ("DiT-XL/2", 675_129_632)],
)
def test_dit_has_the_published_parameters(name: str, parameters: int) -> None:
    assert count(on_meta(name, learn_sigma=True)) == parameters


@pytest.mark.parametrize("size", SIZES)
def test_a_dit_block_has_18_d2_plus_15_d_parameters(size: str) -> None:
    width = SIZES[size].width
    assert count(on_meta(f"DiT-{size}/2").blocks[0]) == 18 * width**2 + 15 * width


def reference_shapes(width: int = 384, depth: int = 12) -> dict[str, tuple[int, ...]]:
    """Every key of facebookresearch/DiT's DiT-S/2 (256 px, 1000 classes, learn_sigma) with its shape."""

    def linear(name: str, outputs: int, inputs: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}

    shapes: dict[str, tuple[int, ...]] = {
        "pos_embed": (1, 256, width),
        "x_embedder.proj.weight": (width, 4, 2, 2),
        "x_embedder.proj.bias": (width,),
        **linear("t_embedder.mlp.0", width, 256),
        **linear("t_embedder.mlp.2", width, width),
        "y_embedder.embedding_table.weight": (1001, width),
    }
    for block in (f"blocks.{i}" for i in range(depth)):
        shapes |= linear(f"{block}.attn.qkv", 3 * width, width) | linear(f"{block}.attn.proj", width, width)
        shapes |= linear(f"{block}.mlp.fc1", 4 * width, width) | linear(f"{block}.mlp.fc2", width, 4 * width)
        shapes |= linear(f"{block}.adaLN_modulation.1", 6 * width, width)
    shapes |= linear("final_layer.linear", 2 * 2 * 8, width)
    return shapes | linear("final_layer.adaLN_modulation.1", 2 * width, width)


def reference_forward(w: dict[str, Tensor], x: Tensor, t: Tensor, y: Tensor, depth: int = 12, heads: int = 6) -> Tensor:
    """DiT's forward pass (arXiv 2212.09748, figure 3) from its published tensors, with no module of ours."""

    def linear(name: str, value: Tensor) -> Tensor:
        return value @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def normed(value: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        centred = value - value.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * (1 + scale) + shift

    def attention(name: str, value: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in linear(f"{name}.qkv", value).chunk(3, -1)
        )
        weights = (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1)
        return linear(f"{name}.proj", (weights @ v).transpose(1, 2).flatten(2))

    angles = t[:, None] * 10_000.0 ** (-torch.arange(128) / 128)
    time = linear("t_embedder.mlp.2", F.silu(linear("t_embedder.mlp.0", torch.cat([angles.cos(), angles.sin()], 1))))
    conditioning = F.silu(time + w["y_embedder.embedding_table.weight"][y])[:, None]
    tokens = F.conv2d(x, w["x_embedder.proj.weight"], w["x_embedder.proj.bias"], stride=2).flatten(2).transpose(1, 2)
    tokens = tokens + w["pos_embed"]
    for block in (f"blocks.{i}" for i in range(depth)):
        modulation = linear(f"{block}.adaLN_modulation.1", conditioning).chunk(6, -1)
        tokens = tokens + modulation[2] * attention(f"{block}.attn", normed(tokens, *modulation[:2]))
        hidden = F.gelu(linear(f"{block}.mlp.fc1", normed(tokens, *modulation[3:5])), approximate="tanh")
        tokens = tokens + modulation[5] * linear(f"{block}.mlp.fc2", hidden)
    modulation = linear("final_layer.adaLN_modulation.1", conditioning).chunk(2, -1)
    patches = linear("final_layer.linear", normed(tokens, *modulation)).view(-1, 16, 16, 2, 2, 8)
    return torch.einsum("nhwpqc->nchpwq", patches).reshape(-1, 8, 32, 32)


def test_the_published_state_dict_loads_and_computes_what_the_paper_says() -> None:
    published = {name: torch.randn(shape) * 0.05 for name, shape in reference_shapes().items()}
    model = create_model("DiT-S/2", learn_sigma=True)
    assert len(published) == len(model.state_dict())
    model.load_state_dict(dict(published), strict=True)
    x, t, _ = batch(32, 4)
    labels = torch.tensor([7, 1000])  # the last row of the table stands for "no class"
    with torch.no_grad():
        expected = reference_forward(published, x, t, labels)
        assert expected.std() > 0.1
        torch.testing.assert_close(model(x, t, labels), expected, rtol=1e-3, atol=1e-4)


def test_a_checkpoint_of_ours_loads_back() -> None:
    model, other = small(), small()
    other.load_state_dict(model.state_dict(), strict=True)
    x, t, y = batch()
    assert torch.equal(model(x, t, y), other(x, t, y))


@pytest.mark.parametrize(("h", "w"), [(4, 4), (3, 5)])
def test_positions_are_sines_and_cosines_of_the_column_then_of_the_row(h: int, w: int) -> None:
    width = 16
    embedding = sincos_position_embedding((h, w), width)
    assert embedding.shape == (1, h * w, width)
    assert embedding.dtype == torch.float32
    for row in range(h):
        for column in range(w):
            expected = []
            for position in (column, row):
                angles = [position / 10_000 ** (i / (width // 4)) for i in range(width // 4)]
                expected += [*np.sin(angles), *np.cos(angles)]
            np.testing.assert_allclose(embedding[0, row * w + column].numpy(), expected, atol=1e-6)


# ---- every family


def families_and_sizes() -> Iterator[object]:
    """All families at all sizes; always run is each family at two of them, and each size."""
    for i, family in enumerate(FAMILIES):
        for j, size in enumerate(SIZES):
            yield pytest.param(family, size, marks=[] if (j - i) % len(SIZES) < 2 else pytest.mark.exhaustive)


@pytest.mark.parametrize(("family", "size"), families_and_sizes())
def test_every_family_and_size_runs_without_memory(family: str, size: str) -> None:
    model = on_meta(f"{family}-{size}/4", input_size=32, in_channels=3, num_classes=10)
    assert all(parameter.is_meta for parameter in model.parameters())
    with torch.no_grad():
        out = model(torch.empty(2, 3, 32, 32, device="meta"), torch.empty(2, device="meta"))
    assert out.shape == (2, 3, 32, 32)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_model_is_zero_and_its_blocks_are_the_identity(family: str) -> None:
    model = create_model(f"{family}-XXS/4", input_size=16, in_channels=3, num_classes=10)
    assert model(*batch()).any() == (family == "ZigMa")  # whose head is open from the start
    tokens, c = torch.randn(2, 16, 128), torch.randn(2, 128)
    for block in model.blocks:
        assert torch.equal(block(tokens, c), tokens)


@pytest.mark.parametrize("family", few(FAMILIES))
def test_no_labels_are_labels_of_minus_one(family: str) -> None:
    model = small(family)
    x, t, y = batch()
    assert torch.equal(model(x, t), model(x, t, torch.full_like(y, -1)))
    mixed = model(x, t, torch.tensor([1, -1]))
    torch.testing.assert_close(mixed, torch.cat([model(x, t, y)[:1], model(x, t)[1:]]))
    assert not torch.allclose(model(x, t), model(x, t, y), atol=1e-5)


def test_an_unconditional_model_has_no_label_table() -> None:
    model = small(num_classes=None)
    assert not [name for name in model.state_dict() if name.startswith("y_embedder")]
    x, t, _ = batch()
    assert model(x, t).shape == x.shape


def test_learn_sigma_doubles_the_channels() -> None:
    x, t, y = batch()
    assert small(learn_sigma=True)(x, t, y).shape == (2, 6, 16, 16)


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_autocast_stays_close_to_fp32(family: str) -> None:
    model = small(family)
    inputs = batch()
    with torch.no_grad():
        exact = model(*inputs)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = model(*inputs)
    assert torch.isfinite(rounded).all()
    assert (rounded.float() - exact).norm() < 0.03 * exact.norm()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_but_the_positions_learns(family: str) -> None:
    model = small(family)
    model(*batch()).square().mean().backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == ["pos_embed"]


# ---- parameters of the families


@pytest.mark.parametrize("size", SIZES)
def test_mamba_dit_has_dits_parameters_within_one_percent(size: str) -> None:
    ours, dit = (count(on_meta(f"{family}-{size}/2").blocks[0]) for family in ("Mamba-DiT", "DiT"))
    assert abs(ours / dit - 1) < 0.01


@pytest.mark.parametrize("width", [128, 200, 768])
def test_mamba_mixer_parameters_by_formula(width: int) -> None:
    mixer = BidirectionalMamba(MixerContext(width, 2, (4, 4), 0, 1), NoOptions())
    rank = math.ceil(width / 16)
    assert count(mixer) == 6 * width**2 + 2 * 2 * width * (2 * rank + 55)
    if width == 768:
        assert count(mixer) == 4_002_816
        assert count(mixer) - count(mixer.backwards) == 3_770_880


@pytest.mark.parametrize("size", SIZES)
def test_plain_pde_ssm_dit_has_no_more_parameters_than_dit(size: str) -> None:
    assert count(on_meta(f"PDE-SSM-DiT-{size}/2")) <= count(on_meta(f"DiT-{size}/2"))


# ---- what the mixers know of positions


def fresh(mixer: Mixer) -> Mixer:
    mixer.initialise()
    return mixer.eval()


def rolled_outputs(mixer: Mixer, h: int, w: int, width: int, shift: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The mixer's output of a rolled grid, and its rolled output."""

    def roll(tokens: Tensor) -> Tensor:
        return tokens.unflatten(1, (h, w)).roll(shift, (1, 2)).flatten(1, 2)

    x, c = torch.randn(3, h * w, width), torch.randn(3, width)
    with torch.no_grad():
        return mixer(roll(x), c), roll(mixer(x, c))


@pytest.mark.parametrize("shift", [(1, 0), (2, -3)])
@pytest.mark.parametrize("options", [{}, {"states": 3, "gate": True}, {"selective": True, "diffusion": "diagonal"}])
def test_a_periodic_pde_commutes_with_translations(options: dict[str, object], shift: tuple[int, int]) -> None:
    mixer = fresh(PDEMixer(MixerContext(16, 2, (5, 8), 0, 1), PDEOptions(**options)))
    torch.testing.assert_close(*rolled_outputs(mixer, 5, 8, 16, shift), atol=1e-5, rtol=1e-4)


def test_zero_padding_ends_the_translation_symmetry() -> None:
    mixer = fresh(PDEMixer(MixerContext(16, 2, (5, 8), 0, 1), PDEOptions(padding="zero")))
    got, rolled = rolled_outputs(mixer, 5, 8, 16, (2, -3))
    assert (got - rolled).abs().max() > 1e-2


def test_attention_without_positions_commutes_with_translations() -> None:
    mixer = fresh(Attention(MixerContext(16, 2, (5, 8), 0, 1), AttentionOptions()))
    torch.testing.assert_close(*rolled_outputs(mixer, 5, 8, 16, (2, -3)), atol=1e-5, rtol=1e-4)


def test_a_scan_does_not_commute_with_translations() -> None:
    mixer = fresh(BidirectionalMamba(MixerContext(16, 2, (5, 8), 0, 1), NoOptions()))
    got, rolled = rolled_outputs(mixer, 5, 8, 16, (2, -3))
    assert (got - rolled).abs().max() > 1e-2 * rolled.abs().max()


def test_pde_weights_serve_another_resolution() -> None:
    trained = small("PDE-SSM-DiT", input_size=32)
    larger = create_model("PDE-SSM-DiT-XXS/4", input_size=64, in_channels=3, num_classes=10)
    weights = {name: value for name, value in trained.state_dict().items() if name != "pos_embed"}
    missing, unexpected = larger.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == (["pos_embed"], [])
    # tokens that the coarse grid resolves are mixed alike on both grids, seen where the grids coincide
    y, x = torch.meshgrid(torch.arange(16) / 16, torch.arange(16) / 16, indexing="ij")
    waves = [
        torch.cos(2 * math.pi * (m * y + n * x) + phase) for m, n, phase in [(1, 0, 0.3), (2, -1, 1.0), (0, 3, 2.0)]
    ]
    fine = torch.stack(waves, -1) @ torch.randn(3, 128)
    coarse = fine[::2, ::2]
    with torch.no_grad():
        mixed = larger.blocks[0].mixer(fine.reshape(1, -1, 128), torch.zeros(1, 128)).view(16, 16, 128)
        expected = trained.blocks[0].mixer(coarse.reshape(1, -1, 128), torch.zeros(1, 128)).view(8, 8, 128)
    torch.testing.assert_close(mixed[::2, ::2], expected, atol=1e-4, rtol=1e-4)


# ---- wrong use


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("DiTT-S/2", {}, "unknown family 'DiTT'; did you mean 'DiT'?"),
        ("PDE-SSM-Dit-S/2", {}, "did you mean 'PDE-SSM-DiT'?"),
        ("DiT-s/2", {}, "unknown size 's'; did you mean 'S'?"),
        ("DiT-S", {}, "is not FAMILY-SIZE/PATCH"),
        ("DiT-S/0", {}, "is not FAMILY-SIZE/PATCH"),
        ("PDE-SSM-DiT-S/2", {"stats": 4}, "takes no option 'stats'; did you mean 'states'?"),
        (
            "PDE-SSM-DiT-S/2",
            {"states": 0},
            "option 'states': Input should be greater than or equal to 1, not 0",
        ),
        ("DiT-S/2", {"gate": True}, "takes no option 'gate'"),
        ("DiT-S/4", {"input_size": 30}, "resolution 30 is not divisible by patch 4"),
    ],
)
def test_a_wrong_model_is_one_sentence(name: str, options: dict[str, object], says: str) -> None:
    with pytest.raises(ModelError) as caught:
        on_meta(name, **options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
