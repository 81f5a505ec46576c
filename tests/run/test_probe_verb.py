"""`pdebench probe` as its user meets it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from runs import pdebench_run
from test_sampling import checkpoint_of

from pdebench.measure.probes import Probe, best, read_probes
from pdebench.models.backbone import create_model
from pdebench.run import probing
from pdebench.run.checkpoint import write_checkpoint
from pdebench.run.probing import Asked, probe_checkpoint
from pdebench.tasks.classification.learner import ClassificationLearner

SUITE = """\
suite: probed
data: {{name: folder, path: {images}, resolution: 8}}
model: {{family: DiT, size: XXS, patch: 4, depth: 2, width: 64}}
train: {{steps: 1, batch_size: 4, lr: 1e-12, seed: 3}}
evaluate: {{samples: 0}}
execution: {{isolation: warm}}
grid:
  model.family: [DiT, None-DiT]
"""


def write_images(folder: Path, classes: int = 2, each: int = 60, held_out: int = 20) -> Path:
    """Noise whose brightness tells its class, roughly."""
    rng = np.random.default_rng(0)
    for split, count in (("train", each), ("val", held_out)):
        for number in range(classes * count):
            label = number % classes
            path = folder / split / f"class{label}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = rng.integers(0, 180, (16, 16, 3)) + rng.integers(0, 40) + 30 * label
            Image.fromarray(noise.clip(0, 255).astype(np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished suite of two cells in `out`, on images of its own."""
    folder = tmp_path_factory.mktemp("probed")
    write_images(folder / "images")
    (folder / "suite.yaml").write_text(SUITE.format(images=folder / "images"))
    with patch("pdebench.run.sweep._publish"):  # who looks at a page here has it made anew
        ran = pdebench_run("run", folder / "suite.yaml", "--results", folder / "out")
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.fixture
def results(home: Path, tmp_path: Path) -> Path:
    """Those results, nothing of which is probed yet."""
    return Path(shutil.copytree(home / "out", tmp_path / "out"))


def checkpoints(results: Path) -> list[Path]:
    return sorted(results.glob("cells/*/checkpoint.safetensors"))


def probed(*arguments: object) -> list[dict[str, Any]]:
    done = pdebench_run("probe", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def test_all_cells_of_a_folder_are_probed_kept_and_reported(results: Path) -> None:
    found = probed(results, "--times", "0.9,0.5")
    assert {one["what"] for one in found} == {path.parent.name for path in checkpoints(results)}
    for one in found:
        assert one["classes"] == 2
        assert one["chance"] == 0.5
        assert [(place["layer"], place["time"]) for place in one["trained"]] == [(0, 0.5), (1, 0.5), (0, 0.9), (1, 0.9)]
        assert one["largest"]["accuracy"] == 0.5
        assert one["best"]["linear"]["accuracy"] > 0.65  # brightness is in any mean of tokens
        assert one["pixels"]["neighbours"]["images"] == 40
        assert one["protocol"]["training_images"] == 120
        low, accuracy, high = (one["best"]["linear"][key] for key in ("low", "accuracy", "high"))
        assert low < accuracy <= high
    page = (results / "report.html").read_text()
    assert "What was learned" in page
    assert (results / "report" / "figures" / "learned-depth-8-px.svg").is_file()


def test_weights_that_did_not_move_know_what_the_initial_ones_do(results: Path) -> None:
    probe = probe_checkpoint(checkpoints(results)[0], Asked(times=(0.3, 0.7), images=80))
    assert probe.protocol.initial_seed == 3
    assert probe.trained == probe.initial
    assert len({one.linear.hits for one in probe.trained}) > 1
    assert best(probe.trained).tuning.hits == max(one.tuning.hits for one in probe.trained)


def test_what_is_kept_is_not_probed_again_and_more_is_added(results: Path) -> None:
    path = checkpoints(results)[0]
    first = probe_checkpoint(path, Asked(times=(0.5,), layers=(1,)))
    kept = path.with_name("probe.json").read_bytes()
    with patch.object(probing, "block_features", side_effect=AssertionError("it was probed again")):
        assert probe_checkpoint(path, Asked(times=(0.5,), layers=(1,))) == first
        with pytest.raises(AssertionError):
            probe_checkpoint(path, Asked(times=(0.5,), layers=(1,), seed=1))
    assert path.with_name("probe.json").read_bytes().startswith(kept[:40])
    more = probe_checkpoint(path, Asked(times=(0.5, 0.6)))
    assert [place for place in more.trained if (place.layer, place.time) == (1, 0.5)] == list(first.trained)
    assert len(more.trained) == 4
    assert probe_checkpoint(path, Asked(times=(0.5,), layers=(1,))) == first  # what is asked, not all that is kept


def test_an_interrupted_probe_goes_on(results: Path) -> None:
    path = checkpoints(results)[0]
    whole = probe_checkpoint(path, Asked(times=(0.2, 0.4)))
    path.with_name("probe.json").unlink()
    asked: list[float] = []
    real = probing.block_features

    def broken(*arguments: Any, **how: Any) -> Any:
        asked.append(how["share"])
        if len(asked) == 5:
            raise KeyboardInterrupt
        return real(*arguments, **how)

    with patch.object(probing, "block_features", side_effect=broken), pytest.raises(KeyboardInterrupt):
        probe_checkpoint(path, Asked(times=(0.2, 0.4)))
    (kept,) = read_probes(path.with_name("probe.json"))
    assert kept.times == [0.2]
    with patch.object(probing, "block_features", side_effect=real) as called:
        assert probe_checkpoint(path, Asked(times=(0.2, 0.4))) == whole
    assert {call.kwargs["share"] for call in called.call_args_list} == {0.4}


def test_neither_batches_nor_memory_change_a_number(results: Path) -> None:
    path = checkpoints(results)[0]
    asked = {"times": (0.5,)}
    found: list[Probe] = []
    for batch_size, memory in ((64, 2**31), (7, 1)):
        path.with_name("probe.json").unlink(missing_ok=True)
        with patch.object(probing, "FEATURES", memory):
            found.append(probe_checkpoint(path, Asked(**asked, batch_size=batch_size)))
    assert found[0] == found[1]
    path.with_name("probe.json").unlink()
    assert probe_checkpoint(path, Asked(**asked, layers=(0,), precision="bf16")).protocol.precision == "bf16"


def test_the_tables_fit_80_columns_and_all_numbers_can_be_written(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path, levels = checkpoints(results)[0], ",".join(f"{level / 11:.3f}" for level in range(1, 10))
    levels_of_one = ("--layers", 1, "--times", levels)
    shown = pdebench_run("probe", path, *levels_of_one, "--out", tmp_path / "all.csv")
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert max(map(len, lines[:-1])) <= 80  # but for the path that was written
    assert sum(line.startswith("best, layer ") for line in lines) == 1
    assert any(line.split()[:2] == ["chance", "50.0"] for line in lines)
    rows = list(csv.DictReader((tmp_path / "all.csv").open()))
    assert len(rows) == 2 * 9 + 1
    assert {row["features"] for row in rows} == {"trained", "initial", "pixels"}
    assert pdebench_run("probe", path, *levels_of_one, "--out", tmp_path / "all.parquet").returncode == 0
    frame = pd.read_parquet(tmp_path / "all.parquet")
    assert frame["linear_accuracy"].tolist() == [float(row["linear_accuracy"]) for row in rows]
    assert pdebench_run("probe", path, *levels_of_one, "--out", tmp_path / "all.csv").returncode == 0  # it is ours


def test_a_checkpoint_alone_is_probed_on_images_that_are_named(tmp_path: Path) -> None:
    path = checkpoint_of(tmp_path / "cell")
    images = write_images(tmp_path / "images", classes=3)
    refused = pdebench_run("probe", path)
    assert refused.returncode == 2
    assert "name the images with --data" in refused.stderr
    (found,) = probed(path, "--data", images, "--resolution", 16, "--times", "0.5", "--images", 90)
    assert found["classes"] == 3
    assert found["own_data"] is False
    assert found["protocol"]["training_images"] == 90
    assert not found["label_unknown"]


def lone(folder: Path) -> Path:
    """Three classes of which the last has one image in all."""
    write_images(folder)
    path = folder / "train" / "class2" / "alone.png"
    path.parent.mkdir()
    Image.fromarray(np.full((16, 16, 3), 255, np.uint8)).save(path)
    return folder


def test_a_class_of_one_image_is_learned_from_and_does_not_end_it(tmp_path: Path) -> None:
    path = checkpoint_of(tmp_path / "cell")
    (found,) = probed(path, "--data", lone(tmp_path / "images"), "--resolution", 16, "--times", "0.5")
    assert found["classes"] == 3
    assert found["best"]["tuning"]["images"] == 24  # a fifth of the others


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("absent",), "there is no absent"),
        (("CELL/config.yaml",), "is not a checkpoint of pdebench"),
        (("empty",), "no finished cell with a checkpoint"),
        (("CELL/checkpoint.safetensors", "--layers", "2"), "has no layer 2: its layers are 0 to 1"),
        (("out", "--layers", "0,7"), "has no layer 7: its layers are 0 to 1"),
        (("CELL/checkpoint.safetensors", "--layers", "one"), "must be numbers with commas"),
        (("CELL/checkpoint.safetensors", "--times", "1"), "1 is not between 0, which is noise, and 1"),
        (("out", "--times", "0.5,0"), "0 is not between 0"),
        (("out", "--times", "nan"), "nan is not between 0"),
        (("out", "--precision", "fp8"), "take fp32, bf16 or auto"),
        (("out", "--device", "cuda:99"), "there is no such device here"),
        (("out", "--resolution", "16"), "name them with --data"),
        (("out", "--out", "numbers.txt"), "ends in .csv or .parquet"),
        (("out", "--out", "nowhere/numbers.csv"), "there is no folder nowhere"),
        (("out", "--out", "mine.csv"), "is something else than what would be written there"),
        (("out", "--data", "images", "--resolution", "16"), "images of 3 channels of 16 x 16 px, and the model takes"),
        (("out", "--data", "plain", "--resolution", "8"), "has no labels, so there is nothing to probe for"),
        (("out", "--images", "1"), "--images"),
    ],
)
def test_what_cannot_be_probed_is_one_sentence(
    home: Path, results: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(results.parent)
    Path("empty").mkdir()
    Path("images").symlink_to(home / "images")
    Path("mine.csv").write_text("somebody's\n")
    for number in range(20):
        path = Path("plain") / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((16, 16, 3), number, np.uint8)).save(path)
    cell = str(checkpoints(results)[0].parent)
    refused = pdebench_run("probe", *(one.replace("CELL", cell) for one in arguments))
    assert refused.returncode == 2, refused.stdout
    assert said in refused.stderr
    if "--images" not in arguments:  # the command line's own words
        assert [line.partition(": ")[0] for line in refused.stderr.splitlines() if not line.startswith("note: ")] == [
            "error"
        ]
    assert not list(results.glob("cells/*/probe.json"))


@pytest.mark.parametrize(("classes", "each", "said"), [(1, 8, "are of one class"), (5, 1, "each of another class")])
def test_images_that_tell_nothing_apart_are_refused(tmp_path: Path, classes: int, each: int, said: str) -> None:
    path = checkpoint_of(tmp_path / "cell")
    write_images(tmp_path / "images", classes=classes, each=each, held_out=3)
    refused = pdebench_run("probe", path, "--data", tmp_path / "images", "--resolution", 16)
    assert refused.returncode == 2, refused.stdout
    assert said in refused.stderr
    assert [line.partition(": ")[0] for line in refused.stderr.splitlines() if not line.startswith("note: ")] == [
        "error"
    ]


def test_a_damaged_file_of_probes_and_changed_images_are_named(results: Path, home: Path) -> None:
    path = checkpoints(results)[0]
    path.with_name("probe.json").write_text('{"probes": [{"model": 3}]}')
    refused = pdebench_run("probe", path)
    assert refused.returncode == 2
    assert "is not a file of probes" in refused.stderr
    path.with_name("probe.json").unlink()
    moved = home / "images" / "val" / "class0" / "0.png"
    content = moved.read_bytes()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(moved)
    try:
        refused = pdebench_run("probe", path)
    finally:
        moved.write_bytes(content)
    assert refused.returncode == 2
    assert "changed since" in refused.stderr


def test_a_classification_checkpoint_is_shown_images_without_noise(tmp_path: Path) -> None:
    torch.manual_seed(0)
    build: dict[str, Any] = {"input_size": 16, "in_channels": 3, "num_classes": None}
    build |= {"depth": 2, "width": 32, "heads": 2, "head": "vector", "out_channels": 2, "conditioned": False}
    model, folder = create_model("DiT-XXS/8", **build), tmp_path / "cell"
    folder.mkdir()
    write_checkpoint(model, "DiT-XXS/8", build, ClassificationLearner(), folder)
    path = folder / "checkpoint.safetensors"
    told = ("--data", write_images(tmp_path / "images"), "--resolution", 16)
    (found,) = probed(path, *told)
    assert [(one["layer"], one["time"]) for one in found["trained"]] == [(0, 1.0), (1, 1.0)]
    assert found["best"]["linear"]["accuracy"] > 0.8
    assert found["trained"] == found["initial"]  # of the same seed, and nothing was trained
    assert (folder / "probe.json").is_file()
    shown = pdebench_run("probe", path, *told)
    assert "t=" not in shown.stdout
    refused = pdebench_run("probe", path, *told, "--times", "0.5")
    assert refused.returncode == 2
    assert "shown images without noise: leave --times out" in refused.stderr
