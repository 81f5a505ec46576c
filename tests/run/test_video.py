"""Clips from end to end: trained on, drawn, judged, shown and scored again; interrupted, to the same bits."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from runs import pdebench_run
from safetensors.torch import load_file

from pdebench.data import registry
from pdebench.data.picture_folder import FrameFolders
from pdebench.errors import MetricError, ModelError, ResultsError
from pdebench.metrics.extractor_weights import I3D_VARIABLE
from pdebench.results.store import Results, load_results
from pdebench.run.cell import run_cell
from pdebench.run.sampling import sample_checkpoint
from pdebench.suite.config import Cell, DataConfig
from pdebench.tasks.generation.task import GENERATION
from pdebench.train.state import Snapshots

sys.path += [str(Path(__file__).parents[1] / name) for name in ("data", "metrics")]

from clip_kinds import frames, write_frames, write_video
from test_video_metrics import StandIn

FRAMES, SIDE = 10, 16


@pytest.fixture(autouse=True)
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for I3D's weights, and a cache of the test's own."""
    path = tmp_path / "i3d_torchscript.pt"
    torch.jit.script(StandIn()).save(str(path))
    monkeypatch.setenv(I3D_VARIABLE, str(path))
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    return path


def cell(family: str, **data: Any) -> Cell:
    return Cell.model_validate(
        {
            "suite": "s",
            "data": {"name": "sprites_video", "resolution": SIDE, "frames": FRAMES, "flip": False, **data},
            "model": {"family": family, "size": "XXS", "patch": 8, "patch_frames": 2, "depth": 2, "width": 64},
            "train": {"steps": 4, "batch_size": 4, "lr": 1e-3, "label_dropout": 0.5},
            "evaluate": {"samples": 6, "nfe": 2, "batch_size": 4, "guidance": 1.5, "metrics": ["fvd"]},
        }
    )


class Cut(Exception):
    """The machine went down."""


class CutOff(Snapshots):
    """Snapshots after every step, the second of which is the last that the machine lives to see."""

    def save(self, step: int, state: dict[str, Any]) -> None:
        super().save(step, state)
        if step == 2:
            raise Cut


@pytest.mark.parametrize("family", ["DiT", "PDE-SSM-DiT"])
def test_moving_sprites_are_learned_and_drawn_and_a_kill_changes_no_bit(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pdebench.data.sprites_video.COUNTS", {"train": 24, "validation": 8})
    asked, rows = cell(family), {}
    for name in ("whole", "cut"):
        folder = tmp_path / name
        folder.mkdir()
        if name == "cut":
            with pytest.raises(Cut):
                run_cell(asked, folder, snapshots=CutOff(folder / "state", steps=1))
        rows[name] = run_cell(asked, folder, snapshots=Snapshots(folder / "state", steps=1))
    whole, cut = rows["whole"], rows["cut"]
    assert cut["resumed_from_step"] == 2
    assert whole["resumed_from_step"] is None
    weights = [load_file(tmp_path / name / "checkpoint.safetensors") for name in rows]
    assert all(torch.equal(one, weights[1][key]) for key, one in weights[0].items())
    for column in ("val_loss", "fvd", "metric_reference", "train_loss", "data_checksum"):
        assert cut[column] == whole[column], column
    sheets = [(tmp_path / name / "samples.webp").read_bytes() for name in rows]
    assert sheets[0] == sheets[1]
    assert not (tmp_path / "whole" / "samples.png").exists()
    assert whole["tokens"] == 5 * 2 * 2
    assert whole["train_images"] == 24
    assert whole["metric_reference"] == "sprites_video/train/10x16px (24 clips)"
    assert whole["fvd"] > 0
    with Image.open(tmp_path / "whole" / "samples.webp") as sheet:
        assert sheet.n_frames == FRAMES
        assert sheet.size == (4 * 18 + 2, 2 * 18 + 2), "six clips in rows of four"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Clips of two classes, as videos and as folders of frames."""
    for number in range(12):
        split, kind = ("val" if number < 4 else "train"), ("run" if number % 2 else "jump")
        made = frames(2 * FRAMES, seed=number)
        at = tmp_path / "clips" / split / kind / f"{number:02}"
        write_video(at.with_suffix(".mp4"), made) if number % 3 else write_frames(at, made)
    return tmp_path / "clips"


def test_a_suite_of_videos_is_run_reported_sampled_and_scored_again(folder: Path, tmp_path: Path) -> None:
    suite, out = tmp_path / "video.yaml", tmp_path / "out"
    document = cell("DiT", name="clips", path=str(folder)).config()
    document["model"] = {"size": "XXS", "patch": 8, "patch_frames": 2, "depth": 1, "width": 64}
    suite.write_text(json.dumps({**document, "suite": "video", "grid": {"model.family": ["DiT", "Mamba-DiT"]}}))
    done = pdebench_run("run", suite, "--results", out)
    assert done.returncode == 0, done.stdout + done.stderr
    table = load_results(out).set_index("model.family")
    assert (table["status"] == "done").all()
    assert list(table["train_images"]) == [16, 16], "two windows each of 8 clips"
    assert (table["fvd"] > 0).all()
    page = (out / "report.html").read_text()
    assert page.count('<img class="moving" src="data:image/webp;base64,') == 3, "real clips, then each family's"
    assert page.count('<img class="still" src="data:image/webp;base64,') == 3
    assert '<button type="button">fvd</button>' in page
    assert f"{SIDE} px, {FRAMES} frames" in page

    identity = table.loc["DiT", "cell"]
    before = table.loc["DiT", "fvd"]
    checkpoint = Results(out).cell(identity) / "checkpoint.safetensors"
    again = pdebench_run("evaluate", out, "--json")
    assert again.returncode == 0, again.stderr
    scores = {one["what"]: one["columns"]["fvd"] for one in json.loads(again.stdout)}
    assert scores[identity] == pytest.approx(before, rel=1e-6)

    moving, drawn = tmp_path / "drawn.webp", tmp_path / "drawn"
    for path in (moving, drawn):
        done = pdebench_run("sample", checkpoint, "--count", 4, "--nfe", 2, "--label", 1, "--out", path)
        assert done.returncode == 0, done.stderr
    rows = FrameFolders(drawn)
    assert rows.shape == (4, 3, FRAMES, SIDE, SIDE)
    with Image.open(moving) as sheet:
        sheet.seek(FRAMES - 1)
        last = np.asarray(sheet.convert("RGB"))
    assert np.array_equal(last[2:18, 20:36], rows[1][:, -1].transpose(1, 2, 0))
    scored = pdebench_run("evaluate", drawn, "--reference", suite, "--metrics", "fvd", "--json")
    assert scored.returncode == 0, scored.stderr
    (found,) = json.loads(scored.stdout)
    assert found["columns"]["metric_reference"] == f"clips/train/{FRAMES}x{SIDE}px (16 clips)"
    assert found["columns"]["fvd"] > 0


def test_what_clips_cannot_be_written_as_is_refused(folder: Path, tmp_path: Path) -> None:
    asked = cell("DiT", name="clips", path=str(folder))
    asked = asked.with_sections(evaluate=GENERATION.evaluation(), train=asked.train.model_copy(update={"steps": 1}))
    (tmp_path / "cell").mkdir()
    run_cell(asked, tmp_path / "cell")
    checkpoint = tmp_path / "cell" / "checkpoint.safetensors"
    for name, why in (("x.png", "no PNG moves"), ("x.npz", "ADM's file holds images")):
        with pytest.raises(ResultsError, match=f"these are clips, and {why}: name a .webp or a folder"):
            sample_checkpoint(checkpoint, tmp_path / name, count=2, nfe=2)
    with pytest.raises(ResultsError, match="one picture of 300 clips"):
        sample_checkpoint(checkpoint, tmp_path / "x.webp", count=300, nfe=2)
    with pytest.raises(ModelError, match="no class 2"):
        sample_checkpoint(checkpoint, tmp_path / "x.webp", count=2, nfe=2, labels=[2])


def test_a_reference_of_clips_is_a_folder_and_metrics_of_images_are_refused_before_anything_is_drawn(
    folder: Path, tmp_path: Path
) -> None:
    asked = cell("DiT", name="clips", path=str(folder))
    asked = asked.with_sections(evaluate=GENERATION.evaluation(), train=asked.train.model_copy(update={"steps": 1}))
    (tmp_path / "cell").mkdir()
    run_cell(asked, tmp_path / "cell")
    checkpoint = tmp_path / "cell" / "checkpoint.safetensors"
    command = ("evaluate", checkpoint, "--samples", 6, "--set", "nfe=2", "--resolution", SIDE, "--reference")
    scored = pdebench_run(*command, folder, "--frames", FRAMES, "--metrics", "fvd", "--json")
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)[0]["columns"]["metric_reference"] == f"clips/train/{FRAMES}x{SIDE}px (16 clips)"
    for number in range(30):
        (tmp_path / "stills").mkdir(exist_ok=True)
        Image.fromarray(frames(1, seed=number)[0]).save(tmp_path / "stills" / f"{number}.png")
    refused = pdebench_run(*command, tmp_path / "stills", "--metrics", "fd_efficientnet_lite0")
    assert refused.returncode == 2
    said = " ".join(refused.stderr.split())
    assert "metric 'fd_efficientnet_lite0' is of images, and the model of" in said
    assert "has clips: take one of clips" in said


def test_what_cannot_be_measured_of_clips_is_said_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = cell("DiT")

    def check(data: DataConfig, *metrics: str) -> None:
        evaluate = asked.evaluate.model_copy(update={"metrics": metrics})
        source = registry.SOURCES[data.name]
        GENERATION.check(source, data, registry.class_count(data), asked.train, evaluate)

    check(asked.data, "fvd")
    with pytest.raises(MetricError, match="'fid' is of images"):
        check(asked.data, "fid")
    with pytest.raises(MetricError, match="at least 9 frames"):
        check(asked.data.model_copy(update={"frames": 8}), "fvd")
    with pytest.raises(MetricError, match="'fvd' is of clips, and data set 'emoji' has still images"):
        check(DataConfig(name="emoji", resolution=32), "fvd")
    monkeypatch.delenv(I3D_VARIABLE)
    with pytest.raises(MetricError, match="set PDEBENCH_I3D_WEIGHTS to its path"):
        check(asked.data, "fvd")


@pytest.mark.parametrize("kind", ["clips", "shards"])
def test_clips_that_are_all_too_short_end_a_run_before_its_first_cell(kind: str, tmp_path: Path) -> None:
    made = tmp_path / "set"
    for split in ("train", "val"):
        if kind == "clips":
            write_frames(made / split / "a", frames(4))
            continue
        content = write_video(tmp_path / "a.mp4", frames(4)).read_bytes()
        made.mkdir(exist_ok=True)
        with tarfile.open(made / f"{split}.tar", "w") as archive:
            member = tarfile.TarInfo("a.mp4")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    document = {**cell("DiT", name=kind, path=str(made)).config(), "evaluate": {}}
    suite, out = tmp_path / "video.yaml", tmp_path / "out"
    suite.write_text(json.dumps(document))
    done = pdebench_run("run", suite, "--results", out)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"none of the 2 clips in {made} can be used" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list(out.glob("cells/*/record.json"))
