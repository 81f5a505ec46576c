"""Decoded images on disk: written once and atomically, read as memory maps, checked on every opening.

An entry is four arrays and a description, `<stem>-<resolution>-<digest>.{train,validation}[.labels].npy`
and `.json`; of a set with maps six, two of them `.maps.npy`. Each is written to a temporary file, synchronised
and renamed; the description comes last and holds the sha256 of each split and of itself, so an entry without one
does not exist and a damaged one is seen and rebuilt. What is remembered of an image that was left out is what its
bytes say. What is written depends on the key alone, so two processes that build one entry at once write the same
bytes, and it does not matter whose rename comes last.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from pdebench.data import pixels
from pdebench.data.arrays import LABELS, PIXELS, ArrayWriter, header, read_array
from pdebench.data.source import SPLITS, Sample, Skipped, Split
from pdebench.data.split import RECIPE
from pdebench.errors import DataError, out_of_memory
from pdebench.files import disk
from pdebench.files.seal import read_sealed, write_sealed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FORMAT = "cache-3"  # another one also where files are read or refused otherwise than before
_ABANDONED_AFTER = 24 * 3600.0
_LARGEST = 2**28  # bytes of a description, which names every image that was left out


@dataclass(frozen=True, eq=False)
class CachedSplit:
    """One split as it lies in the cache, and what happened while the whole entry was decoded.

    Attributes:
        images: uint8 (N, 3, H, W), of clips (N, 3, T, H, W).
        labels: int64 (N,), -1 where there are no classes.
        checksum: sha256 of images, labels and maps.
        skipped: files that could not be decoded.
        enlarged: images, of both splits, that were smaller than the resolution.
        paged: images of both splits whose files have further pages.
        decoded: images of both splits.
        classes: how many images each label has, by split.
        maps: uint8 (N, H, W), the class of each pixel; None: the set has none.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    checksum: str
    skipped: tuple[Skipped, ...]
    enlarged: int
    paged: int
    decoded: int
    classes: Mapping[Split, Mapping[int, int]]
    maps: NDArray[np.uint8] | None = None


def cache_folder() -> Path:
    """`$PDEBENCH_CACHE`, or `pdebench` in the platform's folder for a user's caches.

    Raises:
        DataError: nobody says where that is.
    """
    if own := os.environ.get("PDEBENCH_CACHE"):
        return disk.expanded(own)
    folder = platformdirs.user_cache_path("pdebench", appauthor=False)
    if not folder.is_absolute():
        raise DataError("you have no home folder to keep a cache in: set PDEBENCH_CACHE to a folder")
    return folder


def check_cache() -> None:
    """Raise DataError where the cache can be no folder, because a file has its name or that of a folder above it.

    One that cannot be written to may yet hold all that is needed, so that is left to who writes.
    """
    folder = cache_folder()
    there = None
    with contextlib.suppress(OSError):  # a folder that may not be looked into: no file that is known of
        there = next((path for path in (folder, *folder.parents) if path.is_file()), None)
    if there is not None:
        below = "" if there == folder else f", and the image cache is to be {folder}"
        raise DataError(f"PDEBENCH_CACHE: {there} is a file{below}; set PDEBENCH_CACHE to a folder")


def serves(images: int, resolution: int) -> bool:
    """Whether the cache takes so many more images of this side, as far as can be known before they are decoded."""
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return shutil.disk_usage(folder).free > _size(images, resolution)
    except OSError:
        return False


def _size(images: int, resolution: int) -> int:
    return images * 3 * resolution**2


def cached(
    stem: str,
    resolution: int,
    key: str,
    split: Split,
    decode: Callable[[], Iterable[Sample | Skipped]],
    most: int = 0,
    *,
    maps: bool = False,
    frames: int | None = None,
) -> CachedSplit:
    """The entry of `key` (whatever decides its content), made with `decode` where it is absent or damaged.

    `decode` yields the samples of both splits in their final order, each (3, resolution, resolution), with `frames` a
    clip of so many, (3, frames, resolution, resolution), and at most so many images or frames as `most` says; with
    `maps` each has its map.

    Raises:
        DataError: the cache folder cannot be written, or what `decode` reads cannot be read.
    """
    import PIL

    # The decoders and resampling filters of another Pillow may round otherwise; one without some decoder leaves out
    # what others read.
    recipe: list[Any] = [_FORMAT, RECIPE, pixels.DECODE_RECIPE, PIL.__version__, stem, resolution, key]
    if missing := pixels.missing_decoders():
        recipe.append(missing)
    if maps:
        recipe.append("maps")
    shape: tuple[int, ...] = (3, resolution, resolution)
    if frames is not None:
        shape = (3, frames, resolution, resolution)
        recipe.append(f"{frames} frames")
    digest = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]
    check_cache()
    folder = cache_folder()
    base = folder / f"{stem}-{resolution}-{digest}"
    if (entry := _open(base, shape, split, maps)) is not None:
        return entry
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder)
        if shutil.disk_usage(folder).free < _size(most, resolution):
            raise OSError(errno.ENOSPC, f"there is no room for {_size(most, resolution) / 2**20:,.0f} MiB of images")
        _build(base, shape, _readable(decode()), maps)
    except OSError as error:
        remedy = "free some space there, or " * (error.errno in (errno.ENOSPC, errno.EDQUOT))
        raise DataError(
            f"cannot write the image cache in {folder}: {error.strerror or error}; {remedy}set PDEBENCH_CACHE to a "
            "folder that can be written to"
        ) from error
    if (entry := _open(base, shape, split, maps)) is None:
        raise DataError(
            f"the image cache {base.name} in {folder} cannot be read back; set PDEBENCH_CACHE to another folder"
        )
    return entry


def _readable(samples: Iterable[Sample | Skipped]) -> Iterator[Sample | Skipped]:
    """The samples; what cannot be read of them is not blamed on the cache that they are written to.

    Raises:
        DataError: a file of the data set cannot be read.
    """
    try:
        yield from samples
    except OSError as error:
        raise DataError(f"cannot read {error.filename or 'the images'}: {error.strerror or error}") from error


def _file(base: Path, suffix: str) -> Path:
    return base.with_name(base.name + suffix)


def _checksum(images: NDArray[np.uint8], labels: NDArray[np.int64], maps: NDArray[np.uint8] | None) -> str:
    """sha256 (hex) over pixels, labels, shape and maps."""
    of_maps = None if maps is None else hashlib.sha256(maps.reshape(-1).data)
    return _finish(hashlib.sha256(images.reshape(-1).data), labels, images.shape, of_maps)


def _finish(
    pixels_seen: hashlib._Hash, labels: NDArray[np.int64], shape: tuple[int, ...], of_maps: hashlib._Hash | None
) -> str:
    pixels_seen.update(labels.data)
    pixels_seen.update(repr(shape).encode())
    if of_maps is not None:
        pixels_seen.update(of_maps.digest())
    return pixels_seen.hexdigest()


def _open(base: Path, shape: tuple[int, ...], split: Split, with_maps: bool) -> CachedSplit | None:
    """The entry, or None where it is absent, truncated or altered."""
    import numpy as np

    if (about := read_sealed(_file(base, ".json"), _LARGEST)) is None:
        return None
    try:
        count = about["counts"][split]
        if count:
            images = read_array(_file(base, f".{split}.npy"), PIXELS, (count, *shape), mapped=True)
            labels = read_array(_file(base, f".{split}.labels.npy"), LABELS, (count,))
        else:  # an empty file cannot be mapped
            images = np.empty((0, *shape), np.uint8)
            labels = np.empty(0, np.int64)
        maps = _maps(base, split, (count, *shape[1:])) if with_maps else None
        if _checksum(images, labels, maps) != about["checksums"][split]:
            return None
        return CachedSplit(
            images,
            labels,
            about["checksums"][split],
            tuple(Skipped(name, reason) for name, reason in about["skipped"]),
            about["enlarged"],
            about["paged"],
            sum(about["counts"].values()),
            {split: {int(label): count for label, count in about["classes"][split].items()} for split in SPLITS},
            maps,
        )
    except Exception as error:  # a damaged file raises anything
        if out_of_memory(error):  # which is not the file's fault, and would end the building of another, too
            raise
        return None


def _maps(base: Path, split: Split, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    import numpy as np

    if not shape[0]:
        return np.empty(shape, np.uint8)
    return read_array(_file(base, f".{split}.maps.npy"), PIXELS, shape, mapped=True)


def _build(base: Path, shape: tuple[int, ...], samples: Iterable[Sample | Skipped], with_maps: bool) -> None:
    """Decode everything, a split a file, without holding more than one image in memory."""
    import numpy as np

    labels: dict[Split, list[int]] = {split: [] for split in SPLITS}
    skipped: list[Skipped] = []
    enlarged = paged = 0
    with contextlib.ExitStack() as stack:
        writers = {split: stack.enter_context(ArrayWriter(_file(base, f".{split}.npy"), shape)) for split in SPLITS}
        maps = {
            split: stack.enter_context(ArrayWriter(_file(base, f".{split}.maps.npy"), shape[1:]))
            for split in SPLITS if with_maps
        }  # fmt: skip
        for sample in samples:
            if isinstance(sample, Skipped):
                skipped.append(sample)
                continue
            writers[sample.split].append(sample.pixels)
            if with_maps:
                assert sample.map is not None
                maps[sample.split].append(sample.map)
            labels[sample.split].append(sample.label)
            enlarged += sample.enlarged
            paged += sample.paged
    checksums = {}
    for split in SPLITS:
        array = np.asarray(labels[split], LABELS)
        with disk.replacing(_file(base, f".{split}.labels.npy")) as stream:
            stream.write(header(LABELS, array.shape) + array.tobytes())
        of_maps = maps[split].digest if with_maps else None
        checksums[split] = _finish(writers[split].digest, array, (len(array), *shape), of_maps)
    about = {
        "counts": {split: len(labels[split]) for split in SPLITS},
        "checksums": checksums,
        "skipped": [[item.name, item.reason] for item in skipped],
        "enlarged": enlarged,
        "paged": paged,
        "classes": {split: Counter(labels[split]) for split in SPLITS},
    }
    write_sealed(_file(base, ".json"), about)


def _remove_abandoned(folder: Path) -> None:
    """Clear temporary files that a killed process left more than a day ago."""
    for leftover in (*folder.glob(f".*{disk.TEMPORARY}"), *folder.glob(f"*/.*{disk.TEMPORARY}")):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > _ABANDONED_AFTER:
                leftover.unlink()
