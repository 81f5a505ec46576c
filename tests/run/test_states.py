"""What is told of saved states of somebody else, from elsewhere, or damaged: on the terminal and in the record."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import pdebench_run

import pdebench
from pdebench.results.store import Results
from pdebench.run.cell import run_cell
from pdebench.suite.load import load_suite
from pdebench.train.state import Snapshots


class Cut(Exception):
    """The machine went down."""


class CutOff(Snapshots):
    """Snapshots after every step, the second of which is the last that the machine lives to see."""

    def save(self, step: int, state: dict[str, Any]) -> None:
        super().save(step, state)
        if step == 2:
            raise Cut


def test_a_state_from_elsewhere_is_said_and_one_of_another_cell_refused(suite: Path, tmp_path: Path) -> None:
    """One cell goes on from its own state, saved by other threads; the other is given that state as well."""
    results = Results(tmp_path / "out")
    own, other = load_suite(suite).cells()
    results.cell(own.id).mkdir(parents=True)
    snapshots = CutOff(results.cell(own.id) / "state", steps=1, cell=own.id)
    threads = torch.get_num_threads()
    torch.set_num_threads(7)
    try:
        with pytest.raises(Cut):
            run_cell(own, results.cell(own.id), snapshots=snapshots)
    finally:
        torch.set_num_threads(threads)
    shutil.copytree(snapshots.folder, results.cell(other.id) / "state")

    done = pdebench_run("run", suite, "--results", results.folder)
    assert done.returncode == 4, done.stdout + done.stderr
    table = pdebench.load_results(results.folder).set_index("cell")
    assert table.loc[own.id, "resumed_from_step"] == 2
    assert not table.loc[own.id, "resumed_bit_exact"]
    assert "before: 7" in table.loc[own.id, "warnings"]
    assert "threads" in table.loc[own.id, "warnings"]
    assert table.loc[other.id, "status"] == "error"
    assert f"its cell is {own.id}, not {other.id}" in table.loc[other.id, "message"]
    assert list(results.cell(other.id).glob("state/*.pt")), "nothing is lost"

    for path in results.cell(other.id).glob("state/*.pt"):
        path.write_bytes(path.read_bytes()[:-1])
    again = pdebench_run("run", suite, "--results", results.folder, "--retry", "failed")
    assert again.returncode == 0, again.stdout + again.stderr
    record = results.record(other.id)
    assert record is not None
    assert record["resumed_from_step"] is None
    assert "no saved state is left to go on from: the training began anew" in record["warnings"]
    assert not (results.cell(other.id) / "state").exists()
