"""Rows of files are what an array of all of them would be; latents are drawn by index and epoch."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdebench.data.rows import Extent, FileRows
from pdebench.data.space import SeenRows, Space
from pdebench.errors import DataError


def made(folder: Path, counts: tuple[int, ...] = (3, 0, 5, 1)) -> tuple[FileRows, np.ndarray]:
    whole = np.random.default_rng(0).integers(0, 256, (sum(counts), 2, 3, 4), np.uint8)
    extents, begin = [], 0
    for number, count in enumerate(counts):
        path = folder / f"{number}.bin"
        path.write_bytes(b"head" + whole[begin : begin + count].tobytes())
        extents.append(Extent(path, 4, count))
        begin += count
    return FileRows(extents, (2, 3, 4), "|u1"), whole


@given(st.lists(st.integers(0, 8)), st.integers(-10, 10), st.integers(-10, 10))
def test_any_index_reads_what_an_array_has(
    tmp_path_factory: pytest.TempPathFactory, index: list[int], begin: int, end: int
) -> None:
    rows, whole = made(tmp_path_factory.mktemp("rows"))
    assert rows.shape == whole.shape
    assert np.array_equal(rows[np.asarray(index, np.int64)], whole[np.asarray(index, np.int64)])
    assert np.array_equal(rows[begin:end], whole[begin:end])
    assert np.array_equal(pickle.loads(pickle.dumps(rows))[8], whole[8])


def test_a_file_that_was_cut_short_is_named(tmp_path: Path) -> None:
    rows, _ = made(tmp_path)
    path = tmp_path / "2.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"2\.bin ends before byte 124"):
        rows[:]


def test_a_row_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IndexError):
        made(tmp_path)[0][9]


def test_latents_are_drawn_by_index_and_epoch() -> None:
    random = np.random.default_rng(0)
    moments = np.concatenate(
        [random.normal(size=(6, 2, 4, 4)), random.uniform(0.5, 1, size=(6, 2, 4, 4))], 1, dtype=np.float32
    )
    space = Space(shift=(1.0, 2.0), scale=(0.5,), spread="std")
    seen = SeenRows(moments, space)
    assert seen.shape == (6, 2, 4, 4)
    assert np.array_equal(seen[[4, 1]], seen[:][[4, 1]])
    again = space.seen(moments, np.arange(6), 1)
    assert not np.isclose(seen[:], again).any()
    drawn = np.stack([space.latents(space.seen(moments, np.arange(6), epoch)) for epoch in range(400)])
    assert np.allclose(drawn.mean(0), moments[:, :2], atol=0.25)
    assert np.allclose(drawn.std(0), moments[:, 2:], rtol=0.2)
