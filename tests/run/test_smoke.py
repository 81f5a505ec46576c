"""Any suite can be tried at toy length without its data."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import pdebench_run

from pdebench.results.store import load_results
from pdebench.suite.load import load_suite, shipped_suites
from pdebench.suite.smoke import smoke_document


@pytest.mark.parametrize("name", sorted(shipped_suites()))
def test_every_shipped_suite_has_a_toy_of_all_its_families(name: str, tmp_path: Path) -> None:
    suite = load_suite(name)
    file = tmp_path / "smoke.yaml"
    file.write_text(smoke_document(suite, tmp_path / "data"))
    toy = load_suite(str(file)).planned()
    assert {cell.model.family for cell in toy} == {cell.model.family for cell in suite.planned()}
    assert all(cell.train.steps <= 4 and cell.model.size == "XXS" for cell in toy)
    assert len(toy) <= len(suite.planned())


def test_packaged_data_keep_what_they_are_labelled_by_and_nothing_is_fetched(tmp_path: Path) -> None:
    whole = tmp_path / "whole.yaml"
    whole.write_text(
        "suite: s\ndata: {name: emoji_sets, set: style, resolution: 64}\nmodel: {family: DiT, size: S, patch: 8}\n"
        "train: {steps: 9, batch_size: 8, lr: 1e-3}\ngrid: {model.family: [DiT]}\n"
    )
    (tmp_path / "toy.yaml").write_text(smoke_document(load_suite(str(whole)), tmp_path / "data"))
    (toy,) = load_suite(str(tmp_path / "toy.yaml")).planned()
    assert (toy.data.name, toy.data.set, toy.data.resolution) == ("emoji_sets", "style", 32)
    (tmp_path / "crops.yaml").write_text(smoke_document(load_suite("crops"), tmp_path / "data"))
    assert {cell.data.name for cell in load_suite(str(tmp_path / "crops.yaml")).planned()} == {"packed", "emoji_sets"}


def test_a_suite_whose_data_are_not_here_runs_from_end_to_end(tmp_path: Path) -> None:
    out = tmp_path / "out"
    only = ("--set", "grid.model.family=[DiT]")
    done = pdebench_run("run", "imagenet256_latent", "--smoke", *only, "--results", out)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = load_results(out).to_dict("records")
    assert (row["status"], row["suite"], row["train.time_scale"]) == ("done", "imagenet256_latent-smoke", 1)
    assert "made up" in row["warnings"]
    missing = pdebench_run("run", "imagenet256_latent", *only, "--results", tmp_path / "real")
    assert missing.returncode == 2
    assert "there is no folder" in missing.stderr


def test_a_suite_of_clips_with_factorised_attention_runs_from_end_to_end(tmp_path: Path) -> None:
    suite, out = tmp_path / "clips.yaml", tmp_path / "out"
    suite.write_text(
        "suite: clips\ndata: {name: shards, path: nowhere, resolution: 64, frames: 16, frame_stride: 2, classes: 9}\n"
        "model: {family: DiT, size: S, patch: 16, patch_frames: 2, attention: factorised}\n"
        "train: {steps: 9, batch_size: 8, lr: 1e-3}\nevaluate: {samples: 64, metrics: [frame_fd_efficientnet_lite0]}\n"
    )
    done = pdebench_run("run", suite, "--smoke", "--results", out)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = load_results(out).to_dict("records")
    assert (row["status"], row["model.attention"], row["data.frames"]) == ("done", "factorised", 8)
    assert row["tokens"] == 4 * 4 * 4
    assert "train clips/s" in done.stdout
