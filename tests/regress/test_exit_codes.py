"""`pdebench regress` through its command line, with revisions whose cost is known: what it says, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fakes import CELLS, Machine, keys, revisions
from typer.testing import CliRunner, Result

from pdebench.cli import app
from pdebench.errors import NotComparable, PdebenchError
from pdebench.regress import revision_gate
from pdebench.regress.formats import junit
from pdebench.regress.outcome import GateFinding, GateOutcome

SUITE = """\
suite: tiny
data: {name: noise, resolution: 16}
model: {family: DiT, size: XXS, patch: 8}
train: {steps: 2, batch_size: 4, lr: 1e-3}
"""


@pytest.fixture
def suite(tmp_path: Path) -> str:
    (tmp_path / "tiny.yaml").write_text(SUITE)
    return str(tmp_path / "tiny.yaml")


def gate(monkeypatch: pytest.MonkeyPatch, suite: str, machine: Machine, *more: str, **sides: object) -> Result:
    monkeypatch.setattr(revision_gate, "side_by_side", revisions(machine, **sides))  # type: ignore[arg-type]
    return CliRunner().invoke(app, ["regress", suite, "--against", "main", *more], env={"COLUMNS": "80"})


def test_0_where_nothing_changed(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    shown = gate(monkeypatch, suite, Machine(seconds=0.001))
    assert shown.exit_code == 0, shown.output
    lines = shown.stdout.splitlines()
    assert lines[0].startswith("tiny: HEAD (bbbbbbbbbbbb) against main (aaaaaaaaaaaa)")
    assert "4 deterministic quantities are equal" in shown.stdout
    assert lines[-1] == "pass: 4 passed"
    assert max(map(len, lines[1:])) <= 80


def test_1_where_a_slowdown_is_confirmed(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    shown = gate(monkeypatch, suite, Machine(slower={"PDE-SSM-DiT": 0.1}, seconds=0.001))
    assert shown.exit_code == 1, shown.output
    assert "confirmed by a rerun" in " ".join(shown.stdout.split())
    assert shown.stdout.splitlines()[-1] == "regression: 1 worse, 3 passed"


def test_1_where_something_deterministic_changed_and_0_once_it_is_accepted(
    monkeypatch: pytest.MonkeyPatch, suite: str
) -> None:
    def machine() -> Machine:
        return Machine(columns={"head": {"params": 1100}}, seconds=0.001)

    shown = gate(monkeypatch, suite, machine())
    assert shown.exit_code == 1
    assert "parameters was 1,000 and is 1,100 (+10.0%); if that is meant: --accept params" in " ".join(
        shown.stdout.split()
    )
    assert gate(monkeypatch, suite, machine(), "--accept", "params").exit_code == 0


def test_2_where_no_pair_would_be_measured_before_the_second_cell_is_run(
    monkeypatch: pytest.MonkeyPatch, suite: str
) -> None:
    machine = Machine(slower={"DiT": 0.5}, seconds=1e4)
    shown = gate(monkeypatch, suite, machine)
    assert isinstance(shown.exception, PdebenchError)
    assert shown.exception.exit_code == 2
    assert "--max-minutes 10 ends before a pair is measured" in str(shown.exception)
    assert machine.ran == [("base", "DiT"), ("head", "DiT")]


def test_3_where_a_measurement_is_deleted(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    shown = gate(monkeypatch, suite, Machine(columns={"head": {"block_ms_median": None}}, seconds=0.001))
    assert shown.exit_code == 3
    assert "block is measured in the base and not in the head: it cannot be compared" in " ".join(shown.stdout.split())


def test_3_where_a_cell_is_deleted(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    left = {"0" * 12: keys("DiT")}
    shown = gate(monkeypatch, suite, Machine(seconds=0.001), head=left)
    assert shown.exit_code == 3
    assert "the base has this cell and the head does not" in " ".join(shown.stdout.split())


def test_3_where_the_sides_have_no_cell_in_common(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    other = {"2" * 12: keys("DiG")}
    shown = gate(monkeypatch, suite, Machine(seconds=0.001), head=other)
    assert isinstance(shown.exception, NotComparable)
    assert shown.exception.exit_code == 3
    assert "no cell in common: 2 in the base, 1 in the head" in str(shown.exception)


def test_3_where_the_sides_count_as_two_machines(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    machine = Machine(columns={"head": {"machine_fingerprint": "elsewhere"}}, seconds=0.001)
    shown = gate(monkeypatch, suite, machine)
    assert isinstance(shown.exception, NotComparable)
    assert "two machines (fingerprints elsewhere, here)" in str(shown.exception)


def test_4_where_a_cell_fails_and_1_where_another_is_slower_too(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    failing = (("head", "DiT"),)
    shown = gate(monkeypatch, suite, Machine(failing=failing, seconds=0.001))
    assert shown.exit_code == 4
    assert "it failed in the head: oom: the machine's memory ran out" in " ".join(shown.stdout.split())
    worse = Machine(failing=failing, slower={"PDE-SSM-DiT": 0.1}, seconds=0.001)
    assert gate(monkeypatch, suite, worse).exit_code == 1


def test_improvements_are_said_and_pass(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    shown = gate(monkeypatch, suite, Machine(slower={"DiT": -0.1}, seconds=0.001))
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[-1] == "pass: 4 passed; 1 better"


def test_the_loss_over_seeds_is_judged_by_its_own_test(monkeypatch: pytest.MonkeyPatch, suite: str) -> None:
    cells = {f"{seed}" * 12: keys("DiT", seed) for seed in range(3)}
    worse = Machine(columns={"head": {"val_loss_ema": 0.7, "train_loss": 0.51}}, seconds=0.001)
    shown = gate(monkeypatch, suite, worse, "--json", base=cells, head=cells)
    found = json.loads(shown.stdout)
    (quality,) = [finding for finding in found["findings"] if finding["kind"] == "quality"]
    assert quality["verdict"] == "regression"
    assert quality["cell"] == "DiT-XXS/8"
    assert quality["change"] == pytest.approx(1 / 6)
    assert quality["observations"] == 3
    timed = {finding["cell"] for finding in found["findings"] if finding["kind"] == "speed"}
    assert timed == {"DiT-XXS/8, seed 0"}


def test_junit_json_and_github_say_the_same(monkeypatch: pytest.MonkeyPatch, suite: str, tmp_path: Path) -> None:
    def machine() -> Machine:
        return Machine(slower={"DiT": 0.1}, columns={"head": {"params": 1100}}, seconds=0.001)

    report, summary = tmp_path / "junit.xml", tmp_path / "summary.md"
    found = json.loads(gate(monkeypatch, suite, machine(), "--json", "--junit", str(report)).stdout)
    assert (found["verdict"], found["exit_code"]) == ("regression", 1)
    worse = [finding for finding in found["findings"] if finding["verdict"] in ("regression", "changed")]
    assert {finding["column"] for finding in worse} == {"params", "block_ms_median"}
    root = ElementTree.parse(report).getroot()
    assert (root.get("tests"), root.get("failures")) == (str(len(found["findings"])), str(len(worse)))
    assert len(root.findall(".//failure")) == len(worse)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    shown = gate(monkeypatch, suite, machine(), "--format", "github")
    assert shown.stdout.count("::error title=") == len(worse)
    assert "| regression | DiT-XXS/8 | block | +" in summary.read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "pass either --against REV or --baseline FILE"),
        (["--against", "main", "--baseline", "file.json"], "pass either"),
        (["--against", "main", "--accept", "parms"], "did you mean 'params'?"),
        (["--against", "main", "--json", "--format", "github"], "give one of them"),
        (["--baseline", "/nonexistent.json"], "there is no file /nonexistent.json: make one with"),
    ],
)
def test_2_for_wrong_use(suite: str, arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pdebench.regress import baseline_gate

    monkeypatch.setattr(baseline_gate, "here", lambda: next(iter(_pair())))
    shown = CliRunner().invoke(app, ["regress", suite, *arguments])
    assert isinstance(shown.exception, PdebenchError)
    assert shown.exception.exit_code == 2
    assert sentence in str(shown.exception)


def _pair() -> tuple[object, ...]:
    with revisions(Machine(), CELLS, CELLS)("main") as both:
        return both


def test_junit_says_in_words_and_for_programs_what_is_inconclusive(tmp_path: Path) -> None:
    found = [
        GateFinding("speed", "DiT", "block_ms_median", "inconclusive", "block costs +3.0%; neither found nor excluded"),
        GateFinding("exact", "DiT", "", "pass", "4 deterministic quantities are equal"),
    ]
    outcome = GateOutcome("tiny", {"revision": "main"}, "b" * 40, "here", found)
    junit(outcome, tmp_path / "junit.xml")
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    (skipped,) = root.findall(".//skipped")
    assert skipped.get("message") == "inconclusive: block costs +3.0%; neither found nor excluded"
    assert (root.get("skipped"), root.get("failures")) == ("1", "0")
    said = {one.get("name"): one.get("value") for one in root.findall("properties/property")}
    assert said == {"verdict": "inconclusive", "exit_code": "3"}
