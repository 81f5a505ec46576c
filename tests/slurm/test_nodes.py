"""Cells on two nodes of a real SLURM, with gloo between them: `nox -s slurm`, as root."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from runs import pdebench_run, wait_for
from submitted import OFTEN, ONE, control, only, run_again_now, states, submit, weights

import pdebench
from pdebench.results.store import Results

LONG = (*ONE, *OFTEN, "--set", "train.steps=200")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, ...]:
    """Options of a cell on two nodes."""
    profile = tmp_path / "pair.yaml"
    profile.write_text("partition: pair\n")
    return ("--profile", str(profile), "--set", "train.nodes=2")


def workers(results: Path) -> list[psutil.Process]:
    """The processes of cells, of either node; those of the second one have been started by srun."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(results) not in line:
            continue
        if "pdebench.run.worker" in line or ("pdebench.run.nodes.slurm" in line and "srun" not in line):
            found.append(process)
    return found


def test_two_nodes_learn_what_two_devices_of_one_do(suite: Path, tmp_path: Path, pair: tuple[str, ...]) -> None:
    devices, nodes = tmp_path / "devices", tmp_path / "nodes"
    done = pdebench_run("run", suite, "--results", devices, *ONE, *OFTEN, "--set", "train.devices=2")
    assert done.returncode == 0, done.stderr
    submit(suite, nodes, *ONE, *OFTEN, *pair, "--wait")
    assert weights(nodes) == weights(devices)
    one, other = (pdebench.load_results(folder).iloc[0] for folder in (devices, nodes))
    assert (one["devices"], other["devices"], other["train.nodes"]) == (2, 2, 2)
    assert one["val_loss"] == other["val_loss"]
    assert not workers(nodes)


def test_two_nodes_go_on_where_they_were_requeued(suite: Path, tmp_path: Path, pair: tuple[str, ...]) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    submit(suite, whole, *LONG, *pair, "--wait")
    submit(suite, cut, *LONG, *pair)
    wait_for(lambda: len(states(cut)) == 2)
    task = only(cut).job
    assert task is not None
    control("requeue", task)
    wait_for(lambda: only(cut).status == "queued")
    reached = states(cut)[-1]
    assert not workers(cut)
    run_again_now(task)
    submit(suite, cut, *LONG, *pair, "--wait")
    assert pdebench.load_results(cut)["resumed_from_step"][0] == int(reached.partition(".")[0])
    assert weights(cut) == weights(whole)


def test_what_crashes_on_the_other_node_ends_the_cell_and_is_said(
    suite: Path, tmp_path: Path, pair: tuple[str, ...]
) -> None:
    results = tmp_path / "out"
    submit(suite, results, *LONG, *pair)
    wait_for(lambda: states(results))
    working = max(
        (one for one in workers(results) if "pdebench.run.nodes.slurm" in one.cmdline()), key=lambda one: one.pid
    )
    working.kill()
    wait_for(lambda: only(results).status == "killed")
    (folder,) = Results(results).folder.glob("cells/*")
    assert "on another machine was ended by signal 9" in (folder / "log.txt").read_text()
    wait_for(lambda: not workers(results), 30)
    submit(suite, results, *LONG, *pair, "--retry", "failed", "--wait")
    assert pdebench.load_results(results)["resumed_from_step"][0] > 0


def test_cancelled_cells_leave_nothing_behind_on_either_node(
    suite: Path, tmp_path: Path, pair: tuple[str, ...]
) -> None:
    results = tmp_path / "out"
    submit(suite, results, *LONG, *pair)
    wait_for(lambda: states(results))
    assert len(workers(results)) == 4  # a process and its keeper on each
    assert pdebench_run("cancel", results).returncode == 0
    wait_for(lambda: only(results).status == "interrupted")
    wait_for(lambda: not workers(results), 30)
