"""Files of images and statistics that somebody else wrote: read a part at a time, and refused in a sentence."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdebench.errors import DataError
from pdebench.metrics import npz
from pdebench.metrics.metric import DIMENSIONS, INCEPTION, POOLED, SPATIAL
from pdebench.metrics.npz import Npz
from pdebench.metrics.reference import Reference, read_reference

IMAGES = np.random.default_rng(0).integers(0, 256, (30, 4, 5, 3), dtype=np.uint8)
ROWS = IMAGES.transpose(0, 3, 1, 2)
Write = Callable[..., None]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DIMENSIONS, INCEPTION, {POOLED: 4, SPATIAL: 3})  # type: ignore[arg-type]


def statistics(side: int, end: str = "") -> dict[str, np.ndarray]:
    return {f"mu{end}": np.arange(float(side)), f"sigma{end}": np.eye(side) * (1 + side)}


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@given(st.lists(st.one_of(st.integers(0, 29), st.slices(30), st.lists(st.integers(0, 29), max_size=6)), max_size=6))
def test_rows_are_those_of_the_array_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, write: Write, asked: list
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.npz"
    write(path, np.arange(7), IMAGES, mu=np.ones(4))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(npz, "IMAGES", "arr_1")
        patched.setattr(npz, "_SKIPPED", 50)  # bytes: less than an image
        rows = Npz(path).images()
    assert (rows.shape, rows.dtype, len(rows), rows.ndim) == ((30, 3, 4, 5), np.uint8, 30, 4)
    for index in asked:
        where = np.array(index, int) if isinstance(index, list) else index
        np.testing.assert_array_equal(rows[where], ROWS[where])
    with pytest.raises(IndexError):
        rows[30]


def test_threads_may_read_what_is_deflated_at_once(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", IMAGES)
    rows, wrong = Npz(tmp_path / "a.npz").images(), []

    def read(seed: int) -> None:
        for number in np.random.default_rng(seed).integers(0, 30, 40):
            if not np.array_equal(rows[int(number)], ROWS[number]):
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_large_file_is_not_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "a.npz", IMAGES, **statistics(4), **statistics(3, "_s"))
    loaded: list[int] = []
    read = np.lib.format.read_array
    monkeypatch.setattr(np.lib.format, "read_array", lambda *a, **o: loaded.append(1) or read(*a, **o))
    reference = read_reference(tmp_path / "a.npz")
    assert len(loaded) == 4  # the statistics
    assert reference.images is not None
    np.testing.assert_array_equal(reference.images[3:5], ROWS[3:5])


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_images_and_statistics_of_adm_and_of_others_are_told_apart(tmp_path: Path, write: Write) -> None:
    path = tmp_path / "a.npz"
    write(path, IMAGES, labels=np.array(["cat"] * 30), **statistics(4), **statistics(3, "_s"))
    reference = read_reference(path)
    assert reference.title == "a.npz (30 images and statistics)"
    assert set(reference.statistics) == {(INCEPTION, POOLED), (INCEPTION, SPATIAL)}
    spatial = reference.statistics[INCEPTION, SPATIAL]
    np.testing.assert_array_equal(spatial.mean, [0, 1, 2])
    np.testing.assert_array_equal(spatial.covariance, 4 * np.eye(3))
    write(path, **statistics(4))
    assert read_reference(path).title == "a.npz (statistics)"
    write(path, IMAGES)
    assert read_reference(path).title == "a.npz (30 images)"


def test_images_are_known_by_what_they_hold(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", IMAGES)
    np.savez_compressed(tmp_path / "b.npz", IMAGES)
    np.savez(tmp_path / "c.npz", IMAGES[::-1])
    a, b, c = (read_reference(tmp_path / f"{name}.npz").checksum for name in "abc")
    assert a == b == Reference("in memory", ROWS).checksum
    assert a != c
    assert Reference("known", ROWS, "5").checksum == "5"


def _archive(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(name, content)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "is not there; give the path of a .npz file"),
        (lambda path: path.mkdir(), "it is no plain file"),
        (lambda path: path.write_bytes(b"no zip"), "is no .npz file that can be read: File is not a zip file"),
        (lambda path: np.savez(path, x=IMAGES), r"has neither images \(arr_0\) nor statistics \(mu, sigma\): it has x"),
        (lambda path: _archive(path, "x\x1b[31m.npy", b""), r"it has x\\x1b\[31m"),
        (lambda path: np.savez(path, ROWS), r"its arr_0 is u1 of shape \(30, 3, 4, 5\); images are u1 of shape \(N, H"),
        (lambda path: np.savez(path, IMAGES / 255), "its arr_0 is f8 of shape .*, 0 to 255"),
        (lambda path: np.savez(path, IMAGES[:0]), r"its arr_0 is u1 of shape \(0, 4, 5, 3\)"),
        (lambda path: np.savez(path, np.asfortranarray(IMAGES)), "its arr_0 cannot be used: .* in Fortran's order"),
        (lambda path: np.savez(path, np.array([{}])), "its arr_0 cannot be used: its values are object"),
        (lambda path: _archive(path, "arr_0.npy", b"\x93NUMPY\x01\x00"), "arr_0 cannot be used: it is no .npy file"),
        (lambda path: np.savez(path, mu=np.ones(5), sigma=np.eye(5)), r"mu is f8 of shape \(5,\), and not f8 of \(4"),
        (lambda path: np.savez(path, mu=np.ones(4)), "has no array 'sigma': it has mu"),
        (lambda path: np.savez(path, mu=np.ones(4, int), sigma=np.eye(4)), r"its mu is i8 of shape \(4,\)"),
        (lambda path: np.savez(path, mu=np.full(4, np.nan), sigma=np.eye(4)), "mu holds values that are not finite"),
        (lambda path: np.savez(path, mu=np.ones(4), sigma=np.eye(4, k=1)), "its sigma is no covariance"),
        (lambda path: np.savez(path, mu=np.ones(4), sigma=-np.eye(4)), "its sigma is no covariance"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path, make: Callable[[Path], None], why: str) -> None:
    path = tmp_path / "a.npz"
    make(path)
    with pytest.raises(DataError, match=why) as caught:
        read_reference(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_cut_short_or_damaged_says_so_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    many = np.random.default_rng(1).integers(0, 256, (300, 4, 5, 3), dtype=np.uint8)
    np.savez_compressed(path, many)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    rows = Npz(path).images()  # of which only the beginning is looked at
    with pytest.raises(DataError, match=r"a\.npz is no \.npz file that can be read"):
        rows[:]
    np.savez(path, IMAGES)
    rows = Npz(path).images()
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match="it was cut short"):
        rows[:]
