"""A set that changed under the same path is noticed, whichever source reads it: by the next run, and by a cell that is
gone on with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from latent_folders import write_pairs, write_shards, write_tree
from picture_kinds import SIDE, Kind, filler
from picture_sets import WRITERS
from test_packed import pack

from pdebench.data import registry
from pdebench.errors import DataError, ResultsError
from pdebench.results.changed import changed_since
from pdebench.results.store import Results
from pdebench.suite.config import Cell
from pdebench.suite.load import load_suite
from pdebench.suite.resolved import resolved

KINDS = [Kind(f"{seed}.png", filler(seed)) for seed in range(100, 105)]
Keys = dict[str, Any]


def pictures(name: str) -> Callable[[Path, pytest.MonkeyPatch], Keys]:
    return lambda folder, patch: {**WRITERS[name](folder, KINDS, patch).keys, "resolution": SIDE}


def latents(write: Callable[[Path], Any]) -> Callable[[Path, pytest.MonkeyPatch], Keys]:
    def keys(folder: Path, patch: pytest.MonkeyPatch) -> Keys:
        write(folder)
        return {"name": "encoded", "path": folder, "resolution": 4, "flip": False}

    return keys


SETS = {
    **{name: pictures(name) for name in ("folder", "parquet", "arrow", "shards", "country211", "caltech256")},
    "safetensors": latents(write_shards),
    "one file a latent": latents(write_tree),
    "pairs": latents(write_pairs),
}


def cell_of(folder: Path, keys: Keys) -> Cell:
    """The cell of a suite, as it is run."""
    suite = {
        "suite": "tiny",
        "data": {key: str(value) if isinstance(value, Path) else value for key, value in keys.items()},
        "model": {"family": "DiT", "size": "XXS", "patch": 2},
        "train": {"steps": 1, "batch_size": 2, "lr": 1e-3, "precision": "fp32"},
    }
    (folder / "suite.yaml").write_text(json.dumps(suite))
    (cell,) = resolved(load_suite(folder / "suite.yaml").cells(), "fp32")
    return cell


def change(folder: Path) -> None:
    """One bit in the middle of its largest file, which keeps its name, size and date."""
    path = max(
        (file for file in folder.rglob("*.*") if file.suffix != ".json" and file.is_file()),
        key=lambda file: file.stat().st_size,
    )
    held, about = bytearray(path.read_bytes()), path.stat()
    held[len(held) // 2] ^= 1
    path.write_bytes(held)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def interrupted(folder: Path, cell: Cell) -> Results:
    """The results folder of a run that was ended in the midst of this cell."""
    results = Results(folder / "out")
    results.make("tiny", [cell.id])
    results.describe([cell])
    (results.cell(cell.id) / "state").mkdir()
    (results.cell(cell.id) / "state" / "00000001.pt").touch()
    return results


def noticed(results: Results, before: Cell, now: Cell) -> None:
    """By a run, which has another cell to do and says why not that one, and by who goes on with it nevertheless."""
    assert now.id != before.id
    with pytest.raises(ResultsError, match=f"changed since the training of cell {before.id} was interrupted"):
        changed_since(results, [now])
    with pytest.raises(DataError, match=r"changed since this cell was begun"):
        registry.verify(before.data, before.data.content)


@pytest.mark.parametrize("name", SETS)
def test_a_set_that_changed_is_noticed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = SETS[name](tmp_path / "set", monkeypatch)
    before = cell_of(tmp_path, keys)
    results = interrupted(tmp_path, before)
    assert cell_of(tmp_path, keys) == before
    assert changed_since(results, [before]) == []
    change(tmp_path / "set")
    noticed(results, before, cell_of(tmp_path, keys))


def test_a_packed_set_that_was_damaged_is_refused_and_one_that_was_packed_again_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS["folder"](tmp_path / "images", KINDS, monkeypatch)
    keys = {"name": "packed", "path": tmp_path / "packed", "resolution": SIDE}
    again = ("--resolution", SIDE, "--out", tmp_path / "packed", "--workers", 1)
    pack(tmp_path / "images", *again)
    before = cell_of(tmp_path, keys)
    results = interrupted(tmp_path, before)
    change(tmp_path / "packed")
    for refused in (lambda: cell_of(tmp_path, keys), lambda: registry.verify(before.data, before.data.content)):
        with pytest.raises(DataError, match=r"\.npy is not as it was packed"):
            refused()
    for file in (tmp_path / "packed").iterdir():
        file.unlink()
    (tmp_path / "images" / "001" / KINDS[0].name).write_bytes(filler(999))
    pack(tmp_path / "images", *again)
    noticed(results, before, cell_of(tmp_path, keys))


def test_a_changed_class_is_another_set_of_latents(tmp_path: Path) -> None:
    write_pairs(tmp_path / "set")
    keys = {"name": "encoded", "path": tmp_path / "set", "resolution": 4, "flip": False}
    before = cell_of(tmp_path, keys)
    np.save(tmp_path / "set" / "imagenet256_labels" / "3.npy", np.asarray([1]))
    assert cell_of(tmp_path, keys).id != before.id
