"""Cells on two devices, here two processes on a CPU: they learn what one does, and end as one."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from runs import pdebench_run, wait_for, write_images, write_suite
from safetensors.torch import load_file

from pdebench.results.store import Results
from pdebench.run.limits import CellLimits
from pdebench.run.local.executor import run_cells
from pdebench.suite.config import Cell
from pdebench.suite.load import load_suite
from pdebench.system.slots import Slot, available_cores, slots

pytestmark = pytest.mark.skipif(len(available_cores()) < 2, reason="needs two cores")

SAMPLED = {"evaluate": {"samples": 10, "nfe": 2, "batch_size": 4, "metrics": ["fd_efficientnet_lite0"]}}


def gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Meddler:
    """Looks on at a run, and sends a signal to one of a cell's processes once the cell has trained a while."""

    def __init__(self, to: int | None = None, number: signal.Signals = signal.SIGKILL) -> None:
        self.to, self.number = to, number
        self.processes: list[psutil.Process] = []

    def started(self, cell: Cell, slot: Slot) -> None:
        wait_for(self._begun)  # a process that has just been replaced has no command line for a moment

    def waiting(self, why: str) -> None:
        pass

    def _begun(self) -> bool:
        children = psutil.Process().children()
        self.processes = [one for one in children if "pdebench.run.worker" in one.cmdline()]
        return len(self.processes) == 1

    def progress(self, cell: Cell, event: dict[str, Any]) -> None:
        if event["stage"] == "train" and len(self.processes) == 1:
            self.processes += self.processes[0].children()
            if self.to is not None:
                self.processes[self.to].send_signal(self.number)

    def ended(self, cell: Cell, record: dict[str, Any]) -> None:
        # a cell is over when all of its processes are, but for the moment between a process' last file and its end
        wait_for(lambda: all(map(gone, self.processes)), seconds=10)


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    """Thirty steps on small generated images."""
    folder = tmp_path_factory.mktemp("devices")
    write_images(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PDEBENCH_CACHE", str(folder / "cache"))
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        yield load_suite(write_suite(folder, steps=30)).cells()[1]


def run(cell: Cell, folder: Path, devices: int, meddler: Meddler, **sections: dict[str, Any]) -> dict[str, Any]:
    """The record of a cell on so many devices, with a state saved after every step where somebody may end it."""
    config = cell.config() | {"evaluate": {}} | sections
    config["train"] |= {"devices": devices, "accumulate": 2}
    asked = Cell.model_validate(config)
    results = Results(folder)
    results.make("", [asked.id])
    (results.cell(asked.id) / "record.json").unlink(missing_ok=True)
    limits = CellLimits(checkpoint_seconds=300.0 if sections else 0.0, warm=devices > 1)
    run_cells([asked], results, meddler, slots(None, devices), limits)
    record = results.record(asked.id)
    assert record is not None
    return record


def weights(folder: Path) -> dict[str, Any]:
    (checkpoint,) = folder.glob("cells/*/checkpoint.safetensors")
    return load_file(checkpoint)


@pytest.fixture(scope="module")
def two(cell: Cell, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A cell that two devices ran undisturbed: its record and its results."""
    folder, meddler = tmp_path_factory.mktemp("two"), Meddler()
    record = run(cell, folder, 2, meddler, **SAMPLED)
    assert len(meddler.processes) == 2
    return record, folder


def test_two_devices_learn_and_draw_what_one_does(cell: Cell, two: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    shared, folder = two
    alone = run(cell, tmp_path, 1, Meddler(), **SAMPLED)
    assert (alone["devices"], shared["devices"]) == (1, 2)
    assert shared["isolation"] == "fresh"
    for column in ("train_loss", "val_loss", "val_loss_ema"):
        assert shared[column] == pytest.approx(alone[column], rel=1e-3), column
    assert shared["fd_efficientnet_lite0"] == pytest.approx(alone["fd_efficientnet_lite0"], rel=5e-3)
    assert shared["images_seen"] == alone["images_seen"] == 120
    assert alone["sample_images_per_s_n"] == 2  # of three batches, the first left out
    assert shared["sample_images_per_s_n"] == 1  # of two rounds
    (log,) = folder.glob("cells/*/log.txt")
    assert log.read_text().count("token mixer") == 1


def test_where_all_diverge_the_cell_does_and_ends(cell: Cell, tmp_path: Path) -> None:
    burst = cell.model_copy(update={"train": cell.train.model_copy(update={"lr": 1e30})})
    diverged = run(burst, tmp_path, 2, Meddler())
    assert (diverged["status"], diverged["exit_code"]) == ("diverged", 0)
    assert "the training loss became" in diverged["message"]


@pytest.mark.exhaustive
def test_whichever_process_is_ended_the_cell_ends_like_it_and_goes_on(
    cell: Cell, two: tuple[dict[str, Any], Path], tmp_path: Path
) -> None:
    crashed = run(cell, tmp_path, 2, Meddler(1, signal.SIGSEGV))
    assert (crashed["status"], crashed["exit_code"]) == ("error", -signal.SIGSEGV)
    assert "crashed with SIGSEGV" in crashed["message"]
    assert "Segmentation fault" in crashed["log_tail"]
    killed = run(cell, tmp_path, 2, Meddler(0, signal.SIGKILL))
    assert (killed["status"], killed["exit_code"]) == ("killed", -signal.SIGKILL)
    done = run(cell, tmp_path, 2, Meddler())
    assert done["status"] == "done"
    assert done["resumed_from_step"] > 0
    whole = weights(two[1])
    assert all(whole[name].equal(weight) for name, weight in weights(tmp_path).items())


def test_more_devices_than_cores_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path)
    more = ("--set", "train.devices=4096", "--set", "train.batch_size=4096", "--results", tmp_path / "out")
    refused = pdebench_run("run", write_suite(tmp_path), *more)
    assert refused.returncode == 2
    assert "cores, too few for 1 worker of train.devices 4096" in refused.stderr
    assert not (tmp_path / "out").exists()
