"""A model's cost is counted once, and a cell that finds it imports nothing that it has no use for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pdebench.build import build_of
from pdebench.config import Cell
from pdebench.data import registry
from pdebench.measure import cost
from pdebench.measure.cost import Cost, count_by_name
from pdebench.measure.counted import count_ahead, counted

NAME, BUILD = "DiT-XXS/4", {"input_size": 16, "in_channels": 3, "num_classes": None, "depth": 1}


def cell(seed: int = 0, **more: object) -> Cell:
    return Cell.model_validate(
        {
            "suite": "counted",
            "data": {"name": "noise", "resolution": 16},
            "model": {"family": "DiT", "size": "XXS", "patch": 4, "depth": 1},
            "train": {"steps": 1, "batch_size": 2, "lr": 1e-4, "seed": seed},
            **more,
        }
    )


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path))
    return tmp_path / "counts"


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, **options: object) -> tuple[Cost, int]:
        raise AssertionError(f"{name} was counted again")

    monkeypatch.setattr(cost, "count_by_name", fail)


def test_the_second_time_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = counted(NAME, BUILD)
    assert first == count_by_name(NAME, **BUILD)
    monkeypatch.setattr(cost, "count_by_name", lambda name, **options: pytest.fail("counted again"))
    assert counted(NAME, BUILD) == first


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"by_kind": {}}', '{"by_kind": 3, "uncounted": {}, "params": 1}'])
def test_a_damaged_entry_is_counted_again(folder: Path, damage: str) -> None:
    first = counted(NAME, BUILD)
    (entry,) = folder.iterdir()
    entry.write_text(damage)
    assert counted(NAME, BUILD) == first
    assert entry.read_text() != damage


def test_another_model_is_another_entry(folder: Path) -> None:
    assert counted(NAME, BUILD) != counted(NAME, BUILD | {"input_size": 32})
    assert len(list(folder.iterdir())) == 2


def test_a_cache_that_cannot_be_written_costs_nothing_else(folder: Path) -> None:
    folder.write_text("a file where the folder would be")
    assert counted(NAME, BUILD) == count_by_name(NAME, **BUILD)


@pytest.mark.usefixtures("refused")
def test_a_sweep_counts_before_its_cells_and_each_model_once(folder: Path) -> None:
    count_ahead([cell(0), cell(1)])
    assert len(list(folder.iterdir())) == 1
    counted(*build_of(cell(2), registry.class_count(cell(2).data)))


def test_a_fresh_cell_imports_no_compiler_no_algebra_and_no_pandas(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures" / "all"
    pictures.mkdir(parents=True)
    for i in range(120):  # a hash sends about a tenth of them to validation
        Image.new("RGB", (16, 16), (2 * i, 0, 0)).save(pictures / f"{i}.png")
    busy = cell(
        data={"name": "folder", "resolution": 16, "path": str(pictures.parent)},
        evaluate={"samples": 2, "nfe": 2},
        measure={"operators": True},
    )
    count_ahead([busy])
    code = f"""
import sys
from pathlib import Path
from pdebench.cell import run_cell
from pdebench.build import build_of
from pdebench.config import Cell
run_cell(Cell.from_yaml({busy.to_yaml()!r}), Path({str(tmp_path)!r}))
print(*(name for name in ("torch._dynamo", "sympy", "pandas", "fvcore") if name in sys.modules))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
    assert (tmp_path / "samples.png").exists()
