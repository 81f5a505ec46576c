"""The networks of features against implementations that share nothing with them but the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import conv2d, gelu, interpolate, layer_norm, linear
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from pdebench.errors import MetricError
from pdebench.installing import install_extra
from pdebench.metrics import extractor_weights, features, quality
from pdebench.metrics.extractor_weights import DINOV2_FILE, DINOV2_VARIABLE
from pdebench.metrics.metric import DIMENSIONS, DINOV2, EFFICIENTNET, I3D, INCEPTION
from pdebench.metrics.networks import dinov2

CPU = torch.device("cpu")
WIDTH, DEPTH = 128, 2

Weights = dict[str, Tensor]
Save = Callable[[Weights], Path]


def images(count: int, side: int) -> Tensor:
    """Smooth random pictures (count, 3, side, side) uint8."""
    coarse = torch.rand(count, 3, 5, 5, generator=torch.Generator().manual_seed(side))
    return (255 * interpolate(coarse, (side, side), mode="bilinear")).round().byte()


@pytest.mark.usefixtures("untrained_inception")
def test_spatial_features_are_seven_channels_of_tensorflows_mixed_6_conv(untrained_inception: Path) -> None:
    """TensorFlow's `mixed_6` is the 17 x 17 block before the last, whose `conv` is the branch of one convolution."""
    given = images(3, 40)
    extractor = features.Extractor(INCEPTION, extractor_weights.locate(INCEPTION, "sfid"), CPU)
    found = extractor.features(given, ["spatial", "pooled", "logits"])
    assert {layer: rows.shape[1] for layer, rows in found.items()} == DIMENSIONS[INCEPTION]

    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(untrained_inception))
    blocks = [name for name, _ in network.named_children() if name.startswith("Mixed")]
    seen: dict[str, Tensor] = {}
    for name in blocks:
        getattr(network, name).register_forward_hook(lambda _, __, made, name=name: seen.update({name: made.clone()}))
    with torch.no_grad():
        (pooled,) = network(given)
    # `mixed` is the first block and `mixed_6` the seventh. A block's answer begins with its branch of one convolution.
    assert blocks[6] == "Mixed_6d"
    expected = [
        [
            seen[blocks[6]][image, channel, row, column]
            for row in range(17)
            for column in range(17)
            for channel in range(7)
        ]
        for image in range(3)
    ]
    torch.testing.assert_close(found["spatial"], torch.tensor(expected), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["pooled"], pooled, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found["logits"], pooled @ network.fc.weight.T, rtol=1e-4, atol=1e-5)
    assert found["spatial"].std() > 0


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Weights:
    """Random weights of a small DINOv2, named as the published file names them."""
    monkeypatch.setattr(dinov2, "WIDTH", WIDTH)
    monkeypatch.setattr(dinov2, "DEPTH", DEPTH)
    monkeypatch.setitem(DIMENSIONS, DINOV2, {"pooled": WIDTH})  # type: ignore[arg-type]
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, WIDTH),
        "pos_embed": (1, 1 + 37 * 37, WIDTH),
        "mask_token": (1, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, 14, 14),
        "patch_embed.proj.bias": (WIDTH,),
        "norm.weight": (WIDTH,),
        "norm.bias": (WIDTH,),
    }
    for index in range(DEPTH):
        for part, wide, narrow in (
            ("attn.qkv", 3 * WIDTH, WIDTH),
            ("attn.proj", WIDTH, WIDTH),
            ("mlp.fc1", 4 * WIDTH, WIDTH),
            ("mlp.fc2", WIDTH, 4 * WIDTH),
        ):
            shapes |= {f"blocks.{index}.{part}.weight": (wide, narrow), f"blocks.{index}.{part}.bias": (wide,)}
        for part in ("norm1", "norm2"):
            shapes |= {f"blocks.{index}.{part}.weight": (WIDTH,), f"blocks.{index}.{part}.bias": (WIDTH,)}
        shapes |= {f"blocks.{index}.ls{part}.gamma": (WIDTH,) for part in "12"}
    random = torch.Generator().manual_seed(0)
    return {
        name: 0.1 * torch.randn(shape, generator=random) + name.endswith("norm.weight")
        for name, shape in shapes.items()
    }


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    def save(state: Weights) -> Path:
        path = tmp_path / DINOV2_FILE
        torch.save(state, path)
        monkeypatch.setenv(DINOV2_VARIABLE, str(path))
        return path

    return save


def keys(position: float) -> list[tuple[int, float]]:
    """The four taps of a bicubic filter with a = -.75, as `interpolate` has it: Keys 1981."""
    a, first = -0.75, math.floor(position) - 1
    taps = []
    for tap in range(first, first + 4):
        x = abs(position - tap)
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
        taps.append((min(max(tap, 0), 36), near if x <= 1 else far))
    return taps


def class_token(state: Weights, given: Tensor) -> Tensor:
    """DINOv2's answer (B, D) to prepared images (B, 3, 224, 224), of the paper's equations; float64."""
    w = {name: tensor.double() for name, tensor in state.items()}
    patches = conv2d(given.double(), w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=14)
    x = torch.cat([w["cls_token"].expand(len(given), -1, -1), patches.flatten(2).transpose(1, 2)], dim=1)
    # Positions of 37 x 37 patches are read at 16 x 16 places, (i + 1/2) 37 / 16.1 - 1/2, without a filter.
    resample = torch.zeros(16, 37, dtype=torch.float64)
    for place in range(16):
        for tap, weight in keys((place + 0.5) * 37 / 16.1 - 0.5):
            resample[place, tap] += weight
    grid = w["pos_embed"][0, 1:].reshape(37, 37, -1)
    positions = torch.einsum("ia,jb,abd->ijd", resample, resample, grid).reshape(1, 256, -1)
    x = x + torch.cat([w["pos_embed"][:, :1], positions], dim=1)
    for index in range(DEPTH):
        b = {name.removeprefix(f"blocks.{index}."): t for name, t in w.items() if name.startswith(f"blocks.{index}.")}
        q, k, v = linear(
            layer_norm(x, (WIDTH,), b["norm1.weight"], b["norm1.bias"], 1e-6), b["attn.qkv.weight"], b["attn.qkv.bias"]
        ).chunk(3, dim=-1)
        heads = [
            (one @ two.transpose(1, 2) / 8).softmax(dim=-1) @ three
            for one, two, three in zip(q.split(64, -1), k.split(64, -1), v.split(64, -1), strict=True)
        ]
        x = x + b["ls1.gamma"] * linear(torch.cat(heads, -1), b["attn.proj.weight"], b["attn.proj.bias"])
        hidden = linear(
            layer_norm(x, (WIDTH,), b["norm2.weight"], b["norm2.bias"], 1e-6), b["mlp.fc1.weight"], b["mlp.fc1.bias"]
        )
        x = x + b["ls2.gamma"] * linear(gelu(hidden), b["mlp.fc2.weight"], b["mlp.fc2.bias"])
    return layer_norm(x[:, 0], (WIDTH,), w["norm.weight"], w["norm.bias"], 1e-6)


def test_dinov2_is_the_network_of_the_paper_with_edm2s_preprocessing(state: Weights, save: Save) -> None:
    save(state)
    extractor = features.Extractor(DINOV2, extractor_weights.locate(DINOV2, "fd_dinov2"), CPU)
    mean, deviation = (
        torch.tensor(values).reshape(3, 1, 1) for values in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    same = images(2, 224)  # nothing to resize
    expected = class_token(state, (same / 255 - mean) / deviation)
    torch.testing.assert_close(extractor.features(same)["pooled"].double(), expected, rtol=1e-4, atol=1e-4)

    large = images(2, 640)
    pillow = np.stack(
        [
            np.asarray(Image.fromarray(image.permute(1, 2, 0).numpy()).resize((224, 224), Image.Resampling.BICUBIC))
            for image in large
        ]
    )
    by_pillow = (torch.from_numpy(pillow).permute(0, 3, 1, 2) / 255 - mean) / deviation
    found = extractor.features(large)["pooled"].double()
    # Pillow rounds to whole numbers: EDM2's own choice of `torch` over `pil` differs by as much.
    torch.testing.assert_close(found, class_token(state, by_pillow), rtol=0.02, atol=0.02)
    assert (found[0] - found[1]).abs().max() > 0.1


def test_what_overshoots_in_resizing_is_kept(state: Weights, save: Save) -> None:
    save(state)
    network = dinov2.DinoV2(extractor_weights.locate(DINOV2, "fd_dinov2").path)
    given: list[Tensor] = []
    network.model.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    edge = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    edge[..., 4:] = 255
    with torch.no_grad():
        network(edge)
    values = given[0] * network.deviation + network.mean
    assert values.min() < -0.02
    assert values.max() > 1.02


def test_weights_of_timm_give_the_same(state: Weights, save: Save, tmp_path: Path) -> None:
    given = images(1, 32)
    save(state)
    first = features.Extractor(DINOV2, extractor_weights.locate(DINOV2, "fd_dinov2"), CPU).features(given)
    state.pop("mask_token")
    save_file(state, tmp_path / "model.safetensors")
    weights = extractor_weights.Weights(tmp_path / "model.safetensors", "0")
    assert torch.equal(features.Extractor(DINOV2, weights, CPU).features(given)["pooled"], first["pooled"])


def test_weights_that_are_not_dinov2s_are_refused_before_anything_trains(
    state: Weights, save: Save, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def said() -> str:
        with pytest.raises(MetricError) as caught:
            quality.check(["fd_dinov2"], samples=100)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    monkeypatch.delenv(DINOV2_VARIABLE, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert f"{DINOV2_FILE} is not there: fetch https://dl.fbaipublicfiles.com/dinov2/" in said()
    monkeypatch.setenv(DINOV2_VARIABLE, str(tmp_path / "absent.pth"))
    assert "absent.pth, which is not a file: fetch" in said()

    path = save(state)
    quality.check(["fd_dinov2"], samples=100)
    path.write_bytes(path.read_bytes()[:1000])
    assert "cannot be read as weights" in said()
    save(state | {"cls_token": torch.zeros(1, 1, 384)})
    assert "does not hold the weights of DINOv2's ViT-L/14" in said()
    save(state | {f"blocks.{DEPTH}.ls2.gamma": torch.zeros(WIDTH)})
    assert "does not hold the weights" in said()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert said() == "metric 'fd_dinov2' needs the package timm: " + install_extra("features")


def test_a_file_of_weights_runs_no_code(save: Save) -> None:
    save({"weights": _Surprise()})  # type: ignore[dict-item]
    with pytest.raises(MetricError, match="cannot be read as weights"):
        quality.check(["fd_dinov2"], samples=100)


class _Surprise:
    """Runs code when it is un-pickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("a file of weights ran code",))


def test_every_extractor_says_how_it_resizes() -> None:
    assert set(features.RESIZE) == set(DIMENSIONS) == {EFFICIENTNET, INCEPTION, DINOV2, I3D}
