"""A cell that others work on, or take over from a run that was asleep: who waits says so, and one record is left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pdebench.results.lease import Leases
from pdebench.results.store import Results, write_json
from pdebench.run.exit_codes import TAKEN
from pdebench.run.limits import CellLimits
from pdebench.run.local.executor import run_cells
from pdebench.run.sweep import settle
from pdebench.suite.config import Cell
from pdebench.suite.load import load_suite
from pdebench.system.slots import Slot, cpu_environment
from pdebench.train.state import Snapshots

LATER = "2199-01-01T00:00:00.000+00:00"


class Told:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.waits: list[str] = []
        self.ends: list[dict[str, Any]] = []
        self.on_training: Callable[[], None] = lambda: None
        self.on_wait: Callable[[], None] = lambda: None

    def started(self, cell: Cell, slot: Slot) -> None:
        self.events.append("started")

    def progress(self, cell: Cell, event: dict[str, Any]) -> None:
        if event["stage"] == "train" and "train" not in self.events:
            self.events.append("train")
            self.on_training()

    def ended(self, cell: Cell, record: dict[str, Any]) -> None:
        self.ends.append(record)

    def waiting(self, why: str) -> None:
        self.waits.append(why)
        self.on_wait()


@pytest.fixture
def cells(suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Cell]:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    study = load_suite(
        suite, ["train.steps=100000", "grid.model.family=[DiT, None-DiT, GFNet-DiT, PDE-SSM-DiT, S4D-DiT]"]
    )
    return settle(study, Results(tmp_path / "out"), "fp32", print)


def record_of(cell: Cell) -> dict[str, Any]:
    about = {"suite": cell.suite, "cell": cell.id, "planned_as": cell.planned_as, "status": "done", "message": None}
    return {**about, **cell.flat(), "finished_at": LATER, "seconds_total": 1.0, "val_loss": 0.123}


def finish(cell: Cell, results: Results) -> None:
    """Leave the record of a cell as another run does, which has its lease."""
    write_json(results.cell(cell.id) / "record.json", record_of(cell))
    (results.cell(cell.id) / "lease").unlink()


def steal(folder: Path) -> None:
    """Take a lease over from a holder that was asleep, as a run on another machine does."""
    thief = folder / ".lease.thief"
    thief.write_text(json.dumps({"host": "elsewhere", "pid": 7, "token": "thief", "boot": "another"}))
    thief.replace(folder / "lease")


def test_who_waits_says_for_which_cell_and_for_whom(cells: list[Cell], tmp_path: Path) -> None:
    results, told = Results(tmp_path / "out"), Told()
    other, cell = Leases(results.folder), cells[0]
    assert other.claim(results.cell(cell.id))

    def done() -> None:
        other.release(results.cell(cell.id))
        write_json(results.cell(cell.id) / "record.json", record_of(cell))

    told.on_wait = done
    run_cells([cell], results, told, [Slot("cpu", cpu_environment())], CellLimits())
    assert told.waits == [f"for cell {cell.id}, which {other.holder} works on"]
    assert f"process {os.getpid()} on " in told.waits[0]
    assert [record["val_loss"] for record in told.ends] == [0.123]


def test_who_waits_for_many_says_so_in_one_line(cells: list[Cell], tmp_path: Path) -> None:
    results, told = Results(tmp_path / "out"), Told()
    for cell in cells:
        steal(results.cell(cell.id))

    def done() -> None:
        for cell in cells:
            finish(cell, results)

    told.on_wait = done
    run_cells(cells, results, told, [Slot("cpu", cpu_environment())], CellLimits())
    named = ", ".join(cell.id for cell in cells[:3])
    assert told.waits == [f"for cells {named} and 2 more, which process 7 on elsewhere works on"]
    assert len(told.ends) == 5


@pytest.mark.parametrize("warm", [False, True])
def test_a_cell_that_was_taken_over_ends_and_the_first_record_stays(
    cells: list[Cell], tmp_path: Path, warm: bool
) -> None:
    results, told, cell = Results(tmp_path / "out"), Told(), cells[0]
    folder = results.cell(cell.id)
    told.on_training = lambda: steal(folder)

    def done() -> None:
        if told.waits[-1].startswith("another run took"):
            finish(cell, results)

    told.on_wait = done
    slot = Slot("cpu", cpu_environment())
    run_cells([cell], results, told, [slot], CellLimits(warm=warm))
    assert told.events == ["started", "train"]
    assert told.waits[0] == f"another run took cell {cell.id} over while this one was asleep"
    assert results.record(cell.id) == record_of(cell)
    assert told.ends == [record_of(cell)]
    assert "another run took this cell over" in (folder / "log.txt").read_text()


@pytest.mark.parametrize("thief", ["works", "has finished"])
def test_a_second_record_never_takes_the_place_of_the_first(cells: list[Cell], tmp_path: Path, thief: str) -> None:
    results, cell = Results(tmp_path / "out"), cells[0]
    folder, asleep = results.cell(cell.id), Leases(results.folder)
    assert asleep.claim(folder)
    steal(folder)
    write_json(folder / "record.json", record_of(cell))
    if thief == "has finished":
        (folder / "lease").unlink()
    code = (
        "import sys; from pathlib import Path; from pdebench.run import worker; "
        "from pdebench.run.limits import CellLimits; "
        "worker._leave(Path(sys.argv[1]), CellLimits(lease=sys.argv[2]), {'val_loss': 9.0})"
    )
    process = subprocess.run([sys.executable, "-c", code, str(folder), asleep.holder.token], capture_output=True)
    assert process.returncode == TAKEN, process.stderr
    assert results.record(cell.id) == record_of(cell)
    with asleep.ending(folder) as ours:
        assert not ours
    assert (folder / "lease").exists() is (thief == "works")


def test_a_state_is_not_saved_into_a_cell_that_is_anothers(tmp_path: Path) -> None:
    def end() -> None:
        raise InterruptedError

    snapshots = Snapshots(tmp_path / "state", check=end)
    with pytest.raises(InterruptedError):
        snapshots.save(1, {})
    assert not list(tmp_path.iterdir())
