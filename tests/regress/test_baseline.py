"""Stored baselines: what is calibrated away, what is found, what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import CELLS, FakeRevision, Machine
from typer.testing import CliRunner, Result

from pdebench.cli import app
from pdebench.errors import NotComparable, PdebenchError, ResultsError
from pdebench.measure.timing_stability import TimingStability
from pdebench.regress import baseline, baseline_gate, gates
from pdebench.stats.regression import Rule

SUITE = """\
suite: tiny
data: {name: noise, resolution: 16}
model: {family: DiT, size: XXS, patch: 8}
train: {steps: 2, batch_size: 4, lr: 1e-3}
"""


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    monkeypatch.chdir(tmp_path)
    return "tiny.yaml"


class Day:
    """A machine, and how much slower than usual it is today, to a cell and to either probe."""

    def __init__(self, machine: Machine, cells: float = 1.0, probes: Mapping[str, float] | None = None) -> None:
        self.machine, self.random = machine, np.random.default_rng(5)
        machine.slower = {**machine.slower}
        self.cells, self.probes = cells, probes or {"matmul": 1.0, "bandwidth": 1.0}

    def run(self, side: str, *arguments: Any) -> Any:
        unit = FakeRevision("head", self.machine, CELLS).run(*arguments)
        if "block_ms_median" in unit.values:
            unit.values["block_ms_median"] *= self.cells  # type: ignore[index]
        return unit

    def look(self) -> TimingStability:
        return TimingStability("a machine", {name: [slow * 0.01] for name, slow in self.probes.items()})


def here(day: Day, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    revision = FakeRevision("head", day.machine, CELLS)
    revision.run = lambda *given: day.run("head", *given)  # type: ignore[method-assign]
    monkeypatch.setattr(baseline_gate, "here", lambda: revision)
    monkeypatch.setattr(baseline_gate, "_probe", day.look)
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "80"})


def save(monkeypatch: pytest.MonkeyPatch, suite: str, machine: Machine | None = None) -> Result:
    day = Day(machine or Machine(seconds=0.001))
    return here(day, monkeypatch, "baseline", "save", suite, "--file", "b.json", "--max-minutes", "1")


def compare(monkeypatch: pytest.MonkeyPatch, suite: str, day: Day, *more: str) -> Result:
    return here(day, monkeypatch, "regress", suite, "--baseline", "b.json", "--max-minutes", "1", *more)


def quick(**more: Any) -> Machine:
    return Machine(seconds=0.001, **more)


def test_an_unchanged_revision_passes_on_a_slower_day_too(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    assert save(monkeypatch, suite).exit_code == 0
    assert compare(monkeypatch, suite, Day(quick())).exit_code == 0
    slow_day = Day(quick(), cells=1.3, probes={"matmul": 1.3, "bandwidth": 1.3})
    shown = compare(monkeypatch, suite, slow_day)
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines()[-1] == "pass: 4 passed"


def test_a_slowdown_that_no_probe_explains_is_a_regression(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    save(monkeypatch, suite)
    shown = compare(monkeypatch, suite, Day(quick(slower={"DiT": 0.15})))
    assert shown.exit_code == 1, shown.output
    assert shown.stdout.splitlines()[-1] == "regression: 1 worse, 3 passed"


def test_a_slowdown_that_one_probe_explains_is_inconclusive(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    save(monkeypatch, suite)
    shown = compare(monkeypatch, suite, Day(quick(), cells=1.2, probes={"matmul": 1.0, "bandwidth": 1.2}))
    assert shown.exit_code == 3, shown.output


def test_a_foreign_machine_is_refused_before_anything_is_timed(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    save(monkeypatch, suite)
    machine = quick(columns={"head": {"machine_fingerprint": "elsewhere"}})
    shown = compare(monkeypatch, suite, Day(machine))
    assert isinstance(shown.exception, NotComparable)
    assert shown.exception.exit_code == 3
    assert "no baseline of this machine (fingerprint elsewhere), only of here (a machine)" in str(shown.exception)
    assert len(machine.ran) == 1


def test_one_file_holds_several_machines(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    save(monkeypatch, suite)
    save(monkeypatch, suite, quick(columns={"head": {"machine_fingerprint": "elsewhere"}}))
    assert set(json.loads(Path("b.json").read_text())["machines"]) == {"here", "elsewhere"}
    assert compare(monkeypatch, suite, Day(quick())).exit_code == 0


def test_what_is_deterministic_is_gated_exactly(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    save(monkeypatch, suite)
    shown = compare(monkeypatch, suite, Day(quick(columns={"head": {"train_loss": 0.500001}})), "--json")
    assert shown.exit_code == 1
    changed = [f for f in json.loads(shown.stdout)["findings"] if f["verdict"] == "changed"]
    assert [finding["column"] for finding in changed] == ["train_loss", "train_loss"]
    assert "was 0.5 and is 0.500001 (+2.0e-06)" in changed[0]["message"]


def test_other_images_are_the_finding_and_their_losses_are_not_compared(
    monkeypatch: pytest.MonkeyPatch, suite: str
) -> None:
    save(monkeypatch, suite, quick(columns={"head": {"data_checksum": "aa"}}))
    other = {"data_checksum": "bb", "train_loss": 9.0, "val_loss_ema": 9.0}
    shown = compare(monkeypatch, suite, Day(quick(columns={"head": other})), "--json")
    assert shown.exit_code == 1
    changed = [f for f in json.loads(shown.stdout)["findings"] if f["verdict"] != "pass"]
    assert {finding["column"] for finding in changed} == {"data_checksum"}
    assert "the content of the data set was aa and is bb" in changed[0]["message"]
    save(monkeypatch, suite)  # of before this was kept
    assert compare(monkeypatch, suite, Day(quick(columns={"head": {"data_checksum": "bb"}}))).exit_code == 0


def test_seeds_with_other_images_say_nothing_of_quality() -> None:
    def side(checksum: str, loss: float) -> dict[int, dict[str, Any]]:
        return {seed: {"data_checksum": checksum, "val_loss_ema": loss + seed / 100} for seed in range(4)}

    rule = Rule()
    assert [one.verdict for one in gates.quality("g", side("aa", 0.5), side("aa", 0.9), rule)] == ["regression"]
    assert not list(gates.quality("g", side("aa", 0.5), side("bb", 0.9), rule))


def test_a_score_of_which_more_is_better_regresses_where_it_falls() -> None:
    def side(column: str, value: float) -> dict[int, dict[str, Any]]:
        return {seed: {column: value + seed / 1000} for seed in range(4)}

    for column, good, bad in (("precision", 0.7, 0.5), ("is", 10.0, 5.0), ("fid", 20.0, 40.0), ("kid", 0.1, 0.3)):
        found = {
            way: next(iter(gates.quality("g", side(column, before), side(column, after), Rule())))
            for way, before, after in (("worse", good, bad), ("better", bad, good))
        }
        assert found["worse"].verdict == "regression", column
        assert found["better"].verdict == "pass", column
        assert found["better"].improved, column


def test_a_failing_cell_is_4_and_is_not_saved(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    save(monkeypatch, suite)
    before = Path("b.json").read_text()
    failing = {"failing": (("head", "DiT"),)}
    assert compare(monkeypatch, suite, Day(quick(**failing))).exit_code == 4
    refused = save(monkeypatch, suite, quick(**failing))
    assert "nothing was saved, since DiT-XXS/8 failed: oom" in str(refused.exception)
    assert Path("b.json").read_text() == before


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"format": 1, "machines": {"here": {"about": 1}}}'])
def test_a_file_that_is_none_of_baselines_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, suite: str, text: str
) -> None:
    Path("b.json").write_text(text)
    error = compare(monkeypatch, suite, Day(quick())).exception
    assert isinstance(error, ResultsError)
    assert "b.json is not a file of baselines" in str(error)


def test_another_suite_has_no_baseline(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    save(monkeypatch, suite)
    found = json.loads(Path("b.json").read_text())
    found["machines"]["here"]["suites"] = {}
    del found["checksum"]
    Path("b.json").write_text(json.dumps(found))
    error = compare(monkeypatch, suite, Day(quick())).exception
    assert isinstance(error, PdebenchError)
    assert error.exit_code == 3
    assert "no baseline of the suite 'tiny'" in str(error)


@pytest.mark.parametrize("machines", ["none", None, [], {"here": None}, {"here": {}}, {"here": {"suites": []}}])
def test_a_file_of_baselines_that_is_none_is_refused_before_anything_is_measured(tmp_path: Path, machines: Any) -> None:
    path = tmp_path / "baselines.json"
    path.write_text(json.dumps({"format": 1} | ({} if machines == "none" else {"machines": machines})))
    with pytest.raises(ResultsError, match="is not a file of baselines"):
        baseline.check(path)
