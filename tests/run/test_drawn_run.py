"""Samples that are interrupted: what was drawn stays drawn, and the end is the same."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from runs import command, environment, wait_for, write_images
from test_sampling import checkpoint_of

from pdebench.errors import ModelError, ResultsError
from pdebench.run.cell import run_cell
from pdebench.run.sampling import sample_checkpoint
from pdebench.suite.config import Cell
from pdebench.train.state import Snapshots


def batches(out: Path) -> set[str]:
    return {path.name for path in out.with_name(f"{out.name}.drawn").glob("*.safetensors")}


def images(path: Path) -> np.ndarray:
    with np.load(path) as found:
        return found["arr_0"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(("count", "kills"), [(320, 1), pytest.param(2000, 5, marks=pytest.mark.exhaustive)])
def test_samples_that_are_killed_lose_at_most_the_batch_that_was_drawn(tmp_path: Path, count: int, kills: int) -> None:
    checkpoint = checkpoint_of(tmp_path / "cell")
    whole, out = tmp_path / "whole.npz", tmp_path / "out.npz"
    sample_checkpoint(checkpoint, whole, count=count, nfe=60)
    verb = command("sample", checkpoint, "--count", count, "--nfe", 60, "--out", out)
    for _ in range(kills):
        before = batches(out)
        process = subprocess.Popen(verb, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda known=before: len(batches(out)) >= len(known) + 2)  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert before < batches(out), "what was drawn before is still there"
        assert not out.exists()
    assert subprocess.run(verb, env=environment(), capture_output=True).returncode == 0
    assert out.read_bytes() == whole.read_bytes()
    assert images(out).shape == (count, 16, 16, 3)
    assert not batches(out)


def test_several_devices_draw_what_one_does(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path / "cell")
    for out, devices in ((tmp_path / "one.npz", ["cpu"]), (tmp_path / "two.npz", ["cpu", "cpu"])):
        sample_checkpoint(checkpoint, out, count=200, nfe=2, devices=devices)
    one, two = (images(tmp_path / f"{name}.npz").astype(int) for name in ("one", "two"))
    assert np.abs(one - two).max() <= 1  # they compute with other threads


def test_a_folder_has_a_png_for_each_image_and_a_npz_the_same_bytes(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path / "cell")
    for name in ("folder", "file.npz"):
        sample_checkpoint(checkpoint, tmp_path / name, count=70, nfe=2, labels=[1])
    found = sorted((tmp_path / "folder").iterdir())
    assert [path.name for path in found] == [f"{index:06}.png" for index in range(70)]
    seen = []
    for path in found:
        with Image.open(path) as image:
            seen.append(np.asarray(image))
    np.testing.assert_array_equal(np.stack(seen), images(tmp_path / "file.npz"))


def test_other_files_and_other_samples_are_left_alone(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path / "cell")
    notes = tmp_path / "mine" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    with pytest.raises(ResultsError, match="no folder of samples"):
        sample_checkpoint(checkpoint, notes.parent, count=2, nfe=2)
    assert notes.read_text() == "mine"
    with pytest.raises(ResultsError, match="one picture of 5000 images"):
        sample_checkpoint(checkpoint, tmp_path / "x.png", count=5000, nfe=2)
    out = tmp_path / "x.npz"
    with pytest.raises(ZeroDivisionError):
        sample_checkpoint(checkpoint, out, count=130, nfe=2, said=lambda done, of: 1 // 0)  # type: ignore[arg-type]
    assert len(batches(out)) == 1
    with pytest.raises(ResultsError, match=r"drawn otherwise \(seed was 0, not 1\)"):
        sample_checkpoint(checkpoint, out, count=130, nfe=2, seed=1)
    sample_checkpoint(checkpoint, out, count=130, nfe=2)
    assert len(images(out)) == 130


def test_classes_can_be_as_frequent_as_in_the_set_of_the_cell(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path / "cell")
    with pytest.raises(ModelError, match=r"needs the cell's config\.yaml"):
        sample_checkpoint(checkpoint, tmp_path / "x.npz", count=2, nfe=2, proportional=True)


class Ended(Exception):
    pass


def test_a_cell_that_is_ended_while_it_samples_does_not_sample_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    write_images(tmp_path)
    asked = Cell.model_validate(
        {
            "suite": "s",
            "data": {"name": "folder", "path": str(tmp_path / "images"), "resolution": 16},
            "model": {"family": "DiT", "size": "XXS", "patch": 8, "depth": 1, "width": 32},
            "train": {"steps": 3, "batch_size": 4, "lr": 1e-3},
            "evaluate": {"samples": 10, "nfe": 2, "batch_size": 2, "metrics": ["kid_efficientnet_lite0"]},
        }
    )
    rows: dict[str, dict[str, Any]] = {}
    seen: dict[str, list[int]] = {"whole": [], "first": [], "again": []}
    for name in seen:
        folder = tmp_path / ("whole" if name == "whole" else "cut")
        folder.mkdir(exist_ok=True)

        def watch(event: dict[str, Any], name: str = name) -> None:
            if event["stage"] != "sample":
                return
            seen[name].append(event["step"])
            if name == "first" and event["step"] == 6:
                raise Ended

        try:
            rows[name] = run_cell(asked, folder, watch, Snapshots(folder / "state", steps=1))
        except Ended:
            assert name == "first"
        assert (folder / "made").exists() == (name == "first")
    assert seen == {"whole": [0, 2, 4, 6, 8], "first": [0, 2, 4, 6], "again": [6, 8]}
    assert rows["again"]["kid_efficientnet_lite0"] == rows["whole"]["kid_efficientnet_lite0"]
    assert rows["again"]["sample_nfe_mean"] == 2
    assert "sample_seconds" not in rows["again"], "others took a part of it"
    pictures = [(tmp_path / name / "samples.png").read_bytes() for name in ("whole", "cut")]
    assert pictures[0] == pictures[1]
