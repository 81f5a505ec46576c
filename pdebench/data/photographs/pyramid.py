"""Photographs decoded at several scales, in one file for each split, mapped into memory: a crop of any scale is cheap.

The first level of a photograph has at most two megapixels, at which all of them are sharp; each further level has half
the sides of the one before, by averages of 2 x 2 pixels, which is what keeps a small crop of a large part free of
aliases. `cache` says how an entry of the cache is written; this one is of another shape than its.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pdebench.data import photos, pixels
from pdebench.data.cache import cache_folder
from pdebench.data.digests import file_digests
from pdebench.data.photographs import fetch, table
from pdebench.data.source import Split
from pdebench.errors import DataError
from pdebench.files import disk
from pdebench.files.seal import read_sealed, write_sealed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

MOST_PIXELS = 2**21  # of a first level
_LEAST_SIDE = 64  # of a last one
BYTES = 420 * 2**20
"""That both splits take in the cache, about."""


class View(NamedTuple):
    """A photograph, or one of a stereo pair: its levels, each uint8 (H, W, 3), the largest first."""

    name: str
    levels: tuple[NDArray[np.uint8], ...]


class Pyramids(NamedTuple):
    """Those of a split, and the sha256 of all their levels."""

    views: tuple[View, ...]
    checksum: str


def load(split: Split, folder: Path | None) -> Pyramids:
    """The pyramids of a split, decoded where they are not in the cache, or are damaged there.

    Args:
        split: which.
        folder: where packages lie, see `fetch.gather`.

    Raises:
        DataError: photographs are not to be had, or the cache cannot be written.
    """
    import PIL

    decides = json.dumps([table.content(), pixels.DECODE_RECIPE, PIL.__version__, MOST_PIXELS, _LEAST_SIDE])
    base = cache_folder() / f"photographs-{hashlib.sha256(decides.encode()).hexdigest()[:16]}.{split}"
    if (entry := _open(base)) is not None:
        return entry
    try:
        fetch.gather(folder)
        if shutil.disk_usage(cache_folder()).free < BYTES:
            raise OSError(f"there is no room for {BYTES / 2**20:.0f} MiB of photographs")
        _build(base, split)
    except OSError as error:
        raise DataError(
            f"cannot write the image cache in {cache_folder()}: {error.strerror or error}; set PDEBENCH_CACHE to a "
            "folder that can be written to and has room"
        ) from error
    if (entry := _open(base)) is None:
        raise DataError(f"the image cache {base.name} cannot be read back; set PDEBENCH_CACHE to another folder")
    return entry


def _decoded(split: Split) -> Iterator[tuple[str, Image.Image]]:
    """The photographs of a split, from the packages of distributions and then from those of Python."""
    for one in table.PHOTOGRAPHS:
        if one.split == split:
            yield one.name, pixels.decode(fetch.read(one))
    for name, views in photos.read("photographs").items():
        if (name in photos.VALIDATION) == (split == "validation"):
            yield from ((name, view) for view in views)


def _levels(image: Image.Image) -> Iterator[Image.Image]:
    from PIL import Image

    if (shrink := math.sqrt(MOST_PIXELS / (image.width * image.height))) < 1:
        sides = int(image.width * shrink), int(image.height * shrink)
        image = image.resize(sides, Image.Resampling.LANCZOS)
    yield image
    while min(image.size) >= 2 * _LEAST_SIDE:
        image = image.reduce(2)
        yield image


def _build(base: Path, split: Split) -> None:
    """Write the levels one after another, and then what says where each begins."""
    views: list[dict[str, Any]] = []
    digest, begin = hashlib.sha256(), 0
    with disk.replacing(_file(base, ".bin")) as file:
        for name, image in _decoded(split):
            levels = []
            for level in _levels(image):
                block = level.tobytes()
                file.write(block)
                digest.update(block)
                levels.append([begin, level.height, level.width])
                begin += len(block)
            views.append({"name": name, "levels": levels})
    write_sealed(_file(base, ".json"), {"views": views, "size": begin, "sha256": digest.hexdigest()})


def _open(base: Path) -> Pyramids | None:
    """The entry, or None where it is absent, cut short or altered."""
    import numpy as np

    about, path = read_sealed(_file(base, ".json"), 2**20), _file(base, ".bin")
    if about is None or not path.is_file() or path.stat().st_size != about["size"]:
        return None
    if file_digests([path]) != [about["sha256"]]:
        return None
    with disk.open_plain(path) as file:
        mapped = np.memmap(file, np.uint8, "r")
    views = (
        View(one["name"], tuple(mapped[at : at + 3 * h * w].reshape(h, w, 3) for at, h, w in one["levels"]))
        for one in about["views"]
    )
    return Pyramids(tuple(views), about["sha256"])


def _file(base: Path, suffix: str) -> Path:
    return base.with_name(base.name + suffix)
