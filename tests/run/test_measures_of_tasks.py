"""What cells of each task cost, alone and planned, and what their weights do at another resolution."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_space_of_cells import SECTIONS, write_masks

from pdebench.measure import largest_batch
from pdebench.plan.suite_plan import make_plan
from pdebench.run.cell import run_cell
from pdebench.suite.build import build_of
from pdebench.suite.config import Cell
from pdebench.suite.load import load_suite

TASKS: dict[str, dict[str, Any]] = {
    **SECTIONS,
    "clips by ddpm": {**SECTIONS["clips"], "task": "ddpm"},
    "classified clips": {
        "task": "classification",
        "data": SECTIONS["clips"]["data"],
        "model": SECTIONS["clips"]["model"],
    },
}


@pytest.fixture(params=TASKS)
def sections(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pdebench.data.sprites_video.COUNTS", {"train": 12, "validation": 8})
    found = {"suite": "one", "train": {"steps": 2, "batch_size": 4, "lr": 1e-3, "ema": 0.5}, **TASKS[request.param]}
    if request.param == "segmentation":
        found["data"] = {**found["data"], "path": str(write_masks(tmp_path / "set"))}
    return found


def test_parts_are_timed_and_weights_moved_to_another_side(sections: dict[str, Any], tmp_path: Path) -> None:
    elsewhere = {**sections.get("evaluate", {}), "resolution": 2 * sections["data"]["resolution"]}
    measured = {"parts": ["mixer", "block"], "seconds": 0.01, "operators": True}
    cell = Cell.model_validate_json(json.dumps({**sections, "evaluate": elsewhere, "measure": measured}))
    row = run_cell(cell, tmp_path)
    assert 0 < row["mixer_held_bytes"] < row["block_held_bytes"]
    assert row["mixer_ms_median"] > 0
    assert row["block_ms_median"] > 0
    assert row["operators_step"] > 0
    assert row["val_loss_transfer"] > 0
    assert row["val_loss_transfer"] != row["val_loss_ema"]


def test_a_plan_counts_and_predicts_it(sections: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps(sections))
    (found,) = make_plan(load_suite(path), "h100").predictions
    assert found.macs_forward > 0
    assert found.predicted_fits
    assert found.predicted_train_seconds > 0
    assert found.predicted_memory_bytes is not None
    assert found.predicted_memory_bytes > 4 * found.params


def test_larger_batches_are_tried(
    sections: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, up to four images, without a limit to its memory."""
    monkeypatch.setattr(largest_batch, "MOST", 4)
    monkeypatch.setattr(largest_batch, "_limit_memory", lambda *, on_cpu: None)
    cell = Cell.model_validate_json(json.dumps(sections))
    name, build = build_of(cell, 2)
    train = cell.train.model_dump(mode="json")
    tried = {"name": name, "build": build, "task": cell.task, "train": train, "precision": "fp32", "start": 2}
    largest_batch.main(json.dumps(tried))
    assert capsys.readouterr().out.split() == ["2", "4"]
