"""Which layout of latents lies in a folder, and the latents of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from pdebench.data import pixels
from pdebench.data.encoded.layout import LatentLayout, Latents
from pdebench.data.encoded.pairs import Pairs
from pdebench.data.encoded.shards import Shards
from pdebench.data.encoded.tree import NpyTree
from pdebench.errors import DataError

LAYOUTS: tuple[LatentLayout, ...] = (Shards(), Pairs(), NpyTree())
"""The one that is recognised first is read."""
_SETTLED = 2.0  # seconds after which a folder that is changed again has another time of change
_LOOKED_INTO = 100  # files by which images are told that were meant for another data set

_Stamp = tuple[tuple[int, ...], ...]
_known: dict[Path, tuple[_Stamp, Latents]] = {}
"""What this process read last of each folder: a suite asks it some five times before a cell is trained."""


def latents_in(folder: Path, *, afresh: bool = False) -> Latents:
    """The latents of a folder.

    Args:
        folder: which is there.
        afresh: whatever this process knows of it; else it is not read again where no file was added, renamed or
            removed since.

    Raises:
        DataError: it has no layout that is known here, or what is in it cannot be read.
    """
    if not afresh and folder in _known:
        stamp, latents = _known[folder]
        if _stamp(latents.looked_at) == stamp:
            return latents
    try:
        layout = layout_of(folder)
        if layout is None:
            raise DataError(f"data.path: there are no latents in {folder}{_in_their_place(folder)}")
        latents = layout.read(folder)
    except OSError as error:
        raise DataError(f"data.path: {error.filename or folder} cannot be read: {error.strerror or error}") from error
    if not len(latents):
        raise DataError(f"data.path: the files in {folder} hold no latents")
    stamp = _stamp(latents.looked_at)
    _known.pop(folder, None)
    if all(time.time_ns() - one[-1] > _SETTLED * 1e9 for one in stamp):
        _known[folder] = stamp, latents
    return latents


def layout_of(folder: Path) -> LatentLayout | None:
    """The layout that a folder has; None: none that is known here. Raises OSError."""
    return next((layout for layout in LAYOUTS if layout.recognised(folder)), None)


def _stamp(paths: Sequence[Path]) -> _Stamp:
    """The times of change come last; what is gone has the time 0 and no number."""
    found: list[tuple[int, ...]] = []
    for path in paths:
        try:
            about = path.stat()
        except OSError:
            found.append((0,))
        else:
            found.append((about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns))
    return tuple(found)


def _in_their_place(folder: Path) -> str:
    """What to do, going by what is there: the end of a sentence."""
    there = sorted(one for one in folder.iterdir() if not one.name.startswith("."))
    below = [one for one in there if one.is_dir()]
    for one in below:
        if layout_of(one) is not None:
            return f"; {one.name}/ has some: set data.path to {one}"
    files = [one for folder in (*below, folder) for one in sorted(folder.iterdir())[:_LOOKED_INTO]]
    if any(one.suffix.lower() in pixels.suffixes() for one in files):
        return ", but images: set data.name: folder to train on those"
    if zips := [one for one in there if one.suffix == ".zip"]:
        return f", but {zips[0].name}: unpack it, and set data.path to where that is"
    return f"; looked for {'; '.join(layout.looked_for for layout in LAYOUTS)}"
