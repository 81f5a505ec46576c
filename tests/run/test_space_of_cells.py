"""Cells of each task that measure space, and `pdebench inspect` of what they leave."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pdebench.cli import app
from pdebench.measure.spatial.findings import SPATIAL, read_survey
from pdebench.run.cell import run_cell
from pdebench.suite.config import Cell

OF_TIMES = re.compile(r"\bt ?= ?[\d.]+|nois|velocit|adaLN|flow", re.IGNORECASE)
TINY = {"family": "PDE-SSM-DiT", "size": "XXS", "depth": 2, "width": 32}
SECTIONS: dict[str, dict[str, Any]] = {
    "clips": {
        "data": {"name": "sprites_video", "resolution": 16, "frames": 8, "flip": False},
        "model": {**TINY, "patch": 2, "patch_frames": 2},
        "evaluate": {"samples": 0},
    },
    "classification": {
        "task": "classification",
        "data": {"name": "digits", "resolution": 8, "flip": False},
        "model": {**TINY, "patch": 1},
    },
    "segmentation": {
        "task": "segmentation",
        "data": {"name": "masks", "resolution": 16, "classes": 2, "flip": False},
        "model": {**TINY, "patch": 2},
    },
}


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of the test's own, and few clips."""
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pdebench.data.sprites_video.COUNTS", {"train": 12, "validation": 8})


def write_masks(folder: Path) -> Path:
    """Images whose left half is of another class, and brighter."""
    random = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 8)):
        for number in range(count):
            classes = np.zeros((16, 16), np.uint8)
            classes[:, : random.integers(4, 12)] = 1
            image = 100 * classes[..., None] + random.integers(0, 50, (16, 16, 3))
            for kind, picture in (("images", image.astype(np.uint8)), ("masks", classes)):
                path = folder / kind / split / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture).save(path)
    return folder


def inspected(checkpoint: Path, *more: str) -> str:
    shown = CliRunner().invoke(app, ["inspect", str(checkpoint), *more], env={"COLUMNS": "80"})
    assert shown.exit_code == 0, shown.output
    return shown.stdout


@pytest.mark.parametrize("kind", SECTIONS)
def test_a_cell_of_each_task_has_its_survey_and_its_checkpoint_is_inspected(kind: str, tmp_path: Path) -> None:
    train = {"steps": 3, "batch_size": 8, "lr": 1e-2, "ema": 0.5}
    sections = {"suite": "one", "train": train, "measure": {"spatial": True}, **SECTIONS[kind]}
    if kind == "segmentation":
        sections["data"] = {**sections["data"], "path": str(write_masks(tmp_path / "set"))}
    row = run_cell(Cell.model_validate_json(json.dumps(sections)), tmp_path)
    found = read_survey(tmp_path / SPATIAL)
    assert found is not None
    assert found.grid == ((4, 8, 8) if kind == "clips" else (8, 8))
    assert {key: value for key, value in row.items() if key.startswith("spatial_")} == found.columns()
    assert all(value is not None for value in found.columns().values())
    assert row["spatial_physics_error"] < 0.01
    assert row["spatial_network_length"] > 0
    assert row["spatial_network_shift_error"] > 0
    assert ("spatial_drift_in_time" in row) == (kind == "clips")
    path = tmp_path / "checkpoint.safetensors"
    told = inspected(path)
    assert max(map(len, told.splitlines())) <= 80
    if kind == "clips":
        assert "4 x 8 x 8 tokens" in told
        assert "tokens along time" in told
        drawn = tmp_path / "drawn"
        inspected(path, "--out", str(drawn))
        assert (drawn / "time.png").stat().st_size > 5_000
        assert read_survey(drawn / SPATIAL) is not None
    else:
        assert "8 x 8 tokens" in told
        assert not OF_TIMES.findall(told)


def test_a_suite_of_clips_may_ask_what_mixers_do_in_space(tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    sections = {"train": {"steps": 3, "batch_size": 8, "lr": 1e-2}, "measure": {"spatial": True}, **SECTIONS["clips"]}
    suite.write_text(json.dumps({"suite": "one", **sections}))
    shown = CliRunner().invoke(app, ["validate", str(suite)])
    assert shown.exit_code == 0, shown.output
