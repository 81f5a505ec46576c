"""A model's cost is counted once, and a cell that finds it imports nothing that it has no use for."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_up import install, register
from PIL import Image

from pdebench.data import registry
from pdebench.models.registry import FAMILIES
from pdebench.models.shell import Shell
from pdebench.plan import cost
from pdebench.plan.cost import CountedCost, count_by_name
from pdebench.plan.cost_cache import cached_cost, count_ahead
from pdebench.suite.build import build_of
from pdebench.suite.config import Cell

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
    def fail(name: str, **options: object) -> tuple[CountedCost, int]:
        raise AssertionError(f"{name} was counted again")

    monkeypatch.setattr(cost, "count_by_name", fail)


def test_the_second_time_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cached_cost(NAME, BUILD)
    assert first == count_by_name(NAME, **BUILD)
    monkeypatch.setattr(cost, "count_by_name", lambda name, **options: pytest.fail("counted again"))
    assert cached_cost(NAME, BUILD) == first


DAMAGE = ["", "{", "[]", '{"by_kind": {}}', '{"by_kind": 3, "uncounted": {}, "params": 1}', "[" * 10**5, "\udcff"]


@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
def test_a_damaged_entry_is_counted_again(folder: Path, damage: str) -> None:
    first = cached_cost(NAME, BUILD)
    (entry,) = folder.iterdir()
    damage = damage.encode(errors="surrogateescape")
    entry.write_bytes(damage)
    assert cached_cost(NAME, BUILD) == first
    assert entry.read_bytes() != damage


@pytest.mark.parametrize("digit", ["first", "last"])
def test_a_digit_that_was_flipped_is_noticed(folder: Path, digit: str) -> None:
    first = cached_cost(NAME, BUILD)
    (entry,) = folder.iterdir()
    text = entry.read_text()
    at = text.index(str(first[1])) if digit == "first" else text.index(str(first[1])) + len(str(first[1])) - 1
    entry.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
    assert cached_cost(NAME, BUILD) == first
    assert entry.read_text() == text


def test_the_entry_of_another_model_is_noticed(folder: Path) -> None:
    cached_cost(NAME, BUILD)
    (entry,) = folder.iterdir()
    another = cached_cost(NAME, BUILD | {"input_size": 32})
    (second,) = set(folder.iterdir()) - {entry}
    second.write_bytes(entry.read_bytes())
    assert cached_cost(NAME, BUILD | {"input_size": 32}) == another


def test_another_model_is_another_entry(folder: Path) -> None:
    assert cached_cost(NAME, BUILD) != cached_cost(NAME, BUILD | {"input_size": 32})
    assert len(list(folder.iterdir())) == 2


def test_a_cache_that_cannot_be_written_costs_nothing_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cached_cost(NAME, BUILD)
    (entry,) = folder.iterdir()
    entry.unlink()
    entry.mkdir()  # can be neither read nor replaced
    assert cached_cost(NAME, BUILD) == first
    entry.rmdir()
    folder.rmdir()
    folder.write_text("a file where the folder would be")
    assert cached_cost(NAME, BUILD) == first
    monkeypatch.setenv("PDEBENCH_CACHE", str(folder / "below"))
    assert cached_cost(NAME, BUILD) == first
    count_ahead([cell()])


def test_a_disk_that_is_full_costs_nothing_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert cached_cost(NAME, BUILD) == count_by_name(NAME, **BUILD)
    assert not list(folder.iterdir())


def test_a_machine_without_room_for_a_process_counts_in_the_cell(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    count_ahead([cell()])
    assert not folder.exists()


@pytest.mark.usefixtures("refused")
def test_a_sweep_counts_before_its_cells_and_each_model_once(folder: Path) -> None:
    count_ahead([cell(0), cell(1)])
    assert len(list(folder.iterdir())) == 1
    cached_cost(*build_of(cell(2), registry.class_count(cell(2).data)))


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
from pdebench.run.cell import run_cell
from pdebench.suite.build import build_of
from pdebench.suite.validation import cell_from_yaml
run_cell(cell_from_yaml({busy.to_yaml()!r}), Path({str(tmp_path)!r}))
print(*(name for name in ("torch._dynamo", "sympy", "pandas", "fvcore") if name in sys.modules))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
    assert (tmp_path / "samples.png").exists()


MIXER = """
from pathlib import Path
from pdebench.models.mixers.base import Mixer
from torch import nn

Path({trace!r}).touch()

class Layers(Mixer):
    def __init__(self, place, options):
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(place.width, place.width) for _ in range({layers})))

    def forward(self, x, c):
        return self.layers(x)
"""
ASK = """
import json, sys
from pathlib import Path
from pdebench.plan.cost_cache import cached_cost
cost, params = cached_cost("Layers-XXS/4", {"input_size": 16, "depth": 1})
print(json.dumps([cost.macs, params]))
"""


def test_an_edited_mixer_of_another_package_is_counted_again(tmp_path: Path, folder: Path) -> None:
    site, built = tmp_path / "site", tmp_path / "built"
    (site / "layered" / "inner").mkdir(parents=True)
    (site / "layered-1.0.dist-info").mkdir()
    (site / "layered-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: layered\nVersion: 1.0\n")
    (site / "layered-1.0.dist-info" / "entry_points.txt").write_text("[pdebench.families]\nLayers = family:LAYERS\n")
    (site / "family.py").write_text(
        "from pdebench.models.closed_form import none\nfrom pdebench.models.registry import Family\n"
        'LAYERS = Family("Layers", "layered.inner.mixer:Layers", "", "", none)\n'
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), *sys.path]), "PYTHONDONTWRITEBYTECODE": "1"}

    def ask(layers: int) -> list[int]:
        (site / "layered" / "inner" / "mixer.py").write_text(MIXER.format(layers=layers, trace=str(built)))
        built.unlink(missing_ok=True)
        done = subprocess.run(
            [sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
        )
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    once = ask(1)
    assert built.exists()  # it was imported, and counted
    twice = ask(2)
    assert built.exists()
    assert twice[0] - once[0] == 16 * 128 * 128
    assert twice[1] - once[1] == 128 * 128 + 128
    assert ask(1) == once
    assert not built.exists()  # it was read, and not so much as imported
    assert len(list(folder.iterdir())) == 2


def test_what_cannot_be_known_by_its_source_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, lambda self: None, lambda self, u: u)
    once = cached_cost(NAME.replace("DiT", "Made-Up"), BUILD)
    install(monkeypatch, lambda self: None, lambda self, u: u @ u)
    assert cached_cost(NAME.replace("DiT", "Made-Up"), BUILD)[0].macs > once[0].macs
    assert not folder.exists()


def test_a_shell_of_another_package_is_another_entry(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Around one of our mixers, under the name of one of our families."""
    first = cached_cost(NAME, BUILD)
    other = dataclasses.replace(FAMILIES["DiT"], shell=Shell(norm="rms"))
    register(monkeypatch, other)
    assert cached_cost(NAME, BUILD)[1] > first[1]
