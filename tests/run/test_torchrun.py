"""A run that torchrun starts on several machines, here two agents on one, with gloo between their processes."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from runs import environment, pdebench_run, wait_for, write_images, write_suite
from safetensors.torch import load_file

import pdebench
from pdebench.system.slots import available_cores

pytestmark = pytest.mark.skipif(len(available_cores()) < 2, reason="needs two cores")
ONE = ("--set", "grid.model.family=[DiT]", "--set", "execution.checkpoint_seconds=0")


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A suite of small generated images."""
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_images(tmp_path)
    return write_suite(tmp_path)


def agents(suite: Path, results: Path, processes: int, *more: str) -> list[subprocess.Popen[bytes]]:
    """torchrun on each of two machines, which starts so many processes there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", f"--nproc-per-node={processes}"]
    torchrun += ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "-m", "pdebench"]
    verb = ["run", str(suite), "--results", str(results), *ONE, *more, "--set", "train.nodes=2"]
    return [
        subprocess.Popen([*torchrun, *verb], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]


def weights(results: Path) -> dict[str, bytes]:
    (checkpoint,) = results.glob("cells/*/checkpoint.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in load_file(checkpoint).items()}


def test_torchrun_on_two_machines_runs_a_cell_on_both(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    assert [agent.wait(120) for agent in agents(suite, results, processes=1)] == [0, 0]
    (record,) = pdebench.load_results(results).to_dict("records")
    assert (record["status"], record["devices"], record["train.nodes"]) == ("done", 2, 2)
    assert (results / "report.html").exists()


@pytest.mark.exhaustive
def test_two_machines_learn_what_two_devices_do_however_often_they_are_ended(suite: Path, tmp_path: Path) -> None:
    alone, together, longer = tmp_path / "alone", tmp_path / "together", ("--set", "train.steps=150")
    assert pdebench_run("run", suite, "--results", alone, *ONE, *longer, "--set", "train.devices=2").returncode == 0
    ended = agents(suite, together, 1, *longer)
    wait_for(lambda: list(together.glob("cells/*/state/*.pt")), 60)
    for agent in ended:
        agent.send_signal(signal.SIGTERM)
    assert all(agent.wait(60) for agent in ended)  # torchrun's own status: it was ended
    assert list(pdebench.load_results(together)["status"]) == ["interrupted"]
    again = agents(suite, together, 2, *longer)  # torchrun's usual way: a process for each device, and one to spare
    assert [agent.wait(120) for agent in again] == [0, 0]
    (record,) = pdebench.load_results(together).to_dict("records")
    assert record["resumed_from_step"] > 0
    assert (record["devices"], record["train.nodes"]) == (2, 2)
    assert weights(together) == weights(alone)


def test_cells_of_two_nodes_are_refused_on_one_machine(suite: Path, tmp_path: Path) -> None:
    refused = pdebench_run("run", suite, "--results", tmp_path / "out", "--set", "train.nodes=2")
    assert refused.returncode == 2
    assert "train.nodes is 2" in refused.stderr
    assert "torchrun" in refused.stderr
    assert not (tmp_path / "out").exists()
