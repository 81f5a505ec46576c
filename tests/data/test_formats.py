"""Whichever source reads a file, the same pixels come of it, or the same refusal, counted and named."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from picture_kinds import SIDE, kinds
from picture_sets import WRITERS, Written
from PIL import EpsImagePlugin
from started_programs import started

from pdebench.data import registry
from pdebench.data.packed import images as packing
from pdebench.errors import CellWarning
from pdebench.suite.config import DataConfig

KINDS = kinds()
REFUSED = [kind for kind in KINDS if kind.shown is None]


class Found(NamedTuple):
    """A set as a training is given it: pixels with labels, what was left out of each split, and all that was said."""

    rows: list[tuple[np.ndarray, int]]
    skipped: set[int]
    said: str


@pytest.fixture(autouse=True)
def no_program(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file makes this process start another program; Pillow looks for its interpreter anew."""
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    started.clear()
    yield
    assert not started


@pytest.fixture(params=WRITERS)
def written(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    return WRITERS[request.param](tmp_path / "set", KINDS, monkeypatch)


def read(**keys: Any) -> Found:
    config, rows, skipped, said = DataConfig(resolution=SIDE, **keys), [], set(), []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for split in ("train", "validation"):
            part = registry.load(config, split)
            labels = [-1] * len(part) if part.labels is None else part.labels.tolist()
            rows += zip(part.images[:].astype(int), labels, strict=True)
            skipped.add(part.skipped)
    for one in caught:
        assert one.category is CellWarning, one
        said.append(str(one.message))
    return Found(rows, skipped, "\n".join(said))


def packed(keys: dict[str, Any], out: Path, monkeypatch: pytest.MonkeyPatch) -> Found:
    monkeypatch.setattr(packing, "_each", lambda work, workers: map(packing._make, work))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CellWarning)
        packing.pack(DataConfig(resolution=SIDE, **keys), out, 1, lambda done, total: None)
    return read(name="packed", path=out)


def held_against_what_the_files_show(found: Found, labelled: bool) -> None:
    sound, wrong = len(found.rows), []
    for label, kind in enumerate(KINDS, 1):
        if kind.shown is None:
            continue
        wanted = kind.shown.transpose(2, 0, 1)
        those = [given for pixels, given in found.rows if np.abs(pixels - wanted).max() <= kind.within]
        if len(those) != 1 or (labelled and those != [label]):
            wrong.append((kind.name, those))
        sound -= 1
    assert not wrong
    assert sound in (40, 44), "and the fillers"
    assert found.skipped == {len(REFUSED)}


def test_every_source_shows_what_a_file_shows(written: Written) -> None:
    found = read(**written.keys)
    held_against_what_the_files_show(found, written.labelled)
    assert re.search(rf"\b{len(REFUSED)} (of {len(found.rows) + len(REFUSED)} |members )", found.said)
    for kind in REFUSED:
        assert written.named[kind.name] in found.said, kind.name
        assert re.search(kind.why, found.said), kind.name


def test_what_is_packed_of_it_shows_the_same(written: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = packed(written.keys, tmp_path / "packed", monkeypatch)
    held_against_what_the_files_show(found, written.labelled)
    for kind in REFUSED:
        assert written.named[kind.name] in found.said, kind.name
