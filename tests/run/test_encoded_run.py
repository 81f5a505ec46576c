"""Latents of files, from a suite to its table: what is read, how it is told, and a training that goes on."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import pdebench_run
from safetensors.torch import load_file, save_file

import pdebench
from pdebench.results.store import Results
from pdebench.run.cell import run_cell
from pdebench.suite.load import load_suite
from pdebench.train.state import Snapshots

SUITE = """\
suite: latents
data: {{name: encoded, path: set, resolution: 8, flip: {flip}}}
model: {{family: DiT, size: XXS, patch: 4, depth: 1, width: 64}}
train: {{steps: 12, batch_size: 8, lr: 1e-3}}
evaluate: {{samples: 4, nfe: 2, batch_size: 4}}
"""


def write_shards(folder: Path) -> None:
    """40 latents of 4 channels as LightningDiT keeps them, those of mirrored images too."""
    folder.mkdir()
    for number in range(2):
        z = torch.randn(20, 4, 8, 8, generator=torch.Generator().manual_seed(number)) * 5 + 1
        held = {"latents": z, "latents_flip": z.flip(-1) + 0.1, "labels": torch.arange(20) % 2}
        save_file(held, folder / f"latents_rank00_shard{number:03d}.safetensors")
    torch.save({"mean": torch.ones(1, 4, 1, 1), "std": torch.full((1, 4, 1, 1), 5.0)}, folder / "latents_stats.pt")


def write_tree(folder: Path) -> None:
    """40 means and standard deviations as REPA keeps them."""
    random = np.random.default_rng(0)
    (folder / "00000").mkdir(parents=True)
    names = [f"00000/img-mean-std-{number:08d}.npy" for number in range(40)]
    for name in names:
        mean = random.normal(size=(4, 8, 8)) * 5
        np.save(folder / name, np.concatenate([mean, np.abs(mean)]).astype(np.float32))
    listed = [[name, number % 2] for number, name in enumerate(names)]
    (folder / "dataset.json").write_text(json.dumps({"labels": listed}))


def suite_of(folder: Path, flip: bool) -> Path:
    path = folder / "suite.yaml"
    path.write_text(SUITE.format(flip=str(flip).lower()))
    return path


def test_a_suite_on_latents_leaves_a_table_and_a_report(tmp_path: Path) -> None:
    write_shards(tmp_path / "set")
    suite, results = suite_of(tmp_path, True), tmp_path / "out"
    assert pdebench_run("validate", suite).returncode == 0
    ran = pdebench_run("run", suite, "--results", results)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (row,) = pdebench.load_results(results).to_dict("records")
    assert (row["status"], row["classes"], row["data.name"]) == ("done", 2, "encoded")
    assert row["train_images"] + row["val_images"] == 40
    assert len(row["data.content"]) == 32
    assert 0.5 < row["val_loss"] < 4  # of latents of unit variance; of those in the files it would be about 25
    assert (results / "report.html").exists()

    again = pdebench_run("run", suite, "--results", results)
    assert "nothing to do" in again.stdout
    held = load_file(tmp_path / "set" / "latents_rank00_shard001.safetensors")
    save_file(held | {"labels": 1 - held["labels"]}, tmp_path / "set" / "latents_rank00_shard001.safetensors")
    assert "nothing to do" not in pdebench_run("run", suite, "--results", results).stdout


def test_latents_without_mirrored_ones_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    write_tree(tmp_path / "set")
    done = pdebench_run("run", suite_of(tmp_path, True), "--results", tmp_path / "out")
    assert done.returncode == 2
    assert "set data.flip: false" in done.stderr
    assert not list(tmp_path.glob("out/cells/*/record.json"))


class Cut(Exception):
    """The machine went down."""


class CutOff(Snapshots):
    """Snapshots after every step; the machine lives to see the seventh, in the second epoch."""

    def save(self, step: int, state: dict[str, Any]) -> None:
        super().save(step, state)
        if step == 7:
            raise Cut


@pytest.mark.parametrize(("write", "flip"), [(write_shards, True), (write_tree, False)])
def test_a_training_that_goes_on_ends_with_the_same_bits(tmp_path: Path, write: Any, flip: bool) -> None:
    write(tmp_path / "set")
    (cell,) = load_suite(suite_of(tmp_path, flip)).cells()
    rows = []
    for name in ("whole", "resumed"):
        folder = Results(tmp_path / name).cell(cell.id)
        folder.mkdir(parents=True)
        if name == "resumed":
            with pytest.raises(Cut):
                run_cell(cell, folder, snapshots=CutOff(folder / "state", steps=1, cell=cell.id))
        rows.append(run_cell(cell, folder, snapshots=Snapshots(folder / "state", cell=cell.id)))
    whole, resumed = (
        load_file(Results(tmp_path / name).cell(cell.id) / "checkpoint.safetensors") for name in ("whole", "resumed")
    )
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert rows[0]["val_loss"] == rows[1]["val_loss"]
    assert not math.isnan(rows[0]["val_loss"])
    assert rows[1]["resumed_from_step"] == 7
