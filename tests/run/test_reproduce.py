"""A cell of a committed folder is trained again, and its losses come out to the digit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from runs import pdebench_run, run_one_cell

from pdebench.results.curves import load_curves
from pdebench.results.store import load_results
from pdebench.run import reproducing
from pdebench.run.reproducing import Again


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is kept of a folder in a repository: no cells."""
    folder = tmp_path_factory.mktemp("reproduce")
    _, results = run_one_cell(folder)
    kept = folder / "kept"
    kept.mkdir()
    for name in ("table.csv", "curves.parquet", "suite.yaml", "machine.json"):
        shutil.copy(results / name, kept / name)
    return kept


def test_a_cell_comes_to_the_same_losses(committed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # it is set to what the cell had
    row = pd.read_csv(committed / "table.csv").iloc[0]
    again = pdebench_run("reproduce", committed, row["cell"][:6])
    assert again.returncode == 0, again.stderr
    loss = float(row["val_loss"])
    assert f"val_loss: {loss!r} then, {loss!r} now: the same" in again.stdout
    assert sorted(path.name for path in committed.iterdir()) == [
        "curves.parquet", "machine.json", "suite.yaml", "table.csv",
    ]  # fmt: skip


def test_other_digits_are_told_from_another_machine(
    committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = tmp_path / "altered"
    shutil.copytree(committed, folder)
    table = pd.read_csv(folder / "table.csv")
    true = table.loc[0, "val_loss"]
    table.loc[0, "val_loss"] = true + 1e-9
    table.loc[0, "torch_version"] = "1.0"
    table.to_csv(folder / "table.csv", index=False)
    again = pdebench_run("reproduce", folder, table["cell"][0], "--json", "--out", tmp_path / "out")
    assert again.returncode == 3, again.stderr
    told = json.loads(again.stdout)
    assert told["losses"]["val_loss"] == [true + 1e-9, true]
    assert [*told["machine"]] == ["torch_version"]
    assert not told["same"]
    assert load_results(tmp_path / "out")["val_loss"].tolist() == [true]


@pytest.mark.parametrize(("machine", "status"), [({}, 1), ({"cpu": ("a", "b")}, 3)])
def test_other_digits_on_the_same_machine_are_a_fault(
    committed: Path, monkeypatch: pytest.MonkeyPatch, machine: dict[str, tuple[str, str]], status: int
) -> None:
    found = Again("0123456789ab", "DiT-XXS/8", {"val_loss": (1.0, 1.5)}, machine, {})
    monkeypatch.setattr(reproducing, "reproduce", lambda *given: found)
    told = pdebench_run("reproduce", committed, "0")
    assert told.returncode == status
    assert "val_loss: 1.0 then, 1.5 now: another" in told.stdout


def test_what_is_no_cell_is_said_before_anything_is_trained(committed: Path) -> None:
    told = pdebench_run("reproduce", committed, "nothing")
    assert told.returncode == 2
    assert "has no cell whose identity begins with 'nothing'" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_folder_in_use_is_not_written_to(committed: Path) -> None:
    """A cell that is done in it would be held against itself, and its table would be replaced."""
    row = pd.read_csv(committed / "table.csv").iloc[0]
    before = (committed / "table.csv").read_bytes()
    told = pdebench_run("reproduce", committed, row["cell"], "--out", committed)
    assert told.returncode == 2
    assert "is not empty: name a new folder" in told.stderr
    assert (committed / "table.csv").read_bytes() == before


def test_a_cell_without_a_loss_is_not_called_the_same(committed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "timed"
    shutil.copytree(committed, folder)
    table = pd.read_csv(folder / "table.csv")
    table.drop(columns=["train_loss", "val_loss", "val_loss_ema"]).to_csv(folder / "table.csv", index=False)
    told = pdebench_run("reproduce", folder, table["cell"][0])
    assert told.returncode == 2
    assert "has no losses to come to again" in told.stderr


def test_the_curves_of_a_committed_folder_are_read(committed: Path, tmp_path: Path) -> None:
    table = load_results(committed)
    curves = load_curves(committed, table)
    assert curves["cell"].unique().tolist() == table["cell"].tolist()
    assert len(curves) == 3
    assert "without samples and maps" in table.attrs["remarks"][0]
    shutil.copytree(committed, tmp_path / "broken")
    (tmp_path / "broken" / "curves.parquet").write_bytes(b"PAR1")
    broken = load_curves(tmp_path / "broken", table)
    assert broken.empty
    assert "holds no training curves" in broken.attrs["left_out"][0]
