"""What a shard holds and where, found once and kept in the cache by the shard's digest."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pdebench.data import pixels
from pdebench.data.cache import cache_folder
from pdebench.data.pieces import Piece
from pdebench.data.shards.archive import Member, Other, members
from pdebench.data.shards.samples import Found, Kind, is_array, is_picture, is_video, samples
from pdebench.data.shards.window import Window
from pdebench.errors import DataError, out_of_memory, refused_by_system
from pdebench.files import disk
from pdebench.files.seal import read_sealed, write_sealed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_RECIPE = "shard-2"  # another one where members are told apart otherwise than before
_LARGEST = 2**30  # bytes of an index: some millions of samples
NAMED = 5  # of what is left out, for each reason
_KINDS = ("<f2", "<f4")
_HEADER = 2**16  # bytes of an array's header, at most


class Arrays(NamedTuple):
    """What the arrays of a shard are: all of one shape (C, H, W) and kind, as numpy names it."""

    shape: tuple[int, ...]
    kind: str


class LeftOut(NamedTuple):
    """How many members are left out for a reason, and the names of some."""

    number: int
    names: tuple[str, ...]


class ShardIndex(NamedTuple):
    """The samples of a shard.

    Attributes:
        keys: of each.
        offsets: where its bytes begin, int64.
        sizes: how many there are, int64.
        labels: int64; -1: it has none.
        arrays: None where they are pictures or videos.
        left_out: what is no sample, by reason.
        suffixes: of videos, how the name of each ends, in lower case; of others empty.
    """

    keys: tuple[str, ...]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    labels: NDArray[np.int64]
    arrays: Arrays | None
    left_out: dict[str, LeftOut]
    suffixes: tuple[str, ...] = ()


class Shard(NamedTuple):
    """A file of the set, as it lies there, its sha256 and what is in it."""

    piece: Piece
    stamp: disk.Stamp
    digest: str
    holds: ShardIndex


@lru_cache(maxsize=20_000)
def index_of(path: Path, digest: str, kind: Kind = "images") -> ShardIndex:
    """The index of the shard that has this sha256, of its pictures or arrays, or of its videos.

    Raises:
        DataError: the file cannot be read, or is no shard; see `archive` and `samples`.
    """
    import PIL

    of = [PIL.__version__, pixels.missing_decoders()] if kind == "images" else [kind]  # what a picture is, too
    decides = json.dumps([digest, *of])
    kept = cache_folder() / f"{_RECIPE}-{hashlib.sha256(decides.encode()).hexdigest()[:32]}.json"
    if (about := read_sealed(kept, _LARGEST)) is None:
        about = _described(path, kind)
        with suppress(OSError):  # it takes time again, and no more
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_sealed(kept, about)
    return _made(about)


def stranger(path: Path, kind: Kind) -> Member | None:
    """Where a shard has nothing of a kind, the first that it has of the other; reads no further than it must."""
    other = None
    with _opened(path) as file:
        for member in members(path, file):
            video = is_video(member.name)
            if isinstance(member, Other) or not (video or is_picture(member.name) or is_array(member.name)):
                continue
            if video == (kind == "clips"):
                return None
            other = other or member
    return other


def first_arrays(path: Path) -> Arrays | None:
    """What the first array of a shard is; None where a picture comes first. Reads no further."""
    with _opened(path) as file:
        for member in members(path, file):
            if isinstance(member, Member) and is_picture(member.name):
                return None
            if isinstance(member, Member) and is_array(member.name):
                return _array(path, member, file)[0]
    return None


def _made(about: dict[str, Any]) -> ShardIndex:
    import numpy as np

    offsets, sizes, labels = (np.asarray(about[name], np.int64) for name in ("offsets", "sizes", "labels"))
    arrays = about["arrays"] and Arrays(tuple(about["arrays"][0]), about["arrays"][1])
    left_out = {reason: LeftOut(count, tuple(names)) for reason, (count, names) in about["left_out"].items()}
    suffixes = tuple(about.get("suffixes", ()))
    return ShardIndex(tuple(about["keys"]), offsets, sizes, labels, arrays, left_out, suffixes)


def _described(path: Path, kind: Kind) -> dict[str, Any]:
    """An index as it is kept."""
    try:
        with _opened(path) as file:
            found, left_out = samples(path, members(path, file), lambda member: _bytes(file, member), kind)
            found, no_pictures = _pictures(file, found)
            left_out += no_pictures
            data = [one.member for one in found]
            arrays = _arrays(path, data, file) if any(is_array(member.name) for member in data) else None
    except OSError as error:
        raise DataError(f"data.path: cannot read {path}: {refused_by_system(error) or error}") from error
    begins = [0] * len(data) if arrays is None else [begin for _, begin in arrays]
    return {
        "keys": [one.key for one in found],
        "offsets": [member.offset + begin for member, begin in zip(data, begins, strict=True)],
        "sizes": [member.size - begin for member, begin in zip(data, begins, strict=True)],
        "labels": [-1 if one.label is None else one.label for one in found],
        "arrays": arrays and arrays[0][0],
        "left_out": _by_reason(left_out),
        "suffixes": [Path(member.name).suffix.lower() for member in data] if kind == "clips" else [],
    }


def _pictures(file: BufferedReader, found: Iterable[Found]) -> tuple[list[Found], list[Other]]:
    """The samples, less pictures that are none by how they begin: a text, a vector file, one of too many pixels."""
    kept: list[Found] = []
    others: list[Other] = []
    for one in found:
        member = one.member
        window = io.BufferedReader(Window(file.fileno(), member.offset, member.size))
        if is_picture(member.name) and (why := pixels.refusal(window)) is not None:
            others.append(Other(member.name, why))
        else:
            kept.append(one)
    return kept, others


def _by_reason(left_out: Iterable[Other]) -> dict[str, tuple[int, list[str]]]:
    found: dict[str, list[str]] = {}
    for other in left_out:
        found.setdefault(other.reason, []).append(other.name)
    return {reason: (len(names), names[:NAMED]) for reason, names in found.items()}


def _arrays(path: Path, data: Iterable[Member], file: BufferedReader) -> list[tuple[Arrays, int]]:
    """What each array is and where its numbers begin; DataError unless all are of one kind."""
    found: list[tuple[Arrays, int]] = []
    for member in data:
        if not is_array(member.name):
            raise DataError(f"data.path: {path} has pictures beside arrays, {member.name}: keep them in shards apart")
        found.append(_array(path, member, file))
        if found[-1][0] != found[0][0]:
            (shape, kind), (first, of_first) = found[-1][0], found[0][0]
            raise DataError(
                f"data.path: {member.name} in {path} is {shape} of {kind[1:]}, and others are {first} of {of_first[1:]}"
            )
    return found


def _array(path: Path, member: Member, file: BufferedReader) -> tuple[Arrays, int]:
    """Reads the header alone, which is a literal of Python and nothing that is run."""
    import numpy as np

    begin = io.BytesIO(os.pread(file.fileno(), min(member.size, _HEADER), member.offset))
    try:
        version = np.lib.format.read_magic(begin)
        of_version = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, turned, dtype = of_version[version](begin)
        kind, at = dtype.str, begin.tell()
        if kind not in _KINDS or turned or len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"it is {shape} of {dtype}" + ", in Fortran order" * turned)
        if member.size - at != math.prod(shape) * dtype.itemsize:
            raise ValueError("its size is not that of its shape")
    except Exception as error:  # a damaged one raises anything
        if out_of_memory(error):
            raise
        raise DataError(
            f"data.path: {member.name} in {path} is no latent ({error}): write arrays (channels, height, width) of "
            "float16 or float32 in C order with numpy.save"
        ) from error
    return Arrays(shape, kind), at


def _bytes(file: BufferedReader, member: Member) -> bytes:
    return os.pread(file.fileno(), member.size, member.offset)


def _opened(path: Path) -> BufferedReader:
    try:
        return disk.open_plain(path, follow=True)
    except (OSError, disk.NotPlain) as error:
        raise DataError(f"data.path: cannot read {path}: {refused_by_system(error) or error}") from error
