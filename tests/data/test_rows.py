"""Rows of files are what an array of all of them would be; latents are drawn by index and epoch."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pdebench.data.rows import Extent, FileRows, Subset, Widened
from pdebench.data.space import SeenRows, Space
from pdebench.errors import DataError
from pdebench.files import disk


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


def test_no_more_files_are_open_than_allowed_whoever_reads_at_once(tmp_path: Path) -> None:
    rows, whole = made(tmp_path, (1,) * 40)
    rows = FileRows(rows.extents, rows.shape[1:], "|u1", most_open=3)
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else None
    orders = [np.random.default_rng(seed).permutation(40) for seed in range(24)]
    with ThreadPoolExecutor(8) as pool:
        assert all(
            np.array_equal(got, whole[order])
            for got, order in zip(pool.map(rows.__getitem__, orders), orders, strict=True)
        )
    if before is not None:
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3


def test_each_file_is_opened_once_however_the_rows_are_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, whole = made(tmp_path, (10,) * 4)
    rows = FileRows(rows.extents, rows.shape[1:], "|u1", most_open=1)
    opened, plain = [], disk.open_plain
    monkeypatch.setattr(disk, "open_plain", lambda path, **how: opened.append(path) or plain(path, **how))
    order = np.random.default_rng(0).permutation(40)
    assert np.array_equal(rows[order], whole[order])
    assert len(opened) == 4


def test_a_file_that_begins_in_another_way_is_refused(tmp_path: Path) -> None:
    rows, whole = made(tmp_path)
    headed = FileRows(rows.extents, rows.shape[1:], "|u1", head=b"head")
    assert np.array_equal(headed[:], whole)
    path = tmp_path / "2.bin"
    path.write_bytes(b"HEAD" + path.read_bytes()[4:])
    headed = FileRows(rows.extents, rows.shape[1:], "|u1", head=b"head")
    assert np.array_equal(headed[:3], whole[:3])
    with pytest.raises(DataError, match=r"2\.bin begins in another way than the files beside it"):
        headed[5]


def test_a_subset_has_its_own_order(tmp_path: Path) -> None:
    rows, whole = made(tmp_path)
    subset = Subset(rows, np.asarray([7, 0, 3]))
    assert subset.shape == (3, 2, 3, 4)
    assert (len(subset), subset.ndim, subset.dtype) == (3, 4, np.uint8)
    assert np.array_equal(subset[:], whole[[7, 0, 3]])
    assert np.array_equal(subset[np.asarray([2, 0])], whole[[3, 7]])
    assert np.array_equal(subset[1], whole[0])
    with pytest.raises(IndexError):
        subset[3]


def test_bfloat16_is_read_as_the_same_values(tmp_path: Path) -> None:
    wanted = torch.randn(5, 2, 3, 4).bfloat16()
    (tmp_path / "b").write_bytes(wanted.view(torch.uint8).numpy().tobytes())
    rows = Widened(FileRows([Extent(tmp_path / "b", 0, 5)], (2, 3, 4), "<u2"))
    assert (rows.shape, rows.dtype, len(rows), rows.ndim) == ((5, 2, 3, 4), np.float32, 5, 4)
    assert np.array_equal(rows[[3, 1]], wanted.float().numpy()[[3, 1]])
    assert np.array_equal(rows[4], wanted.float().numpy()[4])
