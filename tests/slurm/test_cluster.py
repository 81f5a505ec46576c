"""Suites on a real SLURM: `nox -s slurm`, as root."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from runs import pdebench_run, wait_for
from submitted import OFTEN, ONE, control, only, run_again_now, states, statuses, submit, weights

import pdebench
from pdebench.run.slurm.jobs import log_of


def test_an_array_runs_one_cell_at_a_time_in_order_and_every_stage_shows(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    submit(suite, results, *OFTEN, "--workers", 1, "--set", "train.steps=100")
    seen = [statuses(results)]

    def settled() -> bool:
        if (now := statuses(results)) != seen[-1]:
            seen.append(now)
        return now == ["done", "done"]

    wait_for(settled, 180)
    print(seen)
    assert ["running", "queued"] in seen
    assert ["done", "running"] in seen
    assert not [stage for stage in seen if stage.count("running") > 1]
    shown = pdebench_run("status", results)
    print(shown.stdout)
    assert "2 cells: 2 done" in shown.stdout
    ended = pdebench_run(
        "run", suite, "--results", results, "--executor", "slurm", *OFTEN, "--set", "train.steps=100", "--json"
    )
    assert [record["status"] for record in json.loads(ended.stdout)] == ["done", "done"]
    assert (results / "report.html").exists()
    first, second = (pd.Timestamp(at) for at in pdebench.load_results(results)["started_at"])
    assert first < second


def test_a_requeued_cell_ends_with_the_weights_of_one_that_was_left_alone(suite: Path, tmp_path: Path) -> None:
    longer = (*OFTEN, *ONE, "--set", "train.steps=300")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    submit(suite, whole, *longer, "--wait")
    submit(suite, cut, *longer)
    wait_for(lambda: len(states(cut)) == 2)
    task = only(cut).job
    assert task is not None
    control("requeue", task)
    wait_for(lambda: only(cut).status == "queued")
    reached = states(cut)[-1]
    print(only(cut))
    run_again_now(task)
    submit(suite, cut, *longer, "--wait")
    table = pdebench.load_results(cut)
    print(f"resumed from step {table['resumed_from_step'][0]}, state left: {reached}")
    assert table["resumed_from_step"][0] == int(reached.partition(".")[0])
    assert weights(cut) == weights(whole)
    assert not list(cut.glob("cells/*/state"))


def test_a_cell_near_its_time_limit_saves_its_state_and_is_queued_again(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    # SLURM looks at limits once in a while, and sends the signal up to a minute early
    limit = ("--set", "execution.slurm={time: 1, notice: 5}", "--set", "execution.checkpoint_seconds=1000")
    submit(suite, results, *ONE, *limit, "--set", "execution.timing=shared", "--set", "train.steps=1000000")
    wait_for(lambda: only(results).status == "running")
    wait_for(lambda: only(results).status == "queued", 120)
    task = only(results).job
    assert task is not None
    assert len(states(results)) == 1, "the only state is that which the signal asked for"
    log = log_of(results, task).read_text()
    print(log)
    assert "its state is saved; queued again" in log
    reached = states(results)
    run_again_now(task)
    wait_for(lambda: log_of(results, task).read_text().count("started on") == 2, 240)
    assert pdebench_run("cancel", results).returncode == 0
    wait_for(lambda: only(results).status == "interrupted")
    assert states(results)[0] >= reached[0]


def test_cancelled_cells_stop_and_go_on_when_they_are_submitted_again(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    submit(suite, results, *OFTEN, "--workers", 1, "--set", "train.steps=200")
    wait_for(lambda: states(results))
    done = pdebench_run("cancel", results)
    print(done.stdout)
    assert "1 queued and 1 running" in done.stdout
    wait_for(lambda: statuses(results) == ["interrupted", "cancelled"])
    print(pdebench_run("status", results).stdout)
    submit(suite, results, *OFTEN, "--set", "train.steps=200", "--wait")
    table = pdebench.load_results(results)
    assert list(table["status"]) == ["done", "done"]
    assert table["resumed_from_step"][0] > 0


def test_a_partition_that_is_not_there_is_said_before_anything_is_queued(suite: Path, tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    profile.write_text("partition: nosuch\n")
    done = pdebench_run("run", suite, "--results", tmp_path / "out", "--executor", "slurm", "--profile", profile)
    assert done.returncode == 2
    assert done.stderr.startswith("error: sbatch refuses: ")
    assert "invalid partition" in done.stderr


def test_a_job_that_cannot_start_its_cell_is_not_taken_for_done(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    submit(suite, results, *ONE, "--workers", 1)
    (cell,) = results.glob("cells/*")
    (cell / "config.yaml").unlink()
    wait_for(lambda: only(results).status == "lost")
    print(only(results))
    assert "FAILED" in only(results).detail
