"""`pdebench status` of a folder of which a table was kept: its cells, as they ended."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pdebench.cli import app

KEPT = Path(__file__).parents[2] / "results" / "quickstart"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "kept"
    made.mkdir()
    for name in ("table.csv", "suite.yaml"):
        shutil.copy(KEPT / name, made)
    return made


def shown(*arguments: str) -> str:
    ran = CliRunner().invoke(app, ["status", *arguments], env={"COLUMNS": "80"})
    assert ran.exit_code == 0
    return ran.output


@pytest.mark.parametrize("with_suite", [True, False])
def test_cells_of_a_kept_table_are_shown_as_they_ended(folder: Path, with_suite: bool) -> None:
    if not with_suite:
        (folder / "suite.yaml").unlink()
    lines = shown(str(folder)).splitlines()
    assert lines[0].split() == ["cell", "status"]
    assert lines[1].split("  ")[0] == "PDE-SSM-DiT · 32 px"
    assert [line.split()[-1] for line in lines[1:7]] == ["done"] * 6
    assert lines[7] == "6 cells: 6 done"
    assert "were not kept: this is what table.csv says of them" in " ".join(lines[8:])
    assert max(map(len, (line for line in lines if str(folder) not in line))) <= 80


def test_programs_are_told_that_only_a_table_was_kept(folder: Path) -> None:
    told = json.loads(shown(str(folder), "--json"))
    assert [cell["status"] for cell in told["cells"]] == ["done"] * 6
    assert "were not kept" in told["kept"]
