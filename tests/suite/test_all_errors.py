"""Everything that is wrong with a suite is said at once, and its data are looked at too."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from pdebench.cli import MOST_ERRORS, main
from pdebench.suite.load import load_suite

MANY = """\
suite: many
data: {name: emoji, path: pictures, resolution: 48}
model: {family: DiT, size: S, patch: 4}
train: {stepz: 5, batch_size: abc, lr: 1e-3}
evaluate: {samples: 16, sampler: hun}
grid:
  model.family: [PDE-SSM-DiT, DiTT]
  data.resolution: [32, 48]
  train.seed: [0, 1]
include:
  - {model.family: PDE-SSM-DiT, model.stats: 4}
"""
TWO_SETS = """\
suite: two
data: {name: folder, path: pictures, resolution: 48}
model: {family: DiT, size: S, patch: 4}
train: {steps: 5, batch_size: 4, lr: 1e-3}
grid:
  data.name: [emoji, folder]
  model.patch: [5, 4]
"""
GOOD = """\
suite: good
data: {name: digits, resolution: 8}
model: {family: DiT, size: S, patch: 4}
train: {steps: 5, batch_size: 4, lr: 1e-3}
"""


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str]]:
    """The exit status of a verb, and its lines on standard error without the word `error`."""
    with patch.object(sys, "argv", ["pdebench", *arguments]), pytest.raises(SystemExit) as ended:
        main()
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    return int(ended.value.code or 0), [line.removeprefix("error: ") for line in lines]


def places(lines: list[str]) -> list[str]:
    """File, line and key of each."""
    return [":".join(line.split(":")[:3]) for line in lines]


def test_keys_values_and_data_that_are_wrong_are_said_at_once_in_the_files_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("many.yaml").write_text(MANY)
    code, lines = said(capsys, "validate", "many.yaml")
    assert code == 2
    assert places(lines) == [
        "many.yaml:2: data.path",
        "many.yaml:4: train.batch_size",
        "many.yaml:4: train.stepz",
        "many.yaml:5: evaluate.sampler",
        "many.yaml:7: grid.model.family[1]",
        "many.yaml:8: grid.data.resolution[1]",
        "many.yaml:11: include[0].model.stats",
    ]
    assert "'emoji' comes from packages and takes no path" in lines[0]
    assert "in the combination" not in lines[0]
    assert "no images of 48 px: set data.resolution to one of 32, 64" in lines[5]


def test_plan_stops_at_the_same_keys_and_asks_for_no_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("many.yaml").write_text(MANY)
    code, lines = said(capsys, "plan", "many.yaml", "--device", "h100")
    assert code == 2
    assert [place.split(": ")[1] for place in places(lines)] == [
        "train.batch_size", "train.stepz", "evaluate.sampler", "grid.model.family[1]", "include[0].model.stats",
    ]  # fmt: skip


def test_a_set_that_is_not_there_is_said_beside_a_combination_that_does_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(TWO_SETS)
    code, lines = said(capsys, "validate", str(path))
    assert code == 2
    assert [line.split(": ")[1] for line in lines] == [
        "data.path",
        "data.path",
        "grid.data.name[0]",  # once: as its data say it, and as each of its cells does
        "grid.model.patch[0]",
    ]
    missing = f"there is no folder {tmp_path / 'pictures'}; a relative path begins at its suite's file"
    assert f"{missing}, in the combination data.name=folder" in lines[1]


def test_a_path_of_set_is_said_to_begin_at_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "two.yaml").write_text(TWO_SETS.replace("[emoji, folder]", "[folder]"))
    _, lines = said(capsys, "validate", "two", "--set", "data.path=other")
    assert f"there is no folder {tmp_path / 'other'}; a relative path of --set begins at the current folder" in lines[0]


def test_a_suite_of_which_nothing_is_wrong_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    assert len(load_suite(path, with_parts=True).planned()) == 1


def test_a_page_of_errors_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD + "".join(f"key{i}: 0\n" for i in range(MOST_ERRORS + 5)))
    code, lines = said(capsys, "validate", str(path))
    assert code == 2
    assert len(lines) == MOST_ERRORS + 2
    assert lines[-1] == "and 4 more"


@pytest.mark.parametrize("key", ["grid.0.data.name", "grid[0].data.name"])
def test_a_grid_of_a_suite_of_one_is_named_without_a_number(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "good.yaml"
    path.write_text(GOOD + "grid: {data.name: [digits]}\n")
    _, lines = said(capsys, "validate", str(path), "--set", f"{key}=[digits]")
    assert "write grid.data.name, since the suite has one grid" in lines[0]
