"""`pdebench fit` on results of each task: laws of its loss and its error, and none of two tasks or lengths of clips."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from law_tables import found, law_table, refused

pytestmark = pytest.mark.usefixtures("few_resamples")
ERRORS = {"classification": "top1_error", "segmentation": "miou_error"}
TRUE = {"E": 0.12, "alpha": 0.30, "beta": 0.40}


def cells(task: str, **columns: Any) -> pd.DataFrame:
    """Cells of a task whose loss, or error, is the known law."""
    law = law_table(seeds=1, noise=0.0005)
    about = f"{task} {columns.get('data.frames')}"
    names = [hashlib.sha256(f"{about} {row}".encode()).hexdigest()[:12] for row in range(len(law))]
    table = pd.DataFrame(
        {
            "suite": "scaling",
            "task": task,
            "cell": names,
            "status": "done",
            "finished_at": "2026-01-01T00:00:00+00:00",
            "data.name": "a set",
            "data.resolution": 32,
            "model.family": "DiT",
            "model.size": [f"n{n}" for n in law["params"]],
            "train.seed": 0,
            "train.steps": law["images"] // 64 + 1,
            "train.batch_size": 64,
            "params": law["params"],
            "images_seen": law["images"],
            "flops_train": law["flops"],
            "val_loss": law["val_loss"],
            "data_checksum": "3f2a9c1b" + 56 * "0",
            "machine_fingerprint": "a",
            **columns,
        }
    )
    if (error := ERRORS.get(task)) is not None:
        table[error] = table["val_loss"] / 2
        table[error.removesuffix("_error")] = 1 - table[error]
    return table


def table_of(folder: Path, *frames: pd.DataFrame) -> Path:
    pd.concat(frames, ignore_index=True).to_parquet(folder / "table.parquet")
    return folder


def exponents(group: dict[str, Any]) -> dict[str, float]:
    return {name: group["parametric"][name]["value"] for name in TRUE}


@pytest.mark.parametrize("task", ["generation", "ddpm", *ERRORS])
def test_the_loss_of_each_task_has_its_law(task: str, tmp_path: Path) -> None:
    (group,) = found(table_of(tmp_path, cells(task)), named=())
    assert exponents(group) == pytest.approx(TRUE, rel=0.05)


@pytest.mark.parametrize(("task", "error"), ERRORS.items())
def test_errors_have_laws_and_scores_that_rise_have_none(task: str, error: str, tmp_path: Path) -> None:
    table = table_of(tmp_path, cells(task))
    (group,) = found(table, "--loss", error, named=())
    assert exponents(group) == pytest.approx({**TRUE, "E": TRUE["E"] / 2}, rel=0.05)
    score = error.removesuffix("_error")
    assert f"rises with compute, and laws are of what falls: take {error}" in refused(table, "--loss", score, named=())


def test_clips_of_two_lengths_and_sets_of_two_tasks_are_no_one_law(tmp_path: Path) -> None:
    lengths = [cells("generation", **{"data.frames": frames}) for frames in (8, 16)]
    lengths[1]["val_loss"] *= 1.3
    groups = found(table_of(tmp_path, *lengths), named=())
    assert len(groups) == 2
    assert exponents(groups[1])["E"] == pytest.approx(1.3 * exponents(groups[0])["E"], rel=0.02)
    tasks = found(table_of(tmp_path, cells("classification"), cells("segmentation")), named=())
    assert {group["group"] for group in tasks} == {"DiT, classification", "DiT, segmentation"}
