"""What a run prints when it ends."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from pdebench.run.summary import MOST_ROWS, print_outcome
from pdebench.run.sweep import RunOutcome
from pdebench.suite.load import load_suite

SUITE = """\
suite: many
data: {{name: emoji, resolution: 32}}
model: {{family: DiT, size: XXS, patch: 4}}
train: {{steps: 1, batch_size: 2, lr: 1e-3}}
grid: {{train.seed: [{seeds}]}}
"""


def shown(tmp_path: Path, cells: int, **columns: object) -> str:
    """What is printed of a suite whose cells finished in the order of their seeds."""
    path = tmp_path / "many.yaml"
    path.write_text(SUITE.format(seeds=", ".join(map(str, range(cells)))))
    planned = load_suite(path).planned()
    records: list[dict[str, Any]] = [
        {"cell": cell.id, "status": "done", "finished_at": f"2026-01-01T00:{cell.train.seed:02}:00+00:00", **columns}
        for cell in planned
    ]
    console = Console(file=io.StringIO(), width=80)
    print_outcome(console, RunOutcome(tmp_path, planned, 0, records, 0, interrupted=False), "many")
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_of_many_cells_those_that_finished_last_are_shown(tmp_path: Path) -> None:
    text = shown(tmp_path, MOST_ROWS + 3)
    assert text.count("seed ") == MOST_ROWS
    assert "seed 2 " not in text
    assert f"seed {MOST_ROWS + 2} " in text
    assert "3 cells" in text


def test_all_of_few_cells_are_shown(tmp_path: Path) -> None:
    text = shown(tmp_path, 4)
    assert text.count("seed ") == 4
    assert "finished before" not in text


def test_what_the_task_is_about_stands_beside_the_loss(tmp_path: Path) -> None:
    heads, line = shown(tmp_path, 1, params=1_500_000, val_loss=1.25, top1=0.4321, ece=0.1).splitlines()[:2]
    assert heads.split()[-5:] == ["val", "loss", "top1", "train", "img/s"]
    assert line.split()[-5:] == ["1.50", "M", "1.2500", "43.2%", "—"]
    heads, line = shown(tmp_path, 1, fid=12.5, precision=0.5, recall=0.5).splitlines()[:2]
    assert heads.split()[-3:] == ["FID", "train", "img/s"]
    assert line.split()[-4:] == ["—", "—", "12.50", "—"]


def test_what_was_not_counted_has_no_unit(tmp_path: Path) -> None:
    assert "— M" not in shown(tmp_path, 1)
