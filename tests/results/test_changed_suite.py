"""A suite that changed since it last ran in a folder: what is said of cells that it left, and what is drawn again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pdebench.results.record import COLUMNS
from pdebench.results.store import Results, write_json
from pdebench.run.sweep import run_suite, settle
from pdebench.suite.config import Cell
from pdebench.suite.load import load_suite

SUITE = """\
suite: {name}
data: {{name: noise, resolution: 16}}
model: {{family: DiT, size: XXS, patch: 8, depth: 1}}
train: {{steps: {steps}, batch_size: 4, lr: 1e-4, precision: fp32}}
grid: {{train.seed: [0, 1]}}
"""


def suite(folder: Path, name: str = "study", steps: int = 1) -> Path:
    path = folder / "suite.yaml"
    path.write_text(SUITE.format(name=name, steps=steps))
    return path


def done(cell: Cell) -> dict[str, Any]:
    known = {"suite": cell.suite, "cell": cell.id, "status": "done", "finished_at": "2026-01-01T00:00:00+00:00"}
    return {**dict.fromkeys(COLUMNS), **cell.flat(), **known, "model_name": "DiT-XXS/8", "precision_used": "fp32"}


def finish(folder: Path, path: Path) -> Results:
    """A results folder whose cells are done, without a run."""
    results = Results(folder)
    for cell in settle(load_suite(path), results, "fp32", lambda text: None):
        write_json(results.cell(cell.id) / "record.json", done(cell))
    return results


def run(folder: Path, path: Path) -> list[str]:
    """What a run with nothing to do says."""
    told: list[str] = []

    def nobody(cells: object, skipped: object) -> Any:
        raise AssertionError("a cell is run")

    run_suite(load_suite(path), folder, nobody, say=told.append)
    return told


def test_done_cells_that_a_suite_has_no_more_are_told(tmp_path: Path) -> None:
    results = finish(tmp_path / "out", suite(tmp_path))
    told: list[str] = []
    changed = load_suite(suite(tmp_path, steps=2))
    settle(changed, results, "fp32", told.append)
    (text,) = told
    assert text.startswith("2 cells that are done are of this suite no more")
    assert "outside its tables" in text
    told.clear()
    settle(changed, results, "fp32", told.append)
    assert told == []


def test_a_renamed_suite_gives_its_report_its_name(tmp_path: Path) -> None:
    out = tmp_path / "out"
    finish(out, suite(tmp_path))
    assert run(out, tmp_path / "suite.yaml") == []
    assert "<h1>study</h1>" in (out / "report.html").read_text()
    assert run(out, suite(tmp_path, name="renamed")) == []
    page = (out / "report.html").read_text()
    assert "<h1>renamed</h1>" in page
    assert "<title>renamed" in page


def test_a_report_is_not_drawn_again_where_nothing_changed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    finish(out, suite(tmp_path))
    run(out, tmp_path / "suite.yaml")
    (out / "report.html").write_text("as it is")
    run(out, tmp_path / "suite.yaml")
    assert (out / "report.html").read_text() == "as it is"


@pytest.mark.parametrize("held", ["", "suite: [1]", "a: b", "suite: \x00", "suite: " + "x" * 100, "{"])
def test_a_suite_file_without_a_name_leaves_the_records_their_own(tmp_path: Path, held: str) -> None:
    from pdebench.report.build import build_report

    out = tmp_path / "out"
    finish(out, suite(tmp_path))
    (out / "suite.yaml").write_text(held)
    assert "<h1>study</h1>" in build_report([out], None, ("svg",)).page.read_text()
