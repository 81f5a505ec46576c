"""The cache survives damage, interruption and company; the split survives growth."""

import errno
import json
import multiprocessing
import os
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdebench.data.cache import cache_folder, cached
from pdebench.data.source import Sample, Skipped
from pdebench.data.split import split_of
from pdebench.errors import DataError


def samples(count=123):
    """Enough for the header's count to grow by digits while it is written."""
    for number in range(count):
        image = np.full((3, 4, 4), number, np.uint8)
        yield Sample("validation" if number % 10 == 0 else "train", image, number, enlarged=number == 5)
    yield Skipped("broken.png", "cut short")


def load(split="train", key="k", decode=samples):
    return cached("toy", 4, key, split, decode)


def refuse():
    raise AssertionError("decoded again")


def test_an_entry_is_decoded_once_and_opened_read_only():
    first = load()
    second = load(decode=refuse)
    assert isinstance(second.images, np.memmap)
    assert second.images.shape == (110, 3, 4, 4)
    assert second.labels.tolist() == [number for number in range(123) if number % 10]
    assert np.array_equal(second.images[:, 0, 0, 0], second.labels)
    assert first.checksum == second.checksum != load("validation").checksum
    assert (second.skipped, second.enlarged, second.decoded) == (
        (Skipped("broken.png", "cut short"),),
        1,
        123,
    )
    with pytest.raises(ValueError, match="read-only"):
        second.images[0] = 0


def test_another_key_is_another_entry():
    assert load(key="a").checksum != load(key="b", decode=lambda: samples(50)).checksum


@pytest.mark.parametrize("suffix", [".train.npy", ".train.labels.npy", ".json"])
@pytest.mark.parametrize("damage", ["truncated", "altered", "emptied", "removed"])
def test_a_damaged_entry_is_rebuilt(cache, suffix, damage):
    before = load()
    (file,) = cache.glob(f"toy-*{suffix}")
    content = file.read_bytes()
    if damage == "removed":
        file.unlink()
    else:
        changed = {"truncated": content[:-7], "altered": content[:-1] + b"\x01", "emptied": b""}[damage]
        file.write_bytes(changed)
    after = load()
    assert after.checksum == before.checksum
    assert np.array_equal(after.images, np.repeat(after.labels.astype(np.uint8), 48).reshape(-1, 3, 4, 4))


def test_an_interrupted_build_leaves_nothing(cache):
    def interrupted():
        yield from list(samples())[:20]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(decode=interrupted)
    assert list(cache.iterdir()) == []
    assert len(load().images) == 110


def _build_and_die(cache):
    os.environ["PDEBENCH_CACHE"] = str(cache)

    def dying():
        yield from list(samples())[:20]
        os._exit(9)

    load(decode=dying)


def test_a_killed_build_is_no_entry_and_its_leftovers_are_cleared_later(cache):
    process = multiprocessing.get_context("fork").Process(target=_build_and_die, args=(cache,))
    process.start()
    process.join()
    leftovers = list(cache.glob(".*.tmp"))
    assert leftovers
    for leftover in leftovers:
        os.utime(leftover, (time.time() - 2 * 24 * 3600,) * 2)
    assert len(load().images) == 110
    assert not list(cache.glob(".*.tmp"))


def _load_in_child(cache, queue):
    os.environ["PDEBENCH_CACHE"] = str(cache)
    queue.put(load().checksum)


def test_processes_that_build_at_once_agree(cache):
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_load_in_child, args=(cache, queue)) for _ in range(4)]
    for process in processes:
        process.start()
    found = {queue.get(timeout=20) for _ in processes}
    for process in processes:
        process.join()
    assert found == {load(decode=refuse).checksum}


def test_a_split_without_images_is_empty_not_an_error():
    only = load("validation", decode=lambda: [Sample("train", np.zeros((3, 4, 4), np.uint8))])
    assert only.images.shape == (0, 3, 4, 4)


def test_an_unwritable_cache_is_explained(cache, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pdebench.data.cache._build", full)
    with pytest.raises(DataError, match=r"cannot write the image cache.*free some space there.*PDEBENCH_CACHE"):
        load()


@pytest.mark.parametrize("below", ["", "cache", "a/b"])
def test_a_file_in_the_place_of_the_cache_is_known_before_a_cell_starts(tmp_path, monkeypatch, below):
    from pdebench.run.preflight import preflight
    from pdebench.suite.load import load_suite

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "file" / below))
    for ask in (load, lambda: preflight(load_suite("quickstart").cells(), tmp_path)):
        with pytest.raises(DataError, match=r"PDEBENCH_CACHE: .*/file is a file.*; set PDEBENCH_CACHE to a folder"):
            ask()


def test_the_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("PDEBENCH_CACHE")
    assert cache_folder() == tmp_path / "xdg" / "pdebench"


def test_the_description_lists_what_was_left_out(cache):
    load()
    (file,) = cache.glob("*.json")
    assert json.loads(file.read_text())["skipped"] == [["broken.png", "cut short"]]


@given(st.sets(st.binary(max_size=64), max_size=50), st.sets(st.binary(max_size=64), max_size=50))
def test_the_split_of_an_image_does_not_depend_on_others(some, others):
    def train(images):
        return {image for image in images if split_of(image) == "train"}

    assert train(some) == train(some | others) & some


def test_about_a_tenth_validates_and_the_rule_is_frozen():
    sides = [split_of(str(number).encode()) for number in range(10_000)]
    assert 900 < sides.count("validation") < 1100
    assert [number for number in range(60) if sides[number] == "validation"] == [6, 20, 26, 29, 44]
