"""`pdebench doctor --evaluation`: computed and published values side by side, with a random network for Inception."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from pdebench.cli import app
from pdebench.doctor import evaluation
from pdebench.errors import DataError, MetricError
from pdebench.metrics import extractor_weights, features
from pdebench.metrics.extractor_weights import INCEPTION_VARIABLE
from pdebench.metrics.metric import DIMENSIONS, INCEPTION

SIDES = {"pooled": 6, "spatial": 5, "logits": 4}
FILES = ("samples.npz", "reference.npz")


class Network(nn.Module):
    def __init__(self, weights: Path) -> None:
        super().__init__()

    def forward(self, images: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        pixels = images.float().flatten(1) / 255
        return {layer: pixels[:, : SIDES[layer]].contiguous() for layer in layers}


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "weights"
    weights.touch()
    monkeypatch.setenv(INCEPTION_VARIABLE, str(weights))
    monkeypatch.setitem(extractor_weights.SHA256, INCEPTION, extractor_weights._sha256(weights))
    monkeypatch.setitem(features._NETWORKS, INCEPTION, Network)
    monkeypatch.setitem(DIMENSIONS, INCEPTION, SIDES)  # type: ignore[arg-type]
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for name, count in zip(FILES, (40, 30), strict=True):
        np.savez(name, random.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8))


def doctor(*more: str) -> Result:
    return CliRunner().invoke(app, ["doctor", "--evaluation", *FILES, *more])


def test_any_pair_of_files_is_evaluated_where_nothing_was_published() -> None:
    answer = doctor("--json")
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    assert [line["score"] for line in found["lines"]] == ["is_adm", "fid", "sfid", "precision", "recall"]
    assert all(line["published"] is None and line["computed"] > 0 for line in found["lines"])
    assert "splits of 5,000" in found["notes"][0]
    shown = doctor()
    assert shown.exit_code == 0
    assert "samples.npz against reference.npz (30 images)" in shown.stdout
    assert "published" in shown.stdout


def test_a_published_value_is_met_or_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = {line["score"]: line["computed"] for line in json.loads(doctor("--json").stdout)["lines"]}
    near = {"fid": computed["fid"] * 1.0009, "recall": computed["recall"] + 0.004}
    monkeypatch.setattr(evaluation, "PUBLISHED", {FILES: near})
    answer = doctor()
    assert answer.exit_code == 0
    assert "-0.0040" in answer.stdout
    assert "missed" not in answer.stdout
    for score, value in (("fid", computed["fid"] * 1.0011), ("recall", computed["recall"] + 0.006)):
        monkeypatch.setattr(evaluation, "PUBLISHED", {FILES: near | {score: value}})
        answer = doctor()
        assert answer.exit_code == 1
        assert answer.stdout.count("missed") == 1
    assert json.loads(doctor("--json").stdout)["agrees"] is False


def test_a_reference_of_statistics_alone_says_what_is_left_out() -> None:
    np.savez(FILES[1], mu=np.full(6, 0.5), sigma=np.eye(6) / 12)
    answer = doctor()
    assert answer.exit_code == 0
    assert "without precision_recall: reference.npz has no images" in answer.stdout
    assert "without sfid: reference.npz has no images, or mu_s and sigma_s" in answer.stdout
    assert "statistics of the reference: given" in answer.stdout


def test_missing_weights_or_files_end_it_before_anything_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.Module, "__call__", lambda *_, **__: pytest.fail("a network was asked"))
    monkeypatch.setenv(INCEPTION_VARIABLE, "absent")
    answer = doctor()
    assert isinstance(answer.exception, MetricError)
    assert answer.exception.exit_code == 2
    Path(FILES[0]).unlink()
    assert isinstance(doctor().exception, DataError)


def test_the_published_row_is_that_of_adms_readme() -> None:
    (row,) = evaluation.PUBLISHED.values()
    rounded = {score: round(value, 4) for score, value in row.items()}
    assert rounded == {"is_adm": 215.837, "fid": 3.9426, "sfid": 6.1404, "precision": 0.8265, "recall": 0.5309}
