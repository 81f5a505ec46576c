"""Whole runs as a user sees them: real processes, real training on a tiny folder of images."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from runs import pdebench_run, wait_for, without_report, workers, write_suite

import pdebench


def identities(results: Path) -> dict[str, float]:
    """Each record's cell and the time at which its file was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in results.glob("cells/*/record.json")}


def test_a_run_leaves_records_tables_and_a_report_and_the_same_command_does_nothing(
    suite: Path, tmp_path: Path
) -> None:
    results, fresh = tmp_path / "out", ("--set", "execution.isolation=fresh")
    first = pdebench_run("run", suite, "--results", results, *fresh)
    assert first.returncode == 0, first.stdout + first.stderr
    table = pdebench.load_results(results)
    assert list(table["status"]) == ["done", "done"]
    assert list(table["exit_code"]) == [0, 0]
    assert list(table["model.family"]) == ["DiT", "PDE-SSM-DiT"]
    assert str(table["params"].dtype) == "Int64"
    for column in ("val_loss", "macs_forward", "train_images_per_s", "sample_images_per_s", "peak_memory_bytes"):
        assert (table[column] > 0).all(), column
    assert "MALLOC_TOP_PAD_" in table["allocator"][0]
    pd.testing.assert_frame_equal(pd.read_parquet(results / "table.parquet"), table)
    assert len(pd.read_csv(results / "table.csv")) == 2
    curves = pd.read_parquet(results / "curves.parquet")
    assert list(curves["step"]) == [1, 2, 3, 1, 2, 3]
    assert "PDE-SSM-DiT" in (results / "report.html").read_text()
    assert json.loads((results / "machine.json").read_text())["device"] == table["device"][0]
    for cell, family, mixer in zip(table["cell"], table["model.family"], table["mixer_implementation"], strict=True):
        line = f"token mixer: {mixer}"
        assert f"{family}: {line}" in (results / "cells" / cell / "log.txt").read_text()
        assert line in first.stdout

    before = identities(results)
    left = results / "cells" / table["cell"][0] / "lease"  # of a run that was killed after the cell's record was there
    left.write_text(json.dumps({"host": socket.gethostname(), "pid": 0, "born": 0.0, "token": "gone"}))
    again = pdebench_run("run", suite, "--results", results)
    assert not left.exists()
    assert again.returncode == 0
    assert "nothing to do: all 2 cells are done" in again.stdout
    assert identities(results) == before

    # a changed suite runs only what changed; what it no longer has stays on disk, outside the tables
    write_suite(tmp_path, more="include: [{model.family: DiT, train.lr: 2e-3}]\n")
    changed = pdebench_run("run", suite, "--results", results)
    assert changed.returncode == 0, changed.stderr
    after = identities(results)
    assert len(after) == 3
    assert {name: after[name] for name in before} == before
    assert len(pdebench.load_results(results)) == 2

    # the same seed gives the same loss to the last digit, in a fork of a warm process too
    other = tmp_path / "other"
    warm = pdebench_run("run", write_suite(tmp_path), "--results", other, "--set", "execution.isolation=warm")
    assert warm.returncode == 0, warm.stderr
    same = pdebench.load_results(other)
    for column in ("val_loss", "val_loss_ema", "threads", "allocator", "machine_fingerprint", "exit_code"):
        assert list(same[column]) == list(table[column]), column
    assert list(table["isolation"]) == ["fresh", "fresh"]
    assert list(same["isolation"]) == ["warm", "warm"]

    sampled = pdebench_run(
        "sample", next(results.glob("cells/*/checkpoint.safetensors")), "--out", tmp_path / "s.png", "--count", 4,
        "--nfe", 2, "--label", 1, "--guidance", 2,
    )  # fmt: skip
    assert sampled.returncode == 0, sampled.stderr
    assert Image.open(tmp_path / "s.png").size == (2 * 18 + 2, 2 * 18 + 2)


def test_a_cell_can_be_evaluated_at_a_resolution_that_it_was_not_trained_on(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    only = ("--set", "grid.model.family=[PDE-SSM-DiT]", "--set", "train.steps=1")
    run = pdebench_run("run", suite, "--results", results, *only, "--set", "evaluate.resolution=8")
    assert run.returncode == 0, run.stdout + run.stderr
    table = pdebench.load_results(results)
    assert table["val_loss_transfer"][0] > 0
    assert table["val_loss_transfer"][0] != table["val_loss_ema"][0]
    assert Image.open(next(results.glob("cells/*/samples.png"))).size == (4 * (8 + 2) + 2, 8 + 2 + 2)

    refused = pdebench_run(
        "validate", suite, *only[:1], "grid.model.family=[GFNet-DiT]", "--set", "evaluate.resolution=8"
    )
    assert refused.returncode == 2
    assert "GFNet-DiT cannot be evaluated at 8 px: its weights are bound to the grid of 16 px" in refused.stderr
    uneven = pdebench_run("validate", suite, "--set", "evaluate.resolution=20")
    assert "resolution 20 is not divisible by patch 8" in uneven.stderr


def test_a_failing_cell_is_recorded_and_the_sweep_goes_on(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    write_suite(tmp_path, steps=12, more="include: [{model.family: DiT, train.lr: 1e15}]\n")
    done = pdebench_run("run", suite, "--results", results, "--json")
    assert done.returncode == 4
    failed, fine = json.loads(done.stdout)
    assert failed["status"] == "diverged"
    assert "became" in failed["message"]
    assert fine["status"] == "done"
    assert "--retry failed" in done.stderr
    assert "Traceback" not in done.stderr
    before = identities(results)
    assert pdebench_run("run", suite, "--results", results).returncode == 4
    assert identities(results) == before  # a failure stands until it is retried by name
    assert pdebench_run("run", suite, "--results", results, "--retry", "failed").returncode == 4
    assert identities(results)[failed["cell"]] != before[failed["cell"]]
    assert identities(results)[fine["cell"]] == before[fine["cell"]]
    assert "diverged" in (results / "report.html").read_text()


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds the cell's process under /proc")
def test_interrupting_and_killing_lose_nothing(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    write_suite(tmp_path, steps=100_000)
    run = without_report("run", suite, "--results", results)

    # Ctrl-C, or TERM: the cell's process saves its state and ends, nothing is half written, and the way on is said
    for way in (signal.SIGINT, signal.SIGTERM):
        process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        wait_for(workers)
        if way is signal.SIGINT:  # another suite has no business here
            second = pdebench_run("run", suite, "--results", results, "--set", "train.lr=2e-3")
            assert second.returncode == 2
            assert "with another suite" in second.stderr
        process.send_signal(way)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 130, output
        assert "0 cells are done and kept, 2 are left" in output
        assert "go on with: pdebench run" in output
        wait_for(lambda: not workers())
        assert list(pdebench.load_results(results)["status"]) == ["interrupted"]

    # kill -9 of the whole run: its cell's process does not live on
    process = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(workers)
    process.kill()
    process.wait()
    wait_for(lambda: not workers())

    # kill -9 of a cell: it is recorded as killed, and the next run takes it up again
    process = subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(2):
        wait_for(workers)
        victim = workers()[0]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda victim=victim: victim not in workers())
    assert process.wait(timeout=60) == 4
    table = pdebench.load_results(results)
    assert list(table["status"]) == ["killed", "killed"]
    assert "SIGKILL" in table["message"][0]
    assert list(table["exit_code"]) == [-9, -9]
    finished = pdebench_run("run", write_suite(tmp_path, steps=2), "--results", results)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert list(pdebench.load_results(results)["status"]) == ["done", "done"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "quickstat"], "did you mean 'quickstart'?"),
        (["run", "quickstart", "--set", "train.stepz=3"], "did you mean 'steps'?"),
        (["report", "nowhere"], "there is no results folder nowhere"),
        (["sample", "nothing.safetensors"], "cannot read the checkpoint nothing.safetensors: No such file"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_2(arguments: list[str], message: str) -> None:
    done = pdebench_run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_missing_data_is_said_before_anything_is_trained(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    done = pdebench_run("run", suite, "--results", results, "--set", f"data.path={tmp_path / 'gone'}")
    assert done.returncode == 2
    assert "gone" in done.stderr
    assert not list(results.glob("cells/*"))


def test_a_torn_record_cannot_be_taken_for_one(suite: Path, tmp_path: Path) -> None:
    """A crash while a record is written leaves a temporary file, which is no record."""
    cell = pdebench.load_suite(suite).cells()[0]
    folder = tmp_path / "out" / "cells" / cell.id
    folder.mkdir(parents=True)
    (folder / f".record.json.{'0' * 16}.tmp").write_text('{"suite": "tiny", "sta')
    done = pdebench_run("run", suite, "--results", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "out").glob("cells/*/.*.tmp"))
