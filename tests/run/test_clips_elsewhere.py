"""Weights trained on clips, evaluated on clips of another length or side; and what of that is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pdebench.errors import SuiteError
from pdebench.run.cell import run_cell
from pdebench.suite.config import Cell
from pdebench.suite.load import load_suite

SECTIONS: dict[str, Any] = {
    "suite": "one",
    "data": {"name": "sprites_video", "resolution": 16, "frames": 4, "flip": False},
    "model": {"family": "PDE-SSM-DiT", "size": "XXS", "patch": 4, "patch_frames": 2, "depth": 1, "width": 32},
    "train": {"steps": 2, "batch_size": 4, "lr": 1e-3, "ema": 0.5},
    "evaluate": {"samples": 2, "nfe": 2, "batch_size": 2},
}


def sections(**changes: dict[str, Any]) -> dict[str, Any]:
    return {**SECTIONS, **{name: {**SECTIONS.get(name, {}), **keys} for name, keys in changes.items()}}


@pytest.mark.parametrize(
    ("asked", "frames", "side"),
    [({"frames": 10}, 10, 16), ({"frames": 2}, 2, 16), ({"resolution": 32, "frames": 6}, 6, 32)],
)
def test_weights_of_clips_go_to_another_length_and_side(
    asked: dict[str, int], frames: int, side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pdebench.data.sprites_video.COUNTS", {"train": 8, "validation": 4})
    cell = Cell.model_validate_json(json.dumps(sections(evaluate=asked)))
    assert cell.id != Cell.model_validate_json(json.dumps(SECTIONS)).id
    row = run_cell(cell, tmp_path)
    assert row["val_loss_transfer"] > 0
    assert row["val_loss_transfer"] != row["val_loss_ema"]
    with Image.open(tmp_path / "samples.webp") as picture:
        assert getattr(picture, "n_frames", 1) == frames
        assert side <= picture.size[1] < 2 * side


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"evaluate": {"frames": 4}}, "evaluate.frames: 4 is the length that is trained on"),
        ({"evaluate": {"frames": 5}}, "evaluate.frames: 5 frames are not divisible by patch_frames 2"),
        (
            {"evaluate": {"frames": 8}, "model": {"family": "GFNet-DiT"}},
            "GFNet-DiT cannot be evaluated on 8 frames: its weights are bound to the grid of 4 frames",
        ),
        (
            {
                "evaluate": {"frames": 8},
                "data": {"name": "emoji", "resolution": 32, "frames": None},
                "model": {"patch_frames": 1},
            },
            "evaluate.frames: is for clips; the images of emoji have no frames",
        ),
    ],
)
def test_what_has_no_other_length_is_refused_in_a_sentence(
    changes: dict[str, dict[str, Any]], why: str, tmp_path: Path
) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps(sections(**changes)))
    with pytest.raises(SuiteError) as refusal:
        load_suite(path).cells()
    assert why in str(refusal.value).replace(f"{path}:1: ", "")
    assert "\n" not in str(refusal.value)
