"""What verbs print at 80 columns: no line is longer, no word is broken, and one and several agree."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pdebench.cli import app

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
ONE_CELL = """\
suite: one
data: {name: digits, resolution: 8}
model: {family: DiT, size: XXS, patch: 4, depth: 1, width: 64}
train: {steps: 1, batch_size: 1, lr: 1e-3}
evaluate: {samples: 0, metrics: []}
"""
PRINTED = {
    "list suites": ["list", "suites"],
    "list data": ["list", "data"],
    "list metrics": ["list", "metrics"],
    "list tasks": ["list", "tasks"],
    "anchors": ["anchors"],
    "validate": ["validate", "one.yaml"],
    "plan": ["plan", "one.yaml", "--device", "h100"],
    "status": ["status", "kept"],
    "status of one": ["status", "single"],
    "compare": ["compare", "kept", "other"],
    "compare of one": ["compare", "single", "other"],
    "fit": ["fit", "runs.csv", "--n", "n", "--d", "d", "--loss", "loss"],
    "data stats": ["data", "stats", "digits", "--resolution", "8"],
}
SEVERAL = re.compile(r"(?<![\w.,:=-])1 (?!is |as |was |has |this |times |differs )([a-z]+s) ")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables as they lie in a repository, under short names; a suite of one cell; and runs that a law fits."""
    monkeypatch.chdir(tmp_path)
    Path("one.yaml").write_text(ONE_CELL)
    for name, of in {"kept": "quickstart", "other": "baselines"}.items():
        Path(name).symlink_to(RESULTS / of)
    Path("single").mkdir()
    rows = list(csv.reader((RESULTS / "quickstart" / "table.csv").open(newline="")))
    with Path("single/table.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows[:2])
    law = [(n, d, 1.7 + 480 * n**-0.35 + 2000 * d**-0.37) for n in (1e6, 3e6, 1e7, 3e7) for d in (1e6, 4e6, 2e7)]
    text = "".join(f"{n:.0f},{d:.0f},{loss:.5f}\n" for n, d, loss in law)
    Path("runs.csv").write_text(f"n,d,loss\n{text}1000000,1000000,\n")


def printed(arguments: list[str], width: int) -> str:
    ran = CliRunner().invoke(app, arguments, env={"COLUMNS": str(width), "TERMINAL_WIDTH": str(width)})
    assert ran.exit_code == 0, ran.output
    return ran.output


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("verb", PRINTED)
def test_lines_fit_words_are_whole_and_numbers_agree(verb: str) -> None:
    shown = printed(PRINTED[verb], 80)
    assert not [line for line in shown.splitlines() if len(line) > 80 and " " in line.strip()]
    words = {word for word in shown.split() if not re.fullmatch(r"\[\d+\]", word)}  # numbers of notes
    assert not words - set(printed(PRINTED[verb], 300).split()), "words that are broken or cut"
    assert not SEVERAL.findall(f"{' '.join(shown.split())} ")
