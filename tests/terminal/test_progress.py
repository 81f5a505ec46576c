"""What a person sees of a run."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pdebench.suite.config import Cell
from pdebench.suite.labels import labels
from pdebench.suite.load import load_suite
from pdebench.system.slots import Slot
from pdebench.terminal.progress import LiveTable, PlainLines, duration

DONE = {"status": "done", "message": None, "seconds_total": 61.2, "val_loss": 0.25, "train_images_per_s": 480.0}
CPU = Slot("cpu")
MODEL = {"stage": "model", "mixer_implementation": "chunked scan in PyTorch"}


@pytest.fixture
def cells() -> list[Cell]:
    return load_suite("quickstart").cells()


def shown(watcher: LiveTable, console: Console) -> str:
    console.print(watcher.table())
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_labels_say_what_tells_cells_apart_and_no_more(cells: list[Cell]) -> None:
    assert list(labels(cells).values())[:2] == ["PDE-SSM-DiT · 32 px", "DiT · 32 px"]
    assert len(set(labels(cells).values())) == 6
    assert list(labels(cells[:1]).values()) == ["PDE-SSM-DiT"]
    terms = labels(load_suite("pde_terms").cells())
    assert list(terms.values())[:2] == ["PDE-SSM-DiT · plain · seed 0", "PDE-SSM-DiT · plain · seed 1"]
    assert "PDE-SSM-DiT · no diffusion, no reaction · seed 2" in terms.values()
    assert "DiT · seed 0" in terms.values()
    assert len(set(terms.values())) == len(terms)
    many = load_suite("learning_rates").cells()
    assert len(set(labels(many).values())) == len(many)


def test_the_live_table_fits_80_columns_and_follows_a_cell(cells: list[Cell]) -> None:
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=False)
    watcher = LiveTable(console, cells, skipped=cells[:1])
    watcher.started(cells[1], CPU)
    event: dict[str, Any] = {"stage": "train", "step": 30, "steps": 120, "loss": 0.5, "images_per_second": 96.0}
    watcher.progress(cells[1], event)
    text = shown(watcher, console)
    assert max(map(len, text.splitlines())) <= 80
    assert "done before" in text
    assert "training" in text
    assert "0.5000" in text
    assert "0:30" in text  # 90 steps of 32 images at 96 images/s
    watcher.ended(cells[1], DONE)
    watcher.ended(cells[2], DONE | {"status": "oom", "val_loss": None})
    text = shown(watcher, console)
    assert "in 1:01" in text
    assert "oom" in text


def test_the_live_table_tells_once_what_runs_a_familys_mixer(cells: list[Cell]) -> None:
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=False)
    watcher = LiveTable(console, cells, skipped=[])
    for cell in cells[1], cells[4]:  # DiT at both resolutions
        watcher.started(cell, CPU)
        watcher.progress(cell, MODEL)
    assert shown(watcher, console).count("DiT: token mixer: chunked scan in PyTorch") == 1


def test_a_long_suite_shows_what_surrounds_the_running_cell() -> None:
    many = load_suite("learning_rates").cells()
    console = Console(file=io.StringIO(), width=80, height=15, force_terminal=False)
    watcher = LiveTable(console, many, skipped=many[:30])
    watcher.started(many[30], CPU)
    text = shown(watcher, console)
    assert len(text.splitlines()) <= 15
    assert f"31 {labels(many)[many[30].id][:8]}" in text
    assert "above" in text
    assert "below" in text


def test_of_a_long_suite_every_worker_is_in_sight() -> None:
    many = load_suite("learning_rates").cells()
    console = Console(file=io.StringIO(), width=80, height=20, force_terminal=False)
    watcher = LiveTable(console, many, skipped=many[:2])
    far = (many[2], many[len(many) // 2], many[-1])
    for place, cell in enumerate(far):
        watcher.started(cell, Slot(f"cuda:{place}"))
        watcher.progress(cell, {"stage": "train", "step": 1, "steps": 9, "loss": 0.5, "images_per_second": 12345.0})
    text = shown(watcher, console)
    assert text.count("training") == len(far)
    assert text.count("12345") == len(far)
    assert len(text.splitlines()) <= 20
    assert max(map(len, text.splitlines())) <= 80


def test_plain_lines_number_the_cells(cells: list[Cell]) -> None:
    console = Console(file=io.StringIO(), width=80)
    with PlainLines(console, cells, skipped=[]) as watcher:
        watcher.started(cells[1], CPU)
        watcher.progress(cells[1], MODEL)
        watcher.ended(cells[1], DONE)
        watcher.ended(cells[2], DONE | {"status": "error", "message": "ValueError: no"})
    output = console.file
    assert isinstance(output, io.StringIO)
    lines = output.getvalue().splitlines()
    assert lines[0] == "[2/6] DiT · 32 px: started on cpu"
    assert lines[1] == "[2/6] DiT · 32 px: token mixer: chunked scan in PyTorch"
    assert "validation loss 0.2500" in lines[2]
    assert lines[3].endswith("error: ValueError: no")


def test_duration() -> None:
    assert [duration(5), duration(65), duration(3665)] == ["0:05", "1:05", "1:01:05"]
