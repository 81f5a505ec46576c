"""What is read from disk may be anybody's: none of it runs code, leads out of its folder, or ends in a traceback."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from pdebench.cli import main
from pdebench.data.cache import cache_folder, cached
from pdebench.data.source import Sample
from pdebench.errors import ResultsError, SuiteError, printable
from pdebench.files import state_file
from pdebench.metrics import kept
from pdebench.models.backbone import create_model
from pdebench.report.html import write_report
from pdebench.results.lease import held_elsewhere
from pdebench.results.store import load_results
from pdebench.results.tables import write_tables
from pdebench.run.checkpoint import write_checkpoint
from pdebench.suite.config import TrainConfig
from pdebench.suite.load import load_suite
from pdebench.suite.validation import cell_from_yaml
from pdebench.tasks.generation.task import GENERATION
from pdebench.terminal.progress import LiveTable
from pdebench.train.batches import Images
from pdebench.train.loop import train
from pdebench.train.state import Snapshots

CELL = "0123456789ab"
RECORD = {
    "suite": "tiny",
    "cell": CELL,
    "status": "done",
    "message": None,
    "finished_at": "2026-01-01T00:00:00+00:00",
    "model.family": "DiT",
    "params": 3,
    "val_loss": 0.5,
}
SUITE = """\
suite: tiny
data: {name: photos, resolution: 32}
model: {family: DiT, size: XXS, patch: 8}
train: {steps: 3, batch_size: 4, lr: 1e-3}
"""


class Touch:
    """Makes a file when it is un-pickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that appears when crafted code has run."""
    return tmp_path / "ran"


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence with which `pdebench` turns these arguments down."""
    argv, sys.argv = sys.argv, ["pdebench", *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = argv
    said = capsys.readouterr().err
    assert ended.value.code == 2, said
    assert said.startswith("error: ")
    assert len(said.strip().splitlines()) == 1
    assert "\x1b" not in said
    return said


def results(folder: Path, record: object = RECORD, plan: object = (CELL,)) -> Path:
    """A results folder as somebody else may have made it."""
    cell = folder / "out" / "cells" / CELL
    cell.mkdir(parents=True)
    (cell / "record.json").write_text(record if isinstance(record, str) else json.dumps(record))
    (folder / "out" / "plan.json").write_text(plan if isinstance(plan, str) else json.dumps(plan))
    return folder / "out"


# checkpoints


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    build = {"input_size": 16, "in_channels": 3, "num_classes": 2, "depth": 1, "width": 32, "heads": 2}
    learner = GENERATION.learner(TrainConfig(steps=1, batch_size=1, lr=1e-3))
    write_checkpoint(create_model("DiT-XXS/8", **build), "DiT-XXS/8", build, learner, tmp_path)
    return tmp_path / "checkpoint.safetensors"


def test_a_checkpoint_that_is_a_pickle_does_not_run(
    tmp_path: Path, mark: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crafted = pickle.dumps(Touch(mark))
    pickle.loads(crafted)
    assert mark.exists(), "the attack works where it is let"
    mark.unlink()
    checkpoint.write_bytes(crafted)
    assert "is not a checkpoint of pdebench" in refused(capsys, "sample", checkpoint, "--out", tmp_path / "s.png")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("os:system", {}),
        ("../../etc-XXS/8", {}),
        ("\x1b[2JDiT-XXS/8", {}),
        ("PDE-SSM-DiT-XXS/8", {}),
        ("DiT-XXS/8", {"depth": 10**12}),
        ("DiT-XXS/8", {"width": 10**12}),
        ("DiT-XXS/8", {"input_size": 10**9}),
        ("DiT-XXS/8", {"num_classes": 10**12}),
        ("DiT-XXS/8", {"mlp_hidden": 10**12}),
        ("DiT-XXS/8", {"in_channels": -1}),
        ("DiT-XXS/8", {"in_channels": "3"}),
        ("DiT-XXS/8", {"__class__": "os.system"}),
        ("DiT-XXS/8", [1]),
        ("DiT-XXS/8", "[" * 100_000),
    ],
)
def test_what_a_checkpoint_says_of_itself_is_not_believed(
    checkpoint: Path, name: str, build: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """No other code is imported, and nothing of the size that it claims is built."""
    honest = {"input_size": 16, "in_channels": 3, "num_classes": 2, "depth": 1, "width": 32, "heads": 2}
    about = build if isinstance(build, str) else json.dumps(honest | build if isinstance(build, dict) else build)
    save_file(load_file(checkpoint), checkpoint, {"model": name, "build": about})
    refused(capsys, "sample", checkpoint, "--out", checkpoint.with_name("s.png"))
    assert not checkpoint.with_name("s.png").exists()


@pytest.mark.parametrize("claim", [{"time_scale": "NaN"}, {"time_scale": "[1]"}, {"label_dropout": '"x"'}])
def test_what_a_checkpoint_says_of_its_training_is_checked(
    checkpoint: Path, claim: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with safe_open(checkpoint, framework="pt") as file:
        about = file.metadata()
    save_file(load_file(checkpoint), checkpoint, about | claim)
    assert "is not a checkpoint" in refused(capsys, "sample", checkpoint, "--out", checkpoint.with_name("s.png"))


# states of a training


def trained(folder: Path) -> None:
    model = create_model("DiT-XXS/8", input_size=16, in_channels=3, num_classes=None, depth=1, width=32, heads=2)
    images = Images(torch.zeros(4, 3, 16, 16, dtype=torch.uint8), None)
    config = TrainConfig(steps=1, batch_size=2, lr=1e-3)
    train(
        model,
        images,
        config,
        learner=GENERATION.learner(config),
        device=torch.device("cpu"),
        precision="fp32",
        snapshots=Snapshots(folder),
    )


def test_a_state_that_is_a_pickle_is_passed_over(tmp_path: Path, mark: Path) -> None:
    (tmp_path / "00000001.pt").write_bytes(pickle.dumps({"step": 1, "model": Touch(mark)}))
    with pytest.warns(UserWarning, match="cannot be read"):
        trained(tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize("state", [{}, {"model": {"a": 3}}, {"model": 3}, {"belongs": 3}, {"belongs": {"cell": None}}])
def test_a_state_of_something_else_says_so(tmp_path: Path, state: dict[str, Any]) -> None:
    with (tmp_path / "00000001.pt").open("wb") as file:
        state_file.save({"step": 1} | state, file)
    with pytest.raises(ResultsError, match=r"of another training: its data_checksum is None, not .* to start over"):
        trained(tmp_path)


# records, plans and curves


@pytest.mark.parametrize(
    "record",
    [
        RECORD | {"status": ["done"]},
        RECORD | {"status": "fine"},
        RECORD | {"cell": "../../../etc"},
        RECORD | {"suite": None},
        RECORD | {"message": {"a": 1}},
        RECORD | {"params": "many"},
        RECORD | {"params": 10**30},
        RECORD | {"params": True},
        RECORD | {"val_loss": [0.1]},
        RECORD | {"<script>": 1},
        RECORD | {"fd_');alert(1)//": 1.0},
        RECORD | {"message": "x" * 2**23},
        [RECORD],
        "[" * 200_000,
        '{"val_loss": NaN}',
        '{"half": ',
        "\x00",
    ],
    ids=range(17),
)
def test_a_record_that_is_none_is_named(tmp_path: Path, record: object, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "report", results(tmp_path, record))
    assert f"{CELL}/record.json is not a record" in said
    assert "delete the file" in said
    assert len(said) < 500


def test_a_record_that_is_no_file_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = results(tmp_path)
    path = folder / "cells" / CELL / "record.json"
    path.unlink()
    os.mkfifo(path)
    assert "no plain file" in refused(capsys, "report", folder)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "a link" in refused(capsys, "report", folder)


@pytest.mark.parametrize(
    "plan",
    [["../../etc"], ["/etc/passwd"], [CELL, CELL], [CELL.upper()], [CELL + "\n"], [3], {CELL: 1}, "[", "[" * 200_000],
)
def test_a_plan_cannot_lead_out_of_its_folder(tmp_path: Path, plan: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert "plan.json is not a plan" in refused(capsys, "report", results(tmp_path, plan=plan))


def test_a_curve_that_is_none_is_named(tmp_path: Path, mark: Path) -> None:
    folder = results(tmp_path)
    path = folder / "cells" / CELL / "curve.parquet"
    path.write_bytes(pickle.dumps(Touch(mark)))
    write_report(*write_tables(folder), folder)
    assert "curve.parquet is not a training curve" in (folder / "report.html").read_text()
    assert not mark.exists()


def test_text_of_a_results_folder_is_shown_as_text(tmp_path: Path) -> None:
    attack = "</script><script>window.ran=1</script><img src=x onerror=window.ran=1>"
    fields = ("suite", "message", "data.name", "model.family", "model.size", "log_tail", "mixer_implementation")
    folder = results(tmp_path, RECORD | dict.fromkeys(fields, attack) | {"data.resolution": 32, "train.steps": 3})
    page = write_report(*write_tables(folder), folder).read_text()
    assert "window.ran" in page
    assert "<script>window" not in page
    assert "<img src=x" not in page
    assert load_results(folder)["message"][0] == attack


@pytest.mark.parametrize("pid", [-1, 10**30, 1e400, "1"])
def test_a_lease_of_an_impossible_process_is_nobodys(tmp_path: Path, pid: object) -> None:
    cell = results(tmp_path) / "cells" / CELL
    (cell / "lease").write_text(json.dumps({"host": socket.gethostname(), "pid": pid, "born": 1.0, "token": "other"}))
    assert held_elsewhere(cell) is None
    (cell / "lease").write_text("[" * 100_000)
    assert held_elsewhere(cell) is None


# suites


@pytest.mark.parametrize("name", ["../up", "/etc", "a/b", "..", ".hidden", "a\\b", "a" * 65])
def test_a_suites_name_cannot_climb(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(SUITE.replace("tiny", json.dumps(name)))
    assert "suite" in refused(capsys, "run", path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["s.yaml"]


def test_yaml_that_asks_for_code_is_refused(tmp_path: Path, mark: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.yaml"
    crafted = f"!!python/object/apply:os.mknod [{mark}]"
    path.write_text(SUITE + f"description: {crafted}\n")
    assert "is not allowed" in refused(capsys, "validate", path)
    assert "is not allowed" in refused(capsys, "validate", "quickstart", "--set", f"train.lr={crafted}")
    cell = load_suite("quickstart").cells()[0].to_yaml()  # and the same of a cell's config.yaml
    with pytest.raises(SuiteError, match="is not allowed"):
        cell_from_yaml(cell.replace("name: ", f"name: {crafted} # ", 1))
    assert not mark.exists()


# caches


def test_a_crafted_cache_is_built_again(tmp_path: Path, mark: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path))

    def decode() -> list[Sample]:
        return [
            Sample(split=split, label=0, pixels=np.ones((3, 8, 8), np.uint8), enlarged=False)
            for split in ("train", "validation")
        ]

    honest = cached("tiny", 8, "key", "train", decode)
    (array,) = cache_folder().glob("*.train.npy")
    (about,) = cache_folder().glob("*.json")

    def crafted_array() -> None:
        np.save(array, np.array([Touch(mark)], dtype=object), allow_pickle=True)

    def archive() -> None:
        with zipfile.ZipFile(array, "w") as file:
            file.writestr("a.npy", "")

    attacks = [
        crafted_array,
        archive,
        lambda: about.write_text("[" * 100_000),
        lambda: about.write_text(json.dumps({"counts": {"train": 10**15}})),
    ]
    for attack in attacks:
        attack()
        assert cached("tiny", 8, "key", "train", decode).checksum == honest.checksum
    assert not mark.exists()


def test_crafted_features_are_computed_again(tmp_path: Path, mark: Path) -> None:
    (tmp_path / "features.safetensors").write_bytes(pickle.dumps(Touch(mark)))
    assert kept.read(tmp_path / "features.safetensors", {"features": (1, 1280)}, torch.float32) is None
    assert not mark.exists()


# terminals


def test_text_of_a_file_does_not_drive_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printable("a\x1b[31mb\u202ec\nd é ü 名") == "a\\x1b[31mb\\u202ec\nd é ü 名"
    path = tmp_path / "s.yaml"
    path.write_text(SUITE.replace("DiT", '"\\e]0;title\\a\\e[2J"'))
    assert "\\x1b[2J" in refused(capsys, "validate", path)
    path.write_text('"\\e[2J": 1\n' + SUITE)
    refused(capsys, "validate", path)
    path.write_text(SUITE.replace("photos", f"folder, path: {tmp_path}") + 'grid: {data.path: ["\\e[2J[red]a", b]}\n')
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    console.print(LiveTable(console, load_suite(path).cells(), skipped=[]).table())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[2J" in shown
    assert "[red]a" in shown
    assert "\x1b[2J" not in shown
