"""Suites on SLURM, whose commands a script stands in for; `tests/slurm` has the real ones."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from runs import pdebench_run, wait_for, write_suite

import pdebench
from pdebench.errors import SchedulerError
from pdebench.results.lease import Leases
from pdebench.results.store import Results, write_json
from pdebench.run.limits import CellLimits
from pdebench.run.slurm import allocation, job_arrays, jobs, submit
from pdebench.run.slurm.submit import resources, submit_suite
from pdebench.run.status import status_of
from pdebench.suite.load import load_suite
from pdebench.system import locks

ONE = ("--set", "grid.model.family=[DiT]")
SHORT = ("--set", "evaluate.samples=0")
ON_SLURM = ("--executor", "slurm")


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the stand-in keeps its state."""
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path / "queue"))
    import fake_slurm

    (tmp_path / "queue").mkdir()
    monkeypatch.setenv("PATH", f"{fake_slurm.install(tmp_path / 'bin')}:{os.environ['PATH']}")
    monkeypatch.setattr(submit, "LATEST", submit.SOONEST)  # looks are cheap: the controller is a folder
    return tmp_path / "queue"


def statuses(results: Path) -> list[str]:
    return [state.status for state in status_of(results).cells]


def test_a_suite_runs_as_a_job_array_and_ends_with_a_report(suite: Path, tmp_path: Path, queue: Path) -> None:
    write_suite(tmp_path, more="execution: {slurm: {partition: cpu, time: 2:00:00, cpus: 2}}\n")
    profile, results = tmp_path / "cluster.yaml", tmp_path / "out"
    profile.write_text("partition: long\nmem: 4G\n")
    run = ("run", suite, "--results", results, *ON_SLURM, "--wait", "--workers", 1, *SHORT, "--profile", profile)
    first = pdebench_run(*run)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "submitted job 1: 2 cells" in first.stdout
    assert list(pdebench.load_results(results)["status"]) == ["done", "done"]
    assert (results / "report.html").exists()
    script = (queue / "1.sh").read_text()
    for option in ("array=0-1%1", "partition=long", "time=2:00:00", "cpus-per-task=2", "mem=4G", "signal=B:USR2@120"):
        assert f"#SBATCH --{option}" in script
    assert "#SBATCH --exclusive" in script, "cells that are timed on a CPU have their node alone"
    assert not list(results.rglob("*.pkl"))
    again = pdebench_run(*run)
    assert again.returncode == 0
    assert len(list(queue.glob("*.sh"))) == 1, "nothing was left to submit"
    shown = pdebench_run("status", results)
    assert "2 cells: 2 done" in shown.stdout
    assert [cell["job"] for cell in json.loads(pdebench_run("status", results, "--json").stdout)["cells"]] == [
        "1_0",
        "1_1",
    ]


@pytest.mark.exhaustive
def test_a_cell_goes_on_after_each_way_to_end_its_job(suite: Path, tmp_path: Path, queue: Path) -> None:
    """Cancelled, it stays so until it is submitted again; near its time limit it is queued again by itself."""
    results = tmp_path / "out"
    run = ("run", suite, "--results", results, *ON_SLURM, *ONE, *SHORT, "--set", "train.steps=100")
    run = (*run, "--set", "execution.checkpoint_seconds=0")
    assert pdebench_run(*run).returncode == 0
    wait_for(lambda: list(results.glob("cells/*/state/*.pt")))
    assert statuses(results) == ["running"]
    cancelled = pdebench_run("cancel", results)
    assert "cancelled job 1: 0 queued and 1 running" in cancelled.stdout, cancelled.stderr
    wait_for(lambda: not list(queue.glob("1_*")))
    assert statuses(results) == ["interrupted"]
    reached = max(results.glob("cells/*/state/*.pt")).name
    assert pdebench_run(*run).returncode == 0
    wait_for(lambda: max(results.glob("cells/*/state/*.pt"), default=Path(reached)).name > reached)
    os.kill(int((queue / "2_0.pid").read_text()), signal.SIGUSR2)
    ended = pdebench_run(*run, "--wait")
    assert "waiting: for cells: 1 " in ended.stdout
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "not submitted again: 1 cell" in ended.stdout
    assert "2_0: its state is saved; queued again" in (results / "slurm" / "2_0_0_log.out").read_text()
    table = pdebench.load_results(results)
    assert table["status"][0] == "done"
    assert table["resumed_from_step"][0] > int(reached.partition(".")[0])


def test_cells_in_the_queue_are_not_submitted_twice(suite: Path, tmp_path: Path, queue: Path) -> None:
    (queue / "hold").touch()
    study, results = load_suite(suite), tmp_path / "out"
    assert [len(array.cells) for array in submit_suite(study, results).arrays] == [2]
    assert statuses(results) == ["queued", "queued"]
    again = submit_suite(study, results)
    assert not again.arrays
    assert len(again.under_way) == 2
    shown = pdebench_run("status", results)
    assert "(Priority)" in shown.stdout
    assert max(map(len, shown.stdout.splitlines()[:3])) <= 80
    assert "cancelled job 1: 2 queued and 0 running" in pdebench_run("cancel", results).stdout
    assert statuses(results) == ["cancelled", "cancelled"]
    assert "has no jobs" in pdebench_run("cancel", results).stdout
    assert len(submit_suite(study, results).arrays) == 1


def test_a_job_that_ends_before_its_cell_began_is_not_taken_for_done(suite: Path, tmp_path: Path, queue: Path) -> None:
    (queue / "broken").touch()
    results = tmp_path / "out"
    run = pdebench_run("run", suite, "--results", results, *ON_SLURM, "--wait")
    assert run.returncode == 4
    assert "its job ended (NODE_FAIL) and left no record" in run.stdout
    assert statuses(results) == ["lost", "lost"]


def test_failures_are_submitted_again_only_when_asked(suite: Path, tmp_path: Path, queue: Path) -> None:
    (queue / "hold").touch()
    study, results = load_suite(suite), tmp_path / "out"
    failed, other = study.cells()
    Results(results).cell(failed.id).mkdir(parents=True)
    now = "2026-01-01T00:00:00+00:00"
    record = {"suite": "tiny", "cell": failed.id, "status": "diverged", "message": "NaN", **failed.flat()}
    write_json(Results(results).cell(failed.id) / "record.json", {**record, "finished_at": now, "seconds_total": 1.0})
    assert [array.cells for array in submit_suite(study, results).arrays] == [(other.id,)]
    assert statuses(results) == ["diverged", "queued"]
    refused = tmp_path / "refused.yaml"
    refused.write_text("partition: nosuch\n")
    with pytest.raises(SchedulerError):
        submit_suite(study, results, profile=refused, retry_failed=True)
    assert statuses(results) == ["diverged", "queued"], "what was not submitted keeps its record"
    assert [array.cells for array in submit_suite(study, results, retry_failed=True).arrays] == [(failed.id,)]
    assert statuses(results) == ["queued", "queued"]
    worker = pdebench_run("worker", Results(results).cell(failed.id), "--retry", "failed")
    assert worker.returncode == 0, worker.stderr
    assert statuses(results) == ["done", "queued"]


def test_a_job_keeps_the_conditions_of_its_submission(suite: Path, tmp_path: Path, queue: Path) -> None:
    (queue / "hold").touch()
    results = tmp_path / "out"
    submit_suite(load_suite(suite, ["limits.seconds=7", "execution.timing=shared"]), results)
    script = (queue / "1.sh").read_text()
    assert "--exclusive" not in script
    (asked,) = re.findall(r"--conditions '(.*?)'", script)
    assert CellLimits.from_json(asked) == CellLimits(seconds=7.0, shared=True)
    wrong = pdebench_run("worker", next(results.glob("cells/*")), "--conditions", "{")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "--conditions must be" in wrong.stderr


def test_a_cell_that_runs_outside_slurm_is_left_alone(suite: Path, tmp_path: Path, queue: Path) -> None:
    (queue / "hold").touch()
    study, results = load_suite(suite), tmp_path / "out"
    cell = study.cells()[0]
    Results(results).make(study.to_yaml(), [cell.id for cell in study.cells()])
    Results(results).cell(cell.id).mkdir(parents=True)
    leases = Leases(results)
    leases.claim(Results(results).cell(cell.id))
    assert statuses(results) == ["running", "waiting"]
    assert cell.id not in submit_suite(study, results).arrays[0].cells
    told = pdebench_run("cancel", results).stdout
    assert f"cell {cell.id} runs outside SLURM" in told
    assert f"kill -TERM {os.getpid()}" in told
    leases.release(Results(results).cell(cell.id))


def test_each_device_of_a_cell_has_its_gpus_cores_and_memory(suite: Path, tmp_path: Path, queue: Path) -> None:
    (queue / "hold").touch()
    ask = "execution.slurm={gres: gpu:a100, cpus: 8, mem: 60G}"
    study = load_suite(suite, [ask, "grid.train.devices=[1, 4]", "grid.model.family=[DiT]"])
    assert [len(array.cells) for array in submit_suite(study, tmp_path / "out").arrays] == [1, 1]
    one, four = ((queue / f"{job}.sh").read_text() for job in (1, 2))
    for option in ("gres=gpu:a100:1", "cpus-per-task=8", "mem=60G"):
        assert f"#SBATCH --{option}\n" in one
    for option in ("gres=gpu:a100:4", "cpus-per-task=32", "mem=240G"):
        assert f"#SBATCH --{option}\n" in four
    assert "CUDA_VISIBLE_DEVICES" not in one + four
    assert "--exclusive" not in one + four


def test_a_worker_takes_the_cores_that_its_job_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "64")  # of the shell that submitted it
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert allocation._slot({"SLURM_CPUS_ON_NODE": "1"}, 1).environment["OMP_NUM_THREADS"] == "1"
    whole_node = {"SLURM_CPUS_ON_NODE": "64", "SLURM_CPUS_PER_TASK": "1"}
    assert allocation._slot(whole_node, 1).environment["OMP_NUM_THREADS"] == "1"


def test_a_worker_leaves_a_settled_cell_alone(suite: Path, tmp_path: Path, queue: Path) -> None:
    (queue / "hold").touch()
    study, results = load_suite(suite), tmp_path / "out"
    submit_suite(study, results)
    cell = study.cells()[0]
    folder = Results(results).cell(cell.id)
    record = {"suite": "tiny", "cell": cell.id, "status": "oom", "message": "memory", **cell.flat()}
    write_json(folder / "record.json", {**record, "finished_at": "2026-01-01T00:00:00+00:00", "seconds_total": 1.0})
    before = (folder / "record.json").read_bytes()
    assert pdebench_run("worker", folder).returncode == 0
    assert (folder / "record.json").read_bytes() == before
    assert not (folder / "log.txt").exists()


@pytest.mark.parametrize(("moved", "again"), [(True, True), (False, False)])
def test_a_cell_that_came_no_further_in_its_time_is_not_queued_for_ever(
    queue: Path, capsys: pytest.CaptureFixture[str], moved: bool, again: bool
) -> None:
    allocation._requeue("7_0", near_its_limit=True, moved=moved)
    assert (queue / "7_0.requeued").exists() is again
    assert ("too short" in capsys.readouterr().out) is not again


def test_what_is_wrong_is_said_in_one_sentence(
    suite: Path, tmp_path: Path, queue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, results = tmp_path / "cluster.yaml", tmp_path / "out"
    run = ("run", suite, "--results", results)

    def refused(*arguments: object) -> str:
        done = pdebench_run(*arguments)
        assert done.returncode == 2, done.stdout
        assert done.stderr.startswith("error: ")
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    profile.write_text("time: 60\npartiton: long\n")
    assert f"{profile}:2: partiton: unknown key; did you mean 'partition'?" in refused(
        *run, *ON_SLURM, "--profile", profile
    )
    profile.write_text("partition: nosuch\n")
    assert "sbatch refuses: invalid partition specified: nosuch" in refused(*run, *ON_SLURM, "--profile", profile)
    assert not (results / "jobs.json").exists()
    assert not list((results / "slurm").iterdir())
    assert "--executor slurm" in refused(*run, "--wait")
    write_suite(tmp_path, more="execution: {slurm: {mem: much}}\n")
    assert "execution.slurm.mem: must be such as 32G" in refused(*run)
    write_suite(tmp_path)
    assert "there is no folder" in refused("status", tmp_path / "nowhere")
    assert "there is no folder" in refused("cancel", tmp_path / "nowhere")
    assert "is not a cell's folder" in refused("worker", tmp_path)
    (results / "jobs.json").write_text('[{"job": "1; rm", "cells": [], "submitted_at": ""}]')
    assert "jobs.json is not a list of jobs" in refused("cancel", results)
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "there is no sbatch here" in refused(*run, *ON_SLURM)


def test_no_setting_can_leave_its_line_of_the_script(tmp_path: Path) -> None:
    profile = tmp_path / "cluster.yaml"
    profile.write_text('account: "a\\nrm -rf /"\n')
    with pytest.raises(pdebench.errors.SuiteError, match="must be one word"):
        resources(load_suite("quickstart").execution, profile)


@pytest.mark.parametrize(
    "name", ["a\n#SBATCH --account=x", "50%A", "a%jb", "a\\b", "a\rb", "\u2028", "a\x1bb", "\udcff"]
)
def test_no_path_of_results_can_leave_its_line_or_move_the_log(
    suite: Path, tmp_path: Path, queue: Path, name: str
) -> None:
    done = pdebench_run("run", suite, "--results", tmp_path / name / "out", *ON_SLURM)
    assert done.returncode == 2
    assert "which sbatch does not take literally; pass another with --results" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / name).exists()
    assert not list(queue.iterdir())


def test_a_path_of_words_and_signs_stays_one_path(suite: Path, tmp_path: Path, queue: Path) -> None:
    results = tmp_path / 'it\'s $HOME; #1 "a" `b` (c)' / "out"
    (queue / "hold").touch()
    assert pdebench_run("run", suite, "--results", results, *ON_SLURM, *ONE, *SHORT).returncode == 0
    script = (queue / "1.sh").read_text()
    (output,) = re.findall(r"#SBATCH --output=(.*)", script)
    assert shlex.split(output) == [f"{results}/slurm/%A_%a_0_log.out"]
    (command,) = re.findall(r"exec (.*)", script)
    assert shlex.split(command)[-1] == f"{results}/cells/${{cells[$SLURM_ARRAY_TASK_ID]}}"


def test_memory_and_gpus_multiply() -> None:
    assert [job_arrays._times(gres, 4) for gres in ("gpu", "gpu:2", "gpu:a100:1")] == ["gpu:4", "gpu:8", "gpu:a100:4"]
    assert [job_arrays._memory(mem, 2) for mem in ("16000", "32G")] == ["32000", "64G"]


def test_whoever_submits_while_another_does_says_so(
    suite: Path, tmp_path: Path, queue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (queue / "hold").touch()
    monkeypatch.setattr(locks, "PATIENCE", 0.0)
    results, said = tmp_path / "out", threading.Event()
    results.mkdir()
    told: list[str] = []

    def say(text: str) -> None:
        told.append(text)
        if "jobs.lock" in text:
            said.set()

    with ThreadPoolExecutor(1) as pool:
        with jobs.alone(results, print):
            submitting = pool.submit(submit_suite, load_suite(suite), results, say=say)
            assert said.wait(60)
        submitting.result()
    assert f"waiting: process {os.getpid()} on {socket.gethostname()} holds {results}/.jobs.lock" in "\n".join(told)
