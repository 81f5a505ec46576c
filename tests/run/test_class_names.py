"""Names of classes: a cell keeps them, the report shows them, and `sample --label` takes them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from PIL import Image

from pdebench.cli import main
from pdebench.models.backbone import create_model
from pdebench.results.class_names import LONGEST, names_column, names_in
from pdebench.run.checkpoint import read_checkpoint, write_checkpoint
from pdebench.suite.config import TrainConfig
from pdebench.tasks.generation.task import GENERATION

NAMES = ("cat", "dog", "n01440764")
SMALL = {"input_size": 16, "in_channels": 3, "num_classes": 3, "depth": 1, "width": 32, "heads": 2}


def checkpoint_of(folder: Path, names: tuple[str, ...] | None = NAMES) -> Path:
    torch.manual_seed(0)
    model = create_model("DiT-XXS/8", **SMALL)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.1)
    folder.mkdir(parents=True, exist_ok=True)
    learner = GENERATION.learner(TrainConfig(steps=1, batch_size=1, lr=1e-3))
    write_checkpoint(model, "DiT-XXS/8", SMALL, learner, folder, None, names)
    return folder / "checkpoint.safetensors"


def ended(*arguments: str) -> int:
    with patch.object(sys, "argv", ["pdebench", *arguments]), pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def drawn(checkpoint: Path, out: Path, *labels: str) -> bytes:
    given = [part for label in labels for part in ("--label", label)]
    assert ended("sample", str(checkpoint), "--out", str(out), "--count", "4", "--nfe", "2", *given) == 0
    with Image.open(out) as image:
        return image.tobytes()


def test_a_class_is_asked_for_by_its_name_or_its_number(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(tmp_path)
    assert read_checkpoint(checkpoint).class_names == NAMES
    by_name = drawn(checkpoint, tmp_path / "name.png", "dog", "n01440764")
    assert by_name == drawn(checkpoint, tmp_path / "number.png", "1", "2")
    assert by_name != drawn(checkpoint, tmp_path / "other.png", "cat")


@pytest.mark.parametrize(
    ("names", "label", "sentence"),
    [
        (
            ("1", "10", "2"),
            "1",
            "--label 1 is a number: class 1, counted from 0, is named '10', and the class named '1' is --label 0",
        ),
        (("7", "cat", "dog"), "1", "--label 1 is a number: class 1, counted from 0, is named 'cat'"),
        (("0", "1", "2"), "1", ""),
        (NAMES, "1", ""),
        (None, "1", ""),
    ],
)
def test_a_number_that_could_be_a_name_is_said_to_be_a_number(
    names: tuple[str, ...] | None, label: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn(checkpoint_of(tmp_path, names), tmp_path / "s.png", label)
    assert "".join(line for line in capsys.readouterr().err.splitlines() if line) == sentence


@pytest.mark.parametrize(
    ("names", "label", "sentence"),
    [
        (NAMES, "dgo", "has no class 'dgo'; did you mean 'dog'?"),
        (NAMES, "zebra", "has no class 'zebra'; known: cat, dog, n01440764"),
        (NAMES, "3", "has no class 3: its classes are 0 to 2"),
        (None, "dog", "keeps no names of its classes: give a number from 0 to 2 with --label"),
    ],
)
def test_a_class_that_there_is_not_is_refused_in_a_sentence(
    names: tuple[str, ...] | None, label: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = checkpoint_of(tmp_path, names)
    assert ended("sample", str(checkpoint), "--out", str(tmp_path / "s.png"), "--label", label) == 2
    said = capsys.readouterr().err.splitlines()
    assert len([line for line in said if line]) == 1
    assert said[-1].endswith(sentence)
    assert not (tmp_path / "s.png").exists()


def test_what_a_shell_makes_of_a_star_is_sampled_one_after_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    several = [str(checkpoint_of(tmp_path / "cells" / name)) for name in ("aa11", "bb22")]
    assert ended("sample", *several, "--out", str(tmp_path / "s.png"), "--count", "2", "--nfe", "2") == 0
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["s-aa11.png", "s-bb22.png"]
    assert capsys.readouterr().out.count("wrote ") == 2


def test_two_cells_of_one_name_are_not_written_over_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    several = [str(checkpoint_of(tmp_path / results / "aa11")) for results in ("one", "two")]
    assert ended("sample", *several, "--out", str(tmp_path / "s.png")) == 2
    assert "lie in a folder 'aa11'" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.png"))


def test_names_that_no_table_bears_are_left_to_the_checkpoint() -> None:
    assert names_in(names_column(("a", "b"))) == ["a", "b"]
    assert names_column(None) is None
    assert names_column(["x" * 20] * LONGEST) is None
    assert names_in(None) == names_in("{") == []


def test_a_cell_keeps_the_names_and_its_report_shows_them(tmp_path: Path) -> None:
    suite = tmp_path / "named.yaml"
    suite.write_text(
        "suite: named\ndata: {name: emoji, resolution: 32}\nmodel: {family: DiT, size: XXS, patch: 8, depth: 1}\n"
        "train: {steps: 1, batch_size: 2, lr: 1e-3}\nevaluate: {samples: 4, nfe: 2}\n"
    )
    assert ended("run", str(suite), "--results", str(tmp_path / "out")) == 0
    (record,) = (tmp_path / "out" / "cells").glob("*/record.json")
    names = names_in(json.loads(record.read_text())["class_names"])
    assert len(names) == json.loads(record.read_text())["classes"]
    assert read_checkpoint(record.with_name("checkpoint.safetensors")).class_names == tuple(names)
    assert f"Classes, as --label takes them: 0 {names[0]}, 1 {names[1]}" in (
        tmp_path / "out" / "report.html"
    ).read_text().replace("&amp;", "&")
