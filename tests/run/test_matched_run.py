"""Sizes are measured before a run's first cell, kept, gone on with, and refused on another machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs import pdebench_run, wait_for

import pdebench
from pdebench.models.backbone import create_model
from pdebench.run.checkpoint import write_checkpoint
from pdebench.run.matching import step_pair
from pdebench.run.matching.sizes import machine_here
from pdebench.run.matching.step_pair import StepPairs
from pdebench.suite.load import load_suite
from pdebench.system.slots import slots
from pdebench.tasks.registry import TASKS

SUITE = """\
suite: timed
data: {name: noise, resolution: 16}
model: {family: DiT, size: XXS, patch: 8}
match: {by: step_time, to: DiT}
train: {steps: 2, batch_size: 2, lr: 1e-3}
evaluate: {samples: 0}
grid:
  model.family: [DiT, GFNet-DiT, PDE-SSM-DiT]
"""
# In the place of a clock: a step takes as long as its width says, and who asked is written down.
CLOCK = """
import os, sys, time
from pdebench.run.matching.step_pair import StepPairs
def ratio(self):
    open("asked.txt", "a").write(self._works[1].name + "\\n")
    while "SLOW" in os.environ and self._works[1].name.startswith("PDE"):
        time.sleep(0.1)
    return self._works[1].build["width"] / 136  # in steps of 8 channels
StepPairs.time_ratio = ratio
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("timed.yaml").write_text(SUITE)
    return Path("timed.yaml")


@pytest.fixture
def clock(suite, monkeypatch):
    monkeypatch.setattr(StepPairs, "time_ratio", StepPairs.time_ratio)  # put back afterwards
    exec(CLOCK, {})
    return Path("asked.txt")


def by_the_clock(*arguments: object) -> list[str]:
    """The command of a run in a process of its own, which has the clock too."""
    return [sys.executable, "-c", f"{CLOCK}\nfrom pdebench.cli import main; main()", "run", *map(str, arguments)]


def sizes(folder: str = "runs/timed") -> list[dict]:
    return json.loads(Path(folder, "matched.json").read_text())["sizes"]


def test_sizes_are_measured_once_and_are_what_runs(suite, clock):
    first = pdebench_run("run", suite)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "matching GFNet-DiT-XXS/8 at 16 px, batch 2 to DiT by step_time: measuring" in first.stdout
    found = {one["of"]["model"]["family"]: one["size"] for one in sizes()}
    assert {family: (one["width"], one["ratio"]) for family, one in found.items()} == {
        "GFNet-DiT": (136, 1.0), "PDE-SSM-DiT": (136, 1.0)
    }  # fmt: skip
    assert all(len(one["pairs"]) == 7 and one["low"] == one["high"] == 1.0 for one in found.values())
    table = pdebench.load_results("runs/timed").set_index("model.family")
    assert list(table["model.width"]) == [128, 136, 136]
    assert list(table["matched_by"]) == ["step_time"] * 3
    assert list(table["matched_ratio"].isna()) == [True, False, False]
    # a cell's process and the one that told the machine are alike
    held = json.loads(Path("runs/timed/matched.json").read_text())["machine"]["machine_fingerprint"]
    assert set(table["machine_fingerprint"]) == {held}
    page = Path("runs/timed/report.html").read_text()
    assert "Models have the measured time of a training step of DiT at their size" in page
    assert "GFNet-DiT-XXS/8 at 16 px 1.000 times (1.000 to 1.000)" in page
    clock.unlink()
    again = pdebench_run("run", suite)
    assert "nothing to do: all 3 cells are done" in again.stdout
    assert not clock.exists()

    # without the file the cells that are done would get others beside them
    kept = Path("runs/timed/matched.json").read_text()
    Path("runs/timed/matched.json").unlink()
    lost = pdebench_run("run", suite)
    assert lost.returncode == 2
    assert "runs/timed has cells of measured sizes, and matched.json is gone: put it back" in lost.stderr
    assert not clock.exists()

    # another machine's
    elsewhere = json.loads(kept)
    del elsewhere["checksum"]
    elsewhere["machine"] |= {"machine_fingerprint": "0" * 12, "cpu": "Some CPU"}
    Path("runs/timed/matched.json").write_text(json.dumps(elsewhere))
    refused = pdebench_run("run", suite)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "has sizes as measured on Some CPU" in refused.stderr
    assert "pass --results with another folder to have them measured here" in refused.stderr


def test_a_checkpoint_to_begin_with_is_held_to_the_width_that_is_measured(suite, clock, monkeypatch):
    monkeypatch.setattr(StepPairs, "time_ratio", lambda self: self._works[1].build["width"] / 144)
    build = {"input_size": 16, "in_channels": 3, "num_classes": None, "width": 144}
    model = create_model("PDE-SSM-DiT-XXS/8", **build)
    write_checkpoint(model, "PDE-SSM-DiT-XXS/8", build, TASKS["generation"].looked_at(), Path())
    asked = ("run", suite, "--only-match", "--set", "train.init=checkpoint.safetensors", "--set")
    family = "grid.model.family=[PDE-SSM-DiT]"
    assert load_suite(suite, [family]).planned()[0].model.width == 136, "what it is taken to be until it is measured"
    found = pdebench_run(*asked, family)
    assert found.returncode == 0, found.stderr
    assert [one["size"]["width"] for one in sizes()] == [144]
    other = pdebench_run(*asked, "grid.model.family=[GFNet-DiT]", "--results", "other")
    assert other.returncode == 2
    assert "of family PDE-SSM-DiT, and this cell's GFNet-DiT-XXS/8 has family GFNet-DiT" in other.stderr
    assert not Path("other/matched.json").exists()


def test_a_kill_while_measuring_loses_no_size_that_was_found(suite, clock):
    killed = subprocess.Popen(
        by_the_clock(suite, "--only-match"), env={**os.environ, "SLOW": "1"}, stdout=subprocess.PIPE, text=True
    )
    wait_for(lambda: clock.exists() and "PDE" in clock.read_text(), 180)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert [one["of"]["model"]["family"] for one in sizes()] == ["GFNet-DiT"]
    before = sizes()[0]
    clock.unlink()
    done = pdebench_run("run", suite, "--only-match")
    assert done.returncode == 0, done.stderr
    assert "GFNet" not in clock.read_text()
    assert sizes()[0] == before
    assert not load_suite(suite).unmeasured
    assert not Path("runs/timed/cells").exists()


def test_two_runs_do_not_measure_at_once_and_find_one_size(suite, clock):
    both = [
        subprocess.Popen(
            by_the_clock(suite, "--only-match"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    told = [one.communicate(timeout=300)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], told
    assert len(sizes()) == 2
    # what was asked for is what was kept, once: one of the two read what the other had found
    pairs = [one for size in sizes() for tried in (*size["earlier"], size["size"]) for one in tried["pairs"]]
    assert clock.read_text().count("\n") == len(pairs)


def test_an_interrupted_measurement_ends_as_a_run_does(suite, clock):
    asked = subprocess.Popen(by_the_clock(suite), env={**os.environ, "SLOW": "1"}, stdout=subprocess.PIPE, text=True)
    wait_for(lambda: clock.exists() and "PDE" in clock.read_text(), 180)
    asked.send_signal(signal.SIGTERM)
    told, _ = asked.communicate(timeout=30)
    assert asked.returncode == 130
    assert "sizes that were found are kept in runs/timed" in told
    assert len(sizes()) == 1


def test_what_cannot_be_matched_ends_the_run_before_a_cell(suite, clock, monkeypatch):
    monkeypatch.setattr(StepPairs, "time_ratio", lambda self: 40.0)
    ran = pdebench_run("run", suite)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1)
    assert "GFNet-DiT-XXS/8 at 16 px, batch 2 cannot be matched to DiT by step_time" in ran.stderr
    assert not Path("runs/timed/cells").exists()


def test_real_steps_of_real_models_are_timed_and_weighed(suite, monkeypatch):
    """How long they take is not looked at; that nothing is left running is."""
    monkeypatch.setattr(step_pair, "BLOCKS", 1)
    monkeypatch.setattr(step_pair, "BURST", 0.01)
    from pdebench.run.matching.sizes import CellPlace, _work

    question = load_suite(suite).unmeasured[0]
    (slot,) = slots(None)
    place = CellPlace(Path("none"), slot, None)
    wide = question.at(question.own._replace(depth=16, width=256, mlp_hidden=1024))
    pairs = StepPairs(_work(question.reference, place), _work(wide, place), slot.environment, time.monotonic() + 600)
    assert 0 < pairs.time_ratio() < 1000
    assert pairs.memory_ratio() > 1.5  # sixteen times the weights, in a process of its own
    assert pairs.machine["machine_fingerprint"] == machine_here(slot)["machine_fingerprint"]
    assert not _children()


def test_a_step_that_fails_is_one_sentence(suite, monkeypatch):
    from pdebench.run.matching.sizes import CellPlace, _work

    (slot,) = slots(None)
    question = load_suite(suite).unmeasured[0]
    work = _work(question.reference, CellPlace(Path("none"), slot, None))
    broken = step_pair.StepWork(work.name, {**work.build, "depth": -1}, work.task, work.train)
    with pytest.raises(
        pdebench.errors.ModelError, match=r"a training step of DiT-XXS/8 cannot be measured: IndexError: "
    ):
        StepPairs(work, broken, slot.environment, time.monotonic() + 600).time_ratio()
    assert not _children()


def _children() -> list[str]:
    listed = subprocess.run(["ps", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True, text=True)
    return [line for line in listed.stdout.splitlines() if "train_steps" in line]
