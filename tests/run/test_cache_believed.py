"""What lies in the cache is believed as it was written alone; what is optional there costs no cell."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import ordinary, pdebench_run, write_images, write_suite

from pdebench.data import cache as image_cache
from pdebench.data.cache import CachedSplit, cached
from pdebench.data.source import SPLITS, Sample, Skipped
from pdebench.files import disk
from pdebench.files.seal import read_sealed
from pdebench.metrics import features, kept
from pdebench.metrics.extractor_weights import Weights
from pdebench.metrics.gaussian import fitted
from pdebench.metrics.metric import DIMENSIONS, POOLED
from pdebench.plan import cost_cache
from pdebench.plan.cost import CountedCost
from pdebench.run.local.turns import Turn
from pdebench.system.slots import Slot

ONE = ("--set", "grid.model.family=[DiT]", "--set", "train.steps=1")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "fsync", lambda number: None)  # thousands of entries are made
    return tmp_path / "cache"


def decoded() -> Iterator[Sample | Skipped]:
    for label in range(3):
        yield Sample("train" if label else "validation", np.full((3, 1, 1), label, np.uint8), label, enlarged=True)
    yield Skipped("broken.png", "cut short")


def images() -> tuple[object, ...]:
    """All that an entry says, of both splits."""
    both = [cached("toy", 1, "k", split, decoded) for split in ("train", "validation")]  # type: ignore[arg-type]
    return tuple(told for entry in both for told in _told(entry))


def _told(entry: CachedSplit) -> tuple[object, ...]:
    about = (entry.skipped, entry.enlarged, entry.paged, entry.decoded, entry.classes)
    return (entry.images.tobytes(), entry.labels.tobytes(), entry.checksum, *about)


def count() -> tuple[object, ...]:
    cost, params = cost_cache.cached_cost(
        "DiT-XXS/4", {"input_size": 16, "in_channels": 3, "num_classes": None, "depth": 1}
    )
    return cost.by_kind, cost.uncounted, params


class _Network(features.Extractor):
    """A network whose features are known without it."""

    def passed(self, images: Any, *, features: Any, statistics: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        rows = torch.arange(float(len(images)))[:, None].repeat(1, 2)
        return dict.fromkeys(features, rows), {layer: fitted(rows) for layer in statistics}


def featured() -> tuple[object, ...]:
    network = _Network(features.EFFICIENTNET, Weights(Path("weights"), "0" * 64), torch.device("cpu"))
    images = np.zeros((2, 3, 1, 1), np.uint8)
    found, summed = network.of_reference(images, "1" * 64, features=[POOLED], statistics=[POOLED])
    return (found[POOLED].tolist(), summed[POOLED].mean.tolist(), summed[POOLED].covariance.tolist())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing to compute, so that each bit can be flipped."""
    monkeypatch.setitem(DIMENSIONS, features.EFFICIENTNET, {POOLED: 2})  # type: ignore[arg-type]
    monkeypatch.setattr(
        "pdebench.plan.cost.count_by_name", lambda *_, **__: (CountedCost({"linear": 1234}, []), 1_310_000)
    )


def entry(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


KINDS = pytest.mark.parametrize("kind", [images, count, featured])


def _read(cache: Path) -> list[object]:
    """The entries that are there, as they are read: None is what is not believed."""
    (about,) = cache.glob("toy-*.json")
    (count,) = cache.glob("counts/*.json")
    (rows,) = cache.glob("features-*")
    (summed,) = cache.glob("statistics-*")
    base = about.with_suffix("")
    splits = [image_cache._open(base, (3, 1, 1), split, False) for split in SPLITS]
    return [
        *splits,
        read_sealed(count, 2**20),
        kept.read(rows, {"features": (2, 2)}, torch.float32),
        kept.read(summed, {"mean": (2,), "covariance": (2, 2)}, torch.float64),
    ]


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("apart", [5, pytest.param(1, marks=pytest.mark.exhaustive)])  # 5: each bit of a byte comes
def test_a_bit_that_is_flipped_anywhere_is_noticed_and_the_entry_made_again(cache: Path, apart: int) -> None:
    known = [images(), count(), featured()]
    assert None not in _read(cache)
    paths = entry(cache)
    assert len(paths) == 8
    for path in paths:
        whole = path.read_bytes()
        for bit in range(0, 8 * len(whole), apart):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            path.write_bytes(damaged)
            assert None in _read(cache), f"bit {bit} of {path.name} was believed"
        assert [images(), count(), featured()] == known
        assert path.read_bytes() == whole


def _folder(path: Path) -> None:
    path.mkdir()


def _link(path: Path) -> None:
    elsewhere = path.parent.parent / "elsewhere"
    elsewhere.write_text("somebody's")
    path.symlink_to(elsewhere)


FOREIGN = pytest.mark.parametrize("foreign", [os.mkfifo, _link, _folder, Path.touch])


@pytest.mark.usefixtures("quick")
@KINDS
@FOREIGN
def test_what_stands_in_the_place_of_an_entry_is_neither_waited_for_nor_believed(
    cache: Path, kind: Callable[[], tuple[object, ...]], foreign: Callable[[Path], None]
) -> None:
    known = kind()
    if kind is images and foreign is _folder:
        pytest.skip("needed and not ours to remove: see the next test")
    for path in entry(cache):
        path.unlink()
        foreign(path)
        assert kind() == known
        assert kind() == known
        if path.is_dir():
            path.rmdir()
            kind()
    for elsewhere in cache.parent.rglob("elsewhere"):
        assert elsewhere.read_text() == "somebody's"


@FOREIGN
def test_a_lock_that_is_none_is_not_waited_for(cache: Path, foreign: Callable[[Path], None]) -> None:
    turn = Turn(Slot("cpu"), timed=True)
    assert turn.take()
    turn.give_back()
    locks = list(cache.glob("turns/*"))
    assert locks
    for lock in locks:
        lock.unlink()
        foreign(lock)
    assert turn.take()
    assert "process" in turn.holder()
    turn.give_back()


def test_an_entry_without_a_checksum_is_made_again(cache: Path) -> None:
    """As those of before are, which may remember of an image what was of a process."""
    known = images()
    (about,) = cache.glob("*.json")
    told = json.loads(about.read_text())
    told["skipped"].append(["sound.png", "MemoryError"])
    del told["checksum"]
    about.write_text(json.dumps(told))
    assert images() == known


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", [count, featured])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT])
def test_what_is_optional_does_without_a_cache(
    cache: Path, monkeypatch: pytest.MonkeyPatch, kind: Callable[[], tuple[object, ...]], number: int
) -> None:
    known = kind()
    shutil.rmtree(cache)

    def refuse(*given: object, **named: object) -> Any:
        raise OSError(number, os.strerror(number))

    for of, name in ((Path, "mkdir"), (disk, "replacing")):
        with monkeypatch.context() as patched:
            patched.setattr(of, name, refuse)
            assert kind() == known
    shutil.rmtree(cache, ignore_errors=True)
    cache.write_text("a file in its place")
    assert kind() == known


# ---- noticed before the first cell


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    write_images(tmp_path)
    return write_suite(tmp_path)


def _refuse(refused: Iterable[Path]) -> Callable[..., Any]:
    real = disk.replacing

    def replacing(path: Path) -> Any:
        if path.parent in refused:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path)

    return replacing


def _read_only(cache: Path, patched: pytest.MonkeyPatch) -> None:
    """As on a disk that is mounted so; permission bits do not bind root."""
    patched.setattr(disk, "replacing", _refuse((cache, cache / "counts")))

    def refuse(*given: object, **named: object) -> Any:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    patched.setattr(image_cache.tempfile, "TemporaryFile", refuse)


def _full(cache: Path, patched: pytest.MonkeyPatch) -> None:
    real = shutil.disk_usage
    patched.setattr(
        image_cache.shutil, "disk_usage",
        lambda path: real(path)._replace(free=1000) if Path(path) == cache else real(path),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("how", "said"),
    [
        pytest.param(_read_only, "Read-only file system", marks=pytest.mark.exhaustive),
        (_full, "no room for 0 MiB of images; free some space"),
    ],
)
def test_a_cache_that_takes_nothing_is_noticed_before_the_first_cell_unless_all_is_there(
    suite: Path,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: Callable[[Path, pytest.MonkeyPatch], None],
    said: str,
) -> None:
    results = tmp_path / "out"
    cache.mkdir()
    (cache / "counts").symlink_to(
        Path(ordinary["PDEBENCH_CACHE"]) / "counts"
    )  # of all tests: it is images that there is to be no room for
    with monkeypatch.context() as patched:
        how(cache, patched)
        refused = pdebench_run("run", suite, "--results", results, *ONE)
    assert refused.returncode == 2, refused.stdout
    assert f"cannot write the image cache in {cache}: " in refused.stderr
    assert said in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not list(results.glob("cells/*/record.json"))
    assert pdebench_run("run", suite, "--results", tmp_path / "before", *ONE).returncode == 0
    with monkeypatch.context() as patched:
        how(cache, patched)
        served = pdebench_run("run", suite, "--results", results, *ONE)
    assert served.returncode == 0, served.stdout + served.stderr


def test_data_that_are_not_cached_do_without_a_cache(
    suite: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("a file in its place")
    noise = ("--set", "data.name=noise", "--set", "data.path=null")
    run = pdebench_run("run", suite, "--results", tmp_path / "out", *ONE, *noise)
    assert run.returncode == 0, run.stdout + run.stderr


def test_without_a_home_the_folder_to_set_is_named(
    suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PDEBENCH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    # what is found where nobody has a home
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name, appauthor: Path("~/.cache") / name)
    run = pdebench_run("run", suite, "--results", tmp_path / "out", *ONE)
    assert run.returncode == 2, run.stdout + run.stderr
    assert "set PDEBENCH_CACHE to a folder" in run.stderr
