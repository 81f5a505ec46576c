"""What every verb prints fits the terminal and says what it means: help, and the live table."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pdebench.cli import VERBS, app
from pdebench.suite.load import load_suite
from pdebench.system.slots import Slot
from pdebench.terminal.progress import LiveTable

HELPED = [
    [],
    *([verb] for verb in VERBS),
    *(["baseline"], ["baseline", "save"], ["data"]),
    *(["data", verb] for verb in ("list", "stats", "show", "pack", "encode")),
]
MANY = """\
suite: many
data: {name: digits, resolution: 8}
model: {family: DiT, size: XXS, patch: 4}
train: {steps: 5, batch_size: 4, lr: 1e-3}
grid:
  model.family: [PDE-SSM-DiT, DiT]
  model.depth: [1, 2]
  train.lr: [1e-3, 2e-4]
  train.schedule: [cosine, constant]
  train.weight_decay: [0.0, 0.01]
  train.seed: [0, 1]
"""


@pytest.mark.parametrize("verb", HELPED, ids=" ".join)
@pytest.mark.parametrize("width", [80, 120])
def test_help_shows_flags_as_they_are_typed_within_the_terminal(verb: list[str], width: int) -> None:
    shown = CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": str(width), "TERMINAL_WIDTH": str(width)})
    assert shown.exit_code == 0
    assert not re.search(r"<\w+|\{\w+\}", shown.output.replace("{name: packed", "")), "names of Python's types"
    assert "--help" in shown.output
    assert max(map(len, shown.output.splitlines())) <= width
    wide = CliRunner().invoke(app, [*verb, "--help"], env={"COLUMNS": "300", "TERMINAL_WIDTH": "300"}).output
    assert set(shown.output.split()) - set(wide.split()) <= {one for one in shown.output.split() if "─" in one}


def test_help_keeps_the_types_of_what_takes_a_value() -> None:
    shown = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "120"}).output
    assert re.search(r"--results +FOLDER", shown)
    assert "runs/SUITE" in shown


def test_regress_says_what_max_minutes_does_not_bound() -> None:
    shown = " ".join(
        CliRunner().invoke(app, ["regress", "--help"], env={"COLUMNS": "120"}).output.replace("│", " ").split()
    )
    assert "three rounds" in shown
    assert "three blocks at least" in shown


@pytest.mark.parametrize("width", [80, 120])
def test_heads_and_numbers_of_a_suite_with_many_keys_are_whole(width: int, tmp_path: Path) -> None:
    (tmp_path / "many.yaml").write_text(MANY)
    cells = load_suite(tmp_path / "many.yaml").planned()
    console = Console(file=io.StringIO(), width=width, height=24, force_terminal=False)
    table = LiveTable(console, cells, skipped=[])
    table.started(cells[1], Slot("cpu"))
    table.progress(cells[1], {"stage": "train", "step": 3, "steps": 5, "loss": 0.51234, "images_per_second": 1234.0})
    console.print(table.table())
    output = console.file
    assert isinstance(output, io.StringIO)
    lines = output.getvalue().splitlines()
    assert lines[0].split() == ["cell", "loss", "images/s", "left"]
    assert max(map(len, lines)) <= width
    (running,) = (line for line in lines if "training" in line)
    assert {"0.5123", "1234"} <= set(running.split())
    names = [line.split("   ")[0].strip() for line in lines[1:]]
    assert len(set(names)) == len(names)
    assert running.startswith(" 2 PDE-SSM")
    assert "seed 1" in running
