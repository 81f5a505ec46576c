"""What a plan and the list of models count is kept: the second time nothing is counted and no torch imported."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from rich.console import Console

import pdebench.registry
from pdebench.cli import listing
from pdebench.models.package_code import digest_of_package
from pdebench.plan import cost, trace
from pdebench.plan.kept import Model, Pass
from pdebench.plan.model_costs import model_costs
from pdebench.tasks.registry import TASKS
from pdebench.terminal.bar import bar

SHELL = (("preset", "lightning"),)
WANTED = {
    Model("DiT-XXS/4", (("input_size", 16), ("num_classes", 10), ("depth", 1))): {Pass(2, "fp32"), Pass(4, "bf16")},
    Model("PDE-SSM-DiT-XXS/4", (("input_size", 16), ("depth", 1), ("shell", SHELL))): {Pass(2, "fp32")},
}

TASK = """\
from pdebench.tasks.generation.task import GenerationTask

class Mine(GenerationTask):
    name = "mine"
    columns, scores = {}, ()

MINE = Mine()
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fail(*arguments: object, **options: object) -> None:
    raise AssertionError("it was looked at again")


def test_a_plan_is_read_back_as_it_was_found_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[int, int]] = []
    first = model_costs(WANTED, lambda done, of: heard.append((done, of)))
    assert heard == [(0, 2), (1, 2), (2, 2)]
    monkeypatch.setattr(trace, "trace_step", fail)
    monkeypatch.setattr(cost, "count_one_block", fail)
    again = model_costs(WANTED, lambda done, of: fail())
    assert again == first
    for model, found in first.items():
        for batch, step in found.steps.items():  # the order decides how sums of floats are rounded
            assert list(again[model].steps[batch].forward.items()) == list(step.forward.items())


def test_an_entry_that_was_altered_is_found_again(folder: Path) -> None:
    first = model_costs(WANTED)
    entries = list((folder / "plans").iterdir())
    assert len(entries) == 2
    for entry in entries:
        entry.write_text(entry.read_text().replace('"params": ', '"params": 1'))
    assert model_costs(WANTED) == first


def test_what_a_gpus_road_depends_on_is_another_entry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {next(iter(WANTED)): {Pass(2, "fp32")}}
    model_costs(one)
    monkeypatch.setenv("PDEBENCH_SPECTRAL_KERNELS", "1")
    model_costs(one)
    assert len(list((folder / "plans").iterdir())) == 2


def test_an_edited_task_of_another_package_is_looked_at_again(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = tmp_path / "somebodys_task.py"
    code.write_text(TASK)
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("mine", "somebodys_task:MINE", "pdebench.tasks")
    monkeypatch.setattr(pdebench.registry, "installed", lambda group: (point,) if group == "pdebench.tasks" else ())
    monkeypatch.setattr(TASKS, "_imported", {})
    one = {next(iter(WANTED)): {Pass(2, "fp32", "mine")}}
    for entries in (1, 1, 2):
        if entries == 2:
            code.write_text(TASK + "# with another loss\n")
        digest_of_package.cache_clear()  # as in another process
        model_costs(one)
        assert len(list((folder / "plans").iterdir())) == entries


def test_a_family_is_listed_from_the_cache_and_each_shell_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pdebench.models.sizes.SIZES", {"4XS": None, "3XS": None})
    first = listing.models_of("DiT")
    other = listing.models_of("DiT", "lightning")
    assert [row["params"] for row in first] != [row["params"] for row in other]
    monkeypatch.setattr(cost, "count_one_block", fail)
    assert listing.models_of("DiT") == first
    assert listing.models_of("DiT", "lightning") == other


def test_the_same_plan_again_imports_no_torch(tmp_path: Path) -> None:
    suite = tmp_path / "small.yaml"
    suite.write_text(
        "suite: small\ndata: {name: digits, resolution: 8}\nmodel: {family: DiT, size: XXS, patch: 4, depth: 1}\n"
        "train: {steps: 2, batch_size: 2, lr: 1e-3}\n"
    )
    code = (
        "import sys\nfrom pdebench.cli import app\n"
        f"app(['plan', {str(suite)!r}, '--device', 'h100'], standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    shown = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ).stdout
        for _ in range(2)
    ]
    assert [text.splitlines()[-1] for text in shown] == ["True", "False"]
    assert shown[0].splitlines()[:-1] == shown[1].splitlines()[:-1]


@pytest.mark.parametrize(("seconds", "seen"), [(0.0, False), (0.4, True)])
def test_a_bar_shows_only_where_it_takes_long(seconds: float, seen: bool) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=80)
    with bar("counting", "models", after=0.1, console=console) as said:
        said(1, 4)
        time.sleep(seconds)
    assert ("counting" in shown.getvalue()) == seen
    assert ("1/4" in shown.getvalue()) == seen


def test_nothing_of_a_bar_reaches_what_is_no_terminal() -> None:
    shown = io.StringIO()
    with bar("counting", "models", after=0.01, console=Console(file=shown, width=80)) as said:
        said(1, 4)
        time.sleep(0.1)
    assert not shown.getvalue().strip()
