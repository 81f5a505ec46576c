"""`pdebench evaluate`: the scores of a run, without running it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image
from runs import pdebench_run, write_images, write_suite
from test_sampling import checkpoint_of

from pdebench.errors import DataError, MetricError
from pdebench.metrics import quality
from pdebench.metrics.gaussian import Gaussian
from pdebench.metrics.reference import Reference, read_reference
from pdebench.results.store import Results
from pdebench.run.evaluating import evaluate_samples, interval
from pdebench.run.sampling import sample_checkpoint

KID, FD = "kid_efficientnet_lite0", "fd_efficientnet_lite0"
ONE = ("--set", "grid.model.family=[DiT]", "--set", "evaluate.samples=6")


def evaluated(*arguments: object) -> list[dict[str, Any]]:
    done = pdebench_run("evaluate", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def record(results: Path) -> dict[str, Any]:
    folder = Results(results)
    (cell,) = folder.plan()
    found = folder.record(cell)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("evaluated")
    write_images(folder)
    return write_suite(folder)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, suite: Path) -> None:
    monkeypatch.setenv("PDEBENCH_CACHE", str(suite.parent / "cache"))


def test_scores_that_are_added_are_those_of_a_run_that_asked_for_them(suite: Path, tmp_path: Path) -> None:
    asked, later = tmp_path / "asked", tmp_path / "later"
    metrics = ("--set", f"evaluate.metrics=[{KID}]")
    assert pdebench_run("run", suite, "--results", asked, *ONE, *metrics, report=False).returncode == 0
    assert pdebench_run("run", suite, "--results", later, *ONE).returncode == 0
    before = record(later)
    (found,) = evaluated(later, "--metrics", KID)
    after = record(later)
    for column in (KID, "metric_samples", "metric_reference", "metric_weights_sha256", "metric_reference_count"):
        assert after[column] == record(asked)[column], column
    assert found["columns"][KID] == after[KID]
    assert {key: value for key, value in after.items() if key in before and key != "checksum"} == {
        key: value for key, value in before.items() if key != "checksum"
    }
    assert not list(later.glob("cells/*/made"))
    assert f"{after[KID]:.4f}"[:4] in (later / "table.csv").read_text()

    (checkpoint,) = later.glob("cells/*/checkpoint.safetensors")  # of twenty images of either class
    by_turns, as_often = tmp_path / "turns.npz", tmp_path / "often.npz"
    sample_checkpoint(checkpoint, by_turns, count=6, nfe=2)
    sample_checkpoint(checkpoint, as_often, count=6, nfe=2, proportional=True)
    assert by_turns.stat().st_size == as_often.stat().st_size
    assert by_turns.read_bytes() != as_often.read_bytes()

    np.savez(tmp_path / "large.npz", arr_0=np.zeros((6, 32, 32, 3), np.uint8))
    refused = pdebench_run("evaluate", later, "--reference", tmp_path / "large.npz")
    assert refused.returncode == 2
    assert "samples are 16 x 16 px" in refused.stderr

    evaluated(later, "--metrics", FD, "--samples", 9)  # what was there is computed again, of the same samples
    again = record(later)
    assert again["metric_samples"] == 9
    assert again[FD] > 0
    assert again[KID] != after[KID]
    (path,) = later.glob("cells/*/evaluations.json")
    (kept,) = json.loads(path.read_text())["evaluations"]
    assert (kept[KID], kept["metric_samples"]) == (after[KID], 6)


def test_a_checkpoint_a_folder_and_a_file_of_the_same_samples_score_alike(suite: Path, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path / "cell")
    against = ("--reference", suite.parent / "images", "--resolution", 16, "--metrics", f"{FD},{KID}")
    (by_checkpoint,) = evaluated(checkpoint, *against, "--samples", 8, "--set", "nfe=4")
    for name in ("folder", "file.npz"):
        sample_checkpoint(checkpoint, tmp_path / name, count=8, nfe=4)
        (found,) = evaluated(tmp_path / name, *against)
        assert found["columns"] == by_checkpoint["columns"]
    assert (tmp_path / "cell" / "samples_8_seed0.npz").is_file()


def test_seeds_have_an_interval(suite: Path, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path / "cell")
    against = ("--reference", suite.parent / "images", "--resolution", 16, "--metrics", FD)
    shown = pdebench_run("evaluate", checkpoint, *against, "--samples", 5, "--set", "nfe=2", "--seeds", 3)
    assert shown.returncode == 0, shown.stderr
    assert "over 3 seeds" in shown.stdout
    assert shown.stdout.count("few images: ") == 1
    assert "(1,280) is biased upwards" in shown.stdout
    assert "5 samples, 16 x 16 px, against folder/train/16px (" in shown.stdout
    assert interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2 - 2.4841, 2 + 2.4841), abs=1e-3)


def test_statistics_alone_serve_as_a_reference_and_say_what_they_lack(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "statistics.npz", mu=np.zeros(2048), sigma=np.eye(2048))
    np.savez(tmp_path / "samples.npz", arr_0=rng.integers(0, 255, (6, 16, 16, 3), dtype=np.uint8))
    with pytest.raises(MetricError, match=r"compares with images, which statistics\.npz has not"):
        evaluate_samples(tmp_path / "samples.npz", read_reference(tmp_path / "statistics.npz"), [KID])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing.npz", "--reference", "r.npz", "--metrics", "fid"), "there is no nothing.npz"),
        (("pictures", "--reference", "r.npz", "--metrics", "fid"), "r.npz is not there"),
        (("pictures",), "needs --reference and --metrics: see"),
        (("pictures", "--metrics", KID), "needs --reference: see"),
        (("pictures", "--reference", "good.npz", "--metrics", f"{KID},", "fidd"), "did you mean"),
        (("pictures", "--reference", "good.npz"), "needs --metrics"),
        (("pictures", "--reference", "good.npz", "--metrics", KID), "2.png is 8 x 8 px, others are 16 x 16"),
        (("pictures", "--reference", "good.npz", "--metrics", "fidd"), "did you mean"),
        (("pictures", "--reference", "good.npz", "--metrics", KID, "--set", "nfe=3"), "--set is for a checkpoint"),
        (("results", "--metrics", KID), "no finished cell"),
        (("results", "--metrics", KID, "--seeds", "3"), "--seeds is for a checkpoint"),
        (("pictures", "--reference", "good.npz", "--metrics", KID, "--samples", "9"), "are there"),
        (("absent", "--metrics", KID), "there is no absent"),
        (("a.safetensors", "--reference", "good.npz", "--metrics", KID, "--set", "seed=3"), "KEY one of diffusion"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("good.npz", arr_0=rng.integers(0, 255, (6, 16, 16, 3), dtype=np.uint8))
    Path("pictures").mkdir()
    for index, side in enumerate((16, 16, 8, 16, 16)):
        Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8)).save(f"pictures/{index}.png")
    Path("results/cells").mkdir(parents=True)
    Path("a.safetensors").touch()
    refused = pdebench_run("evaluate", *arguments)
    assert refused.returncode == 2, refused.stdout
    assert said in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("samples", ["pictures", "samples.npz", "a.safetensors"])
@pytest.mark.parametrize("reference", ["images", "good.npz"])
def test_samples_are_not_compared_with_images_of_another_size(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: str, reference: str
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("good.npz", arr_0=np.zeros((6, 32, 32, 3), np.uint8))
    Path("images").symlink_to(suite.parent / "images")
    if samples == "a.safetensors":
        checkpoint_of(tmp_path / "cell").rename(samples)
    else:
        sample_checkpoint(checkpoint_of(tmp_path / "cell"), Path(samples), count=6, nfe=2)
    refused = pdebench_run("evaluate", samples, "--reference", reference, "--resolution", 32, "--metrics", FD)
    assert refused.returncode == 2, refused.stdout
    assert "samples are 16 x 16 px" in refused.stderr
    assert "32 x 32 px" in refused.stderr
    assert "--resolution 16" in refused.stderr
    assert refused.stdout == ""
    if reference == "images":  # what is read has a remark, and no line of code stands before it
        note, _ = refused.stderr.splitlines()
        assert note.startswith("note: 40 of 40 images in ")
        assert note.endswith("are smaller than 32 px and were enlarged: remove them or take a lower resolution")
    assert not list(tmp_path.glob("samples_*"))  # nothing was drawn for nothing


def test_few_images_are_said_of_frechet_distances_alone() -> None:
    few, many = {"metric_small_sample": True}, {"metric_small_sample": False}
    assert "(2,048)" in quality.small_sample(["fid", KID], few)
    assert quality.small_sample([KID], few) == quality.small_sample(["fid"], many) == ""
    enough = {**few, "metric_samples": 1500, "metric_reference_count": 1500}  # of one network's 1,280, not of Inception
    assert quality.small_sample(["fd_efficientnet_lite0", "is"], enough) == ""


def test_both_sizes_are_said(suite: Path, tmp_path: Path) -> None:
    samples = tmp_path / "samples.npz"
    np.savez(samples, arr_0=np.zeros((6, 16, 16, 3), np.uint8))
    (found,) = evaluated(samples, "--reference", suite.parent / "images", "--resolution", 16, "--metrics", KID)
    assert (found["size"], found["reference_size"]) == ("16 x 16 px", "16 x 16 px")


def test_statistics_alone_do_not_say_their_size_and_an_inception_score_compares_with_nothing() -> None:
    statistics = Reference(
        "edm.npz", None, "", {("inception_v3_2015", "pooled"): Gaussian(np.zeros(2048), np.eye(2048))}
    )
    quality.check_size(["fid"], (16, 16), statistics)
    images = Reference("good.npz", np.zeros((6, 3, 32, 32), np.uint8))
    quality.check_size(["is"], (16, 16), images)
    with pytest.raises(MetricError, match=r"32 x 32 px: .* take a reference of the samples' size, or"):
        quality.check_size(["is", "fid"], (16, 24), images)


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", arr_0=np.zeros((6, 16, 16, 3), np.uint8))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="has no pictures"):
        evaluate_samples(tmp_path / "empty", read_reference(tmp_path / "good.npz"), [KID])


def test_cells_of_a_task_that_draws_nothing_are_named_before_anything_is_asked_of_them(tmp_path: Path) -> None:
    write_images(tmp_path)
    path = tmp_path / "classified.yaml"
    path.write_text(
        "suite: classified\ntask: classification\n"
        f"data: {{name: folder, path: {tmp_path / 'images'}, resolution: 16}}\n"
        "model: {family: DiT, size: XXS, patch: 8, depth: 1, width: 64}\n"
        "train: {steps: 1, batch_size: 4, lr: 1e-3}\n"
    )
    with patch("pdebench.run.sweep._publish"):  # nobody looks at its page
        assert pdebench_run("run", path, "--results", tmp_path / "out").returncode == 0
    for more in ((), ("--metrics", KID), ("--metrics", KID, "--samples", 8)):
        refused = pdebench_run("evaluate", tmp_path / "out", *more)
        assert refused.returncode == 2
        assert "is of the task classification, which draws no samples" in refused.stderr
