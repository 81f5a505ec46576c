"""`pdebench inspect` as its user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from typer.testing import CliRunner

from pdebench.cli import app
from pdebench.errors import ModelError
from pdebench.models.backbone import create_model

TINY = ["inspect", "--model", "PDE-SSM-DiT-XXS/4", "--resolution", "16"]


def test_a_new_model_is_told_of_in_80_columns_and_drawn(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, [*TINY, "--out", str(tmp_path)], env={"COLUMNS": "80"})
    assert shown.exit_code == 0
    told = shown.stdout[: shown.stdout.index("wrote")]
    assert max(map(len, told.splitlines())) <= 80
    assert "at initialisation" in told
    assert "measured response" in told
    drawn = sorted(path.name for path in tmp_path.glob("*.png"))
    assert drawn == [
        "frequency_response.png",
        "impulse_response.png",
        "mixing_length.png",
        "physics.png",
        "receptive_field.png",
    ]
    with Image.open(tmp_path / "receptive_field.png") as picture:
        assert len(picture.convert("RGB").getcolors(100_000) or []) > 20  # a field, not one colour


def test_a_checkpoint_is_inspected_as_it_was_trained(tmp_path: Path) -> None:
    build = {"input_size": 16, "in_channels": 3, "num_classes": None, "depth": 1, "width": 32}
    model = create_model("None-DiT-XXS/4", **build)
    path = tmp_path / "checkpoint.safetensors"
    save_file(model.state_dict(), path, {"model": "None-DiT-XXS/4", "build": json.dumps(build)})
    shown = CliRunner().invoke(app, ["inspect", str(path), "--json"])
    assert shown.exit_code == 0
    found = json.loads(shown.stdout)
    assert found["model"] == "None-DiT-XXS/4"
    assert found["columns"]["spatial_area_95"] == 1
    assert len(found["survey"]["mixers"]) == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["inspect"], "give one of them"),
        (["inspect", "some.safetensors", "--model", "DiT-XXS/4"], "give one of them"),
        (["inspect", "some.safetensors", "--resolution", "16"], "leave --resolution out"),
        (["inspect", "--model", "DiT-XXS/4", "--resolution", "17"], "not divisible by patch 4"),
        (["inspect", "nowhere.safetensors"], "cannot read the checkpoint nowhere.safetensors: No such file"),
    ],
)
def test_what_cannot_be_inspected_is_refused_in_a_sentence(arguments: list[str], why: str) -> None:
    shown = CliRunner().invoke(app, arguments)
    assert isinstance(shown.exception, ModelError)
    assert why in str(shown.exception)
    torch.manual_seed(0)
