"""`pdebench sample`: what a checkpoint was trained for, it is asked for."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pdebench.cli import main
from pdebench.errors import ModelError
from pdebench.models.backbone import create_model
from pdebench.run.checkpoint import read_checkpoint, write_checkpoint
from pdebench.run.sampling import sample_checkpoint
from pdebench.suite.config import TrainConfig
from pdebench.tasks.generation.task import GENERATION

TRAIN = TrainConfig(steps=1, batch_size=1, lr=1e-3)


def checkpoint_of(folder: Path, train: TrainConfig = TRAIN, **more: Any) -> Path:
    torch.manual_seed(0)
    small = {"input_size": 16, "in_channels": 3, "num_classes": 2, "depth": 1, "width": 32, "heads": 2}
    build: dict[str, Any] = small | more
    model = create_model("DiT-XXS/8", **build)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.1)
    folder.mkdir(exist_ok=True)
    write_checkpoint(model, "DiT-XXS/8", build, GENERATION.learner(train), folder)
    return folder / "checkpoint.safetensors"


def sampled(checkpoint: Path, **options: Any) -> Image.Image:
    asked = {"count": 2, "guidance": 1.0, "nfe": 2, "seed": 0} | options
    with Image.open(sample_checkpoint(checkpoint, checkpoint.with_name("s.png"), **asked)) as image:
        return image.copy()


def spoilt(path: Path, value: float, name: str) -> Path:
    with safe_open(path, framework="pt") as file:
        about = file.metadata()
    weights = load_file(path)
    weights[name].view(-1)[-1] = value
    del about["sha256"]  # or it would be altered, not diverged
    save_file(weights, path, about)
    return path


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["x_embedder.proj.weight", "pos_embed", "blocks.0.adaLN_modulation.1.bias"])
def test_weights_that_are_not_finite_are_refused(
    value: float, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = spoilt(checkpoint_of(tmp_path), value, name)
    for verb in (["sample", str(path), "--out", str(tmp_path / "s.png")], ["inspect", str(path)]):
        with patch.object(sys, "argv", ["pdebench", *verb]), pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "weights that are NaN or infinite (1 of " in said
        assert name in said
    assert not (tmp_path / "s.png").exists()


def test_images_that_come_out_infinite_are_not_shown(tmp_path: Path) -> None:
    path = spoilt(checkpoint_of(tmp_path), 3e38, "final_layer.linear.bias")
    with pytest.raises(ModelError, match="2 of 2 images came out NaN or infinite"):
        sampled(path, guidance=1e30, labels=[0])
    assert not (tmp_path / "s.png").exists()


def test_equal_weights_are_equal_bytes(tmp_path: Path) -> None:
    """The order of a hash map is by chance in each that is made, so one process shows it."""
    contents = {checkpoint_of(tmp_path).read_bytes() for _ in range(8)}
    assert len(contents) == 1
    (content,) = contents
    size = int.from_bytes(content[:8], "little")
    assert size % 8 == 0
    header = json.loads(content[8 : 8 + size])
    assert list(header["__metadata__"]) == ["build", "label_dropout", "model", "task", "time_scale", "sha256"]
    assert header["x_embedder.proj.weight"]["dtype"] == "F32"


def test_a_model_with_a_learned_variance_is_sampled(tmp_path: Path) -> None:
    assert sampled(checkpoint_of(tmp_path, learn_sigma=True)).size == (18 + 2, 2 * 18 + 2)


def test_the_scale_of_times_goes_with_the_checkpoint(tmp_path: Path) -> None:
    plain = checkpoint_of(tmp_path / "a")
    as_sit = checkpoint_of(tmp_path / "b", TRAIN.model_copy(update={"time_scale": 1.0}))
    assert sampled(plain).tobytes() != sampled(as_sit).tobytes()
    with safe_open(plain, framework="pt") as file:
        about = {key: value for key, value in file.metadata().items() if key in ("model", "build")}
    older = tmp_path / "older" / "checkpoint.safetensors"
    older.parent.mkdir()
    save_file(load_file(plain), older, about)
    assert sampled(older).tobytes() == sampled(plain).tobytes()
    assert json.loads(about["build"])["width"] == 32


def test_guiding_some_channels_is_not_guiding_all(tmp_path: Path) -> None:
    path = checkpoint_of(tmp_path)
    images = [sampled(path, guidance=4.0, guidance_channels=some).tobytes() for some in (None, 3, 1)]
    assert images[0] == images[1] != images[2]


@pytest.mark.parametrize(
    ("dropout", "classes", "options", "sentence"),
    [
        (0.0, 2, {"guidance": 4.0}, "without label dropout"),
        (0.1, None, {"guidance": 4.0}, "without classes"),
        (0.1, 2, {"guidance_channels": 2}, "guidance is 1"),
        (0.1, 2, {"guidance": 2.0, "guidance_channels": 4}, "there are 3"),
    ],
)
def test_what_it_was_not_trained_for_is_refused(
    tmp_path: Path, dropout: float, classes: int | None, options: dict[str, Any], sentence: str
) -> None:
    path = checkpoint_of(tmp_path, TRAIN.model_copy(update={"label_dropout": dropout}), num_classes=classes)
    with pytest.raises(ModelError, match=sentence):
        sampled(path, **options)
    sampled(path)


def test_a_checkpoint_that_was_altered_is_refused(tmp_path: Path) -> None:
    """A flipped bit here and there; those of the header's size are another matter."""
    path = checkpoint_of(tmp_path)
    content = path.read_bytes()
    for bit in range(8 * 8, 8 * len(content), 8 * len(content) // 40 + 1):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(ModelError):
            read_checkpoint(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("time_scale", "9" * 400), ("label_dropout", "NaN"), ("label_dropout", "-5"), ("label_dropout", "true")],
)
def test_a_checkpoint_that_says_what_cannot_be_is_refused(tmp_path: Path, key: str, value: str) -> None:
    path = checkpoint_of(tmp_path)
    with safe_open(path, framework="pt") as held:
        about = held.metadata()
    del about["sha256"]
    save_file(load_file(path), path, {**about, key: value})
    with pytest.raises(ModelError, match="is not a checkpoint of pdebench"):
        read_checkpoint(path)


def test_complex_weights_are_refused(tmp_path: Path) -> None:
    path = checkpoint_of(tmp_path)
    with safe_open(path, framework="pt") as held:
        about = held.metadata()
    weights = {key: one.to(torch.complex64) for key, one in load_file(path).items()}
    del about["sha256"]
    save_file(weights, path, about)
    with pytest.raises(ModelError, match="complex64"):
        read_checkpoint(path)
