"""What a results folder holds belongs to its data, arithmetic and timings: nothing is taken for anything else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from runs import pdebench_run, wait_for, without_report, workers

import pdebench
from pdebench.files.manifest import MANIFEST
from pdebench.results.store import Results, read_record, write_json
from pdebench.suite.load import load_suite

ONE = ("--set", "grid.model.family=[PDE-SSM-DiT]")


def replace_images(folder: Path, seed: int = 1) -> None:
    """Other pixels in files of the same names, sizes and times."""
    rng = np.random.default_rng(seed)
    for path in sorted((folder / "images").rglob("*.png")):
        about = path.stat()
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def run(suite: Path, results: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """The cells are forks of one process: importing torch for each takes most of the time of these tests."""
    return pdebench_run("run", suite, "--results", results, "--set", "execution.isolation=warm", *more)


def losses(results: Path) -> dict[str, float]:
    table = pdebench.load_results(results)
    return dict(zip(table["cell"], table["val_loss"], strict=True))


def test_replaced_images_are_noticed_and_their_cells_kept_apart(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    assert run(suite, results, *ONE).returncode == 0
    before = losses(results)
    replace_images(tmp_path)
    again = run(suite, results, *ONE)
    assert again.returncode == 0, again.stderr
    assert "changed since this suite last ran here" in again.stdout
    assert "nothing to do" not in again.stdout
    after = losses(results)
    assert before.keys().isdisjoint(after)
    assert list(before.values()) != list(after.values())
    assert all(Results(results).record(cell) is not None for cell in before), "what is done stays on disk"
    table = pdebench.load_results(results)
    assert table["data.content"][0] == load_suite(suite).cells()[0].data.content
    assert "done" in pdebench_run("status", results).stdout


def unfinished(results: Path) -> Path:
    """As if the only cell had been interrupted."""
    (record,) = results.glob("cells/*/record.json")
    record.unlink()
    (record.parent / "state").mkdir()
    (record.parent / "state" / "00000002.pt").write_bytes(b"")
    return record.parent


def test_an_interrupted_cell_is_not_gone_on_with_on_other_images(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    assert run(suite, results, *ONE).returncode == 0
    cell = unfinished(results)
    replace_images(tmp_path)
    refused = run(suite, results, *ONE)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert f"changed since the training of cell {cell.name} was interrupted" in refused.stderr
    assert not list(results.glob("cells/*/record.json"))
    worker = pdebench_run("worker", cell)
    assert worker.returncode == 4
    record = json.loads((cell / "record.json").read_text())
    assert record["status"] == "error"
    assert "changed since this cell was begun" in record["message"]


def test_two_projects_with_one_relative_path_do_not_share_results(suite: Path, tmp_path: Path) -> None:
    results, other = tmp_path / "out", tmp_path / "other"
    (other / "images").mkdir(parents=True)
    text = suite.read_text().replace(str(tmp_path / "images"), "images")
    suite.write_text(text)
    (other / "tiny.yaml").write_text(text)
    assert run(suite, results, *ONE).returncode == 0
    mine = losses(results)
    for number, path in enumerate(sorted((tmp_path / "images").rglob("*.png"))):
        path.rename(other / "images" / f"{number}.png")
    second = run(other / "tiny.yaml", results, *ONE)
    assert second.returncode == 0, second.stderr
    assert "nothing to do" not in second.stdout
    assert mine.keys().isdisjoint(losses(results))


def test_cells_that_were_not_timed_run_again_where_timings_are_asked_for(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    shared = ("--set", "execution.timing=shared", "--workers", "2")
    assert run(suite, results, *shared).returncode == 0
    untimed = pdebench.load_results(results)
    assert list(untimed["timing"]) == ["shared", "shared"]
    assert "nothing to do" in run(suite, results, *shared).stdout

    # a run for the timings that is cut short costs nothing that was there
    slow = subprocess.Popen(without_report("run", suite, "--results", results), stdout=subprocess.PIPE, text=True)
    wait_for(workers)
    slow.send_signal(signal.SIGINT)
    told, _ = slow.communicate(timeout=60)
    assert slow.returncode == 130
    assert "2 are left" in told
    assert list(pdebench.load_results(results)["val_loss"]) == list(untimed["val_loss"])

    assert run(suite, results).returncode == 0
    timed = pdebench.load_results(results)
    assert list(timed["timing"]) == ["alone", "alone"]
    assert timed["train_step_ms_median"].notna().all()
    assert list(timed["val_loss"]) == list(untimed["val_loss"])
    assert "nothing to do" in run(suite, results, *shared).stdout


def test_a_run_for_the_timings_that_fails_loses_no_result(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    shared = ("--set", "execution.timing=shared", "--workers", "2")
    assert run(suite, results, *shared, *ONE).returncode == 0
    before = pdebench.load_results(results)
    late = ("--set", "limits.seconds=0.01")
    assert run(suite, results, *ONE, *late).returncode == 0
    after = pdebench.load_results(results)
    assert list(after["status"]) == ["done"]
    assert list(after["val_loss"]) == list(before["val_loss"])
    assert after["timing_failed"][0].startswith("timeout")
    assert "nothing to do" in run(suite, results, *ONE, *late).stdout
    assert run(suite, results, *ONE, "--retry", "failed").returncode == 0
    assert list(pdebench.load_results(results)["timing"]) == ["alone"]


def test_what_a_cell_warns_of_is_on_the_terminal_in_the_record_and_in_the_report(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    (tmp_path / "images" / "red" / "notes.txt").write_text("so much for that")
    (tmp_path / "images" / "blue" / "small.png").symlink_to("nowhere")
    told = run(suite, results)
    assert told.returncode == 0
    (said,) = [line for line in told.stdout.splitlines() if "warning:" in line and "[" in line]
    assert "2 of 42 files" in said
    table = pdebench.load_results(results)
    for text in (said, table["warnings"][0], table["warnings"][1], (results / "report.html").read_text()):
        assert "notes.txt (not an image)" in text
        assert "small.png (a link that leads nowhere)" in text
    assert list(table["data_skipped"]) == [2, 2]


def as_before(folder: Path, name: str, **changes: Any) -> None:
    """As an older pdebench left a cell: another identity, and less in its record."""
    record = json.loads((folder / "record.json").read_text())
    for key in ("data.content", "planned_as", "family_revision", "warnings"):
        record.pop(key, None)
    del record["checksum"]
    record |= {"cell": name, "train.precision": "auto", "data.path": "images", **changes}
    (folder / "record.json").write_text(json.dumps(record))
    folder.rename(folder.with_name(name))


def test_finished_cells_of_an_older_pdebench_are_taken_over(suite: Path, tmp_path: Path) -> None:
    results = tmp_path / "out"
    suite.write_text(suite.read_text().replace(", depth: 1, width: 64", ""))  # an older one knew sizes only
    assert run(suite, results).returncode == 0
    before = losses(results)
    # DiT's, and that of a family which an older one had in another revision
    first, second = sorted(results.glob("cells/*"), key=lambda folder: (read_record(folder) or {})["model.family"])
    as_before(first, "0" * 12)
    as_before(second, "1" * 12, data_checksum="of other images")
    (results / MANIFEST).unlink()
    (results / "plan.json").write_text(json.dumps(["0" * 12, "1" * 12], indent=1) + "\n")
    assert len(pdebench.load_results(results)) == 2, "they can still be read as they are"
    again = run(suite, results)
    assert again.returncode == 0, again.stderr
    assert "1 cell of this suite" in again.stdout
    assert losses(results) == before
    assert (results / "cells" / ("1" * 12)).is_dir()


@pytest.mark.parametrize("used", ["bf16"])
def test_a_cell_of_another_arithmetic_is_not_taken_for_this_one(suite: Path, tmp_path: Path, used: str) -> None:
    """`auto` on a GPU and on a CPU were one cell once."""
    results = tmp_path / "out"
    assert run(suite, results, *ONE).returncode == 0
    (cell,) = results.glob("cells/*")
    record = read_record(cell) or {}
    write_json(cell / "record.json", {**record, "precision_used": used, "val_loss": 0.5})
    again = run(suite, results, *ONE)
    assert again.returncode == 0
    assert "nothing to do" not in again.stdout
    assert losses(results)[cell.name] != 0.5
    kept = [json.loads(path.read_text()) for path in results.glob("cells/*/record.json")]
    assert sorted(one["precision_used"] for one in kept) == ["bf16", "fp32"]
