"""A suite that is matched by what is measured has the sizes that are kept for it, and says which are missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pdebench.cli import main
from pdebench.errors import ResultsError, SuiteError
from pdebench.files.seal import sealed
from pdebench.models.registry import Dimensions
from pdebench.suite.load import load_suite
from pdebench.suite.measured_sizes import FILE, MatchedSize, MatchedSizes, SizeQuestion, Tried, matched_columns

SUITE = """\
suite: timed
data: {name: noise, resolution: 32}
model: {family: DiT, size: XXS, patch: 4}
match: {by: step_time, to: DiT}
train: {steps: 3, batch_size: 4, lr: 1e-3}
evaluate: {samples: 0}
grid:
  model.family: [DiT, PDE-SSM-DiT]
  train.lr: [1e-3, 2e-3]
"""
MACHINE = {"machine_fingerprint": "0" * 12, "device": "cpu", "cpu": "Some CPU", "threads": 2, "torch_version": "9"}
FOUND = Tried(depth=4, width=136, heads=None, mlp_hidden=480, ratio=1.004, low=0.995, high=1.012, pairs=[1.0, 1.008])


@pytest.fixture
def suite(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("timed.yaml")
    path.write_text(SUITE)
    return path


def keep(folder: Path, *questions: SizeQuestion) -> None:
    sizes = [
        MatchedSize(of=one.about, size=FOUND, earlier=[], seconds=1.0, measured_at="2026-01-01") for one in questions
    ]
    folder.mkdir(parents=True, exist_ok=True)
    held = MatchedSizes(machine=MACHINE, sizes=sizes).model_dump(mode="json")
    (folder / FILE).write_text(json.dumps(sealed(held)))


def called(monkeypatch, capsys, *arguments: object) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["pdebench", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    said = capsys.readouterr()
    return int(end.value.code or 0), said.out, said.err


def test_what_is_missing_is_one_size_for_all_rates_and_seeds(suite):
    study = load_suite(suite)
    assert [str(one) for one in study.unmeasured] == ["PDE-SSM-DiT-XXS/4 at 32 px, batch 4"]
    by_macs = load_suite(suite, ["match.by=macs"])
    assert [cell.model for cell in study.planned()] == [cell.model for cell in by_macs.planned()]
    assert study.about_sizes is not None
    assert "1 size that matches DiT by step_time is not measured yet (PDE-SSM-DiT-XXS/4)" in study.about_sizes
    assert by_macs.about_sizes is None


def test_what_is_kept_is_what_the_cells_are(suite):
    """In the results folder that a run takes by default, in the one that is named, and in a suite that lies in one."""
    keep(Path("runs/timed"), *load_suite(suite).unmeasured)
    study = load_suite(suite)
    assert not study.unmeasured
    sizes = {cell.model.family: cell.model.resolved for cell in study.planned()}
    assert sizes == {"DiT": Dimensions(4, 128, 2, 512), "PDE-SSM-DiT": FOUND.dimensions}
    keep(Path("elsewhere"), *load_suite(suite, results=Path("none")).unmeasured)
    assert load_suite(suite, results=Path("elsewhere")).planned() == study.planned()
    Path("elsewhere/suite.yaml").write_text(study.to_yaml())
    Path("runs/timed", FILE).unlink()
    assert [cell.id for cell in load_suite("elsewhere/suite.yaml").planned()] == [cell.id for cell in study.planned()]


def test_a_cell_is_that_of_a_suite_that_gives_its_size_by_hand(suite):
    keep(Path("runs/timed"), *load_suite(suite).unmeasured)
    by_hand = SUITE.replace("match: {by: step_time, to: DiT}\n", "").replace("[DiT, PDE-SSM-DiT]", "[PDE-SSM-DiT]")
    suite.write_text(by_hand.replace("patch: 4}", "patch: 4, width: 136, mlp_hidden: 480}"))
    alone = [cell.id for cell in load_suite(suite).planned()]
    suite.write_text(SUITE)
    assert [cell.id for cell in load_suite(suite).planned()][2:] == alone


@pytest.mark.parametrize(
    "change",
    ["train.batch_size=8", "train.precision=bf16", "train.clip=1.0", "data.resolution=64", "match.by=peak_memory",
     "match.to=None-DiT", "model.patch=8", "model.size=XS", "shell.preset=lightning"],
)  # fmt: skip
def test_what_changes_the_cost_is_asked_anew(suite, change):
    keep(Path("runs/timed"), *load_suite(suite).unmeasured)
    assert load_suite(suite, [change]).unmeasured


@pytest.mark.parametrize("change", ["train.steps=9", "train.ema=0.9", "train.seed=7", "evaluate.nfe=4"])
def test_what_does_not_is_not(suite, change):
    keep(Path("runs/timed"), *load_suite(suite).unmeasured)
    assert not load_suite(suite, [change]).unmeasured


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("{", "Expecting property name"),
        ("[]", "it holds no keys and values"),
        ('{"machine": {}, "sizes": 3}', "sizes: Input should be a valid array"),
        ('{"machine": {}, "sizes": [], "checksum": "0"}', "it was altered after it was written"),
    ],
)
def test_a_damaged_file_is_one_sentence(suite, written, why):
    Path("runs/timed").mkdir(parents=True)
    Path("runs/timed", FILE).write_text(written)
    with pytest.raises(ResultsError) as caught:
        load_suite(suite)
    assert str(caught.value).startswith(f"runs/timed/{FILE} holds no measured sizes: {why}")
    assert str(caught.value).endswith("delete it to have them measured again")


def test_several_devices_are_refused(suite):
    with pytest.raises(SuiteError, match=r"train.devices: match by step_time is measured on one device"):
        load_suite(suite, ["train.devices=2"])


def test_verbs_of_before_a_run_say_what_the_sizes_are(suite, monkeypatch, capsys):
    missing = "not measured yet (PDE-SSM-DiT-XXS/4): here they have the reference's MACs where they can"
    for verb in (["validate", suite], ["plan", suite, "--device", "h100"]):
        code, told, _ = called(monkeypatch, capsys, *verb)
        assert code == 0
        assert missing in " ".join(told.split())
    keep(Path("runs/timed"), *load_suite(suite).unmeasured)
    code, told, _ = called(monkeypatch, capsys, "validate", suite)
    assert told.splitlines()[1] == "sizes match DiT by step_time, as measured on Some CPU (2 threads, torch 9)"
    code, told, _ = called(monkeypatch, capsys, "plan", suite, "--device", "h100", "--json")
    plan: dict[str, Any] = json.loads(told)
    assert plan["sizes"] == "sizes match DiT by step_time, as measured on Some CPU (2 threads, torch 9)"
    assert {cell["cell"] for cell in plan["cells"]} == {cell.id for cell in load_suite(suite).planned()}


def test_a_gate_wants_the_sizes_first(suite, monkeypatch, capsys):
    code, _, said = called(monkeypatch, capsys, "regress", suite, "--against", "HEAD")
    assert code == 2
    assert "is not measured yet (PDE-SSM-DiT-XXS/4): run `pdebench run timed.yaml --only-match` first" in said


def test_slurm_wants_the_sizes_first(suite, monkeypatch, capsys):
    code, _, said = called(monkeypatch, capsys, "run", suite, "--executor", "slurm")
    assert code == 2
    assert "pdebench run SUITE --only-match --results runs/timed` in a job on such a node" in said
    assert not Path("runs").exists()


def test_only_match_is_for_what_is_measured(suite, monkeypatch, capsys):
    code, _, said = called(monkeypatch, capsys, "run", suite, "--only-match", "--set", "match.by=params")
    assert (code, said.count("\n")) == (2, 1)
    assert "--only-match is for suites that are matched by step_time or peak_memory" in said


def test_a_record_says_what_its_size_was_matched_by(suite):
    folder = Path("runs/timed")
    keep(folder, *load_suite(suite).unmeasured)
    study = load_suite(suite)
    (folder / "suite.yaml").write_text(study.to_yaml())
    dit, *_, pde = study.cells()  # with their arithmetic known, as they run
    of_all = {"matched_by": "step_time", "matched_to": "DiT"}
    ratio = {"matched_ratio": 1.004, "matched_ratio_low": 0.995, "matched_ratio_high": 1.012}
    assert matched_columns(dit, folder) == of_all
    assert matched_columns(pde, folder) == of_all | ratio
    (folder / "suite.yaml").write_text(load_suite(suite, ["match.by=params"]).to_yaml())
    assert matched_columns(pde, folder) == {"matched_by": "params", "matched_to": "DiT"}
    (folder / "suite.yaml").unlink()
    assert matched_columns(pde, folder) == {}
