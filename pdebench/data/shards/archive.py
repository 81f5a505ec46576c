"""A tar file's members, with where their bytes lie; what is no whole tar file is refused.

`tarfile` takes a file for complete that ends between two members, or has a damaged header there, and reads no further
than the first end of several files that were joined. So the end is looked at here.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from pdebench.errors import DataError, out_of_memory, refused_by_system
from pdebench.files import disk

_BLOCK = 512
_CHUNK = 2**20
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstandard"}


class Member(NamedTuple):
    """A plain file in an archive: its name, and the bytes that are its content."""

    name: str
    offset: int
    size: int


class Other(NamedTuple):
    """What is not used of an archive, and why."""

    name: str
    reason: str


def check(path: Path) -> None:
    """See how a file begins and ends, which takes no longer for a large one.

    Raises:
        DataError: it is compressed, cut short, or cannot be read.
    """
    with _opened(path) as file:
        begin = file.read(_BLOCK)
        for magic, name in _COMPRESSED.items():
            if begin.startswith(magic):
                raise DataError(
                    f"data.path: {path} is compressed with {name}, so nothing can be read from its middle: unpack it "
                    "to a plain .tar (pictures in it are compressed already)"
                )
        size = os.fstat(file.fileno()).st_size
        if size < 2 * _BLOCK or any(os.pread(file.fileno(), _BLOCK, size - _BLOCK)):
            raise _cut_short(path)


def members(path: Path, file: BufferedReader) -> Iterator[Member | Other]:
    """All that an archive holds, in its order.

    Raises:
        DataError: it is no tar file, is damaged, was cut short, or goes on after its end.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for found in archive:
                name = found.name.removeprefix("./")
                if found.isdir():
                    continue
                if not found.isreg() or found.issparse():
                    yield Other(name, "a link, a device or a sparse file")
                elif name.startswith("/") or ".." in name.split("/"):
                    yield Other(name, "a name that leads out of the archive")
                else:
                    yield Member(name, found.offset_data, found.size)
            end = archive.offset
    except OSError as error:
        raise _unreadable(path, error) from error
    except Exception as error:  # of a damaged header tarfile raises anything
        if out_of_memory(error) or isinstance(error, DataError):
            raise
        raise DataError(f"data.path: {path} is damaged, or is no tar file ({error}): get it again") from error
    _check_end(path, file, end)


def _check_end(path: Path, file: BufferedReader, end: int) -> None:
    """What follows the last member are blocks of zeros, at least one."""
    try:
        file.seek(end)
        first = file.read(_BLOCK)
        if len(first) < _BLOCK:
            raise _cut_short(path)
        if any(first):
            raise DataError(f"data.path: {path} is damaged at byte {end:,}, where a member begins: get it again")
        while more := file.read(_CHUNK):
            if any(more):
                raise DataError(
                    f"data.path: {path} goes on after its end, as where tar files were joined with cat, and what "
                    "follows would not be read: join them with tar --concatenate, or keep them apart"
                )
    except OSError as error:
        raise _unreadable(path, error) from error


def _opened(path: Path) -> BufferedReader:
    try:
        return disk.open_plain(path, follow=True)
    except (OSError, disk.NotPlain) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"data.path: cannot read {path}: {refused_by_system(error) or error}")


def _cut_short(path: Path) -> DataError:
    return DataError(
        f"data.path: {path} was cut short: a tar file ends with blocks of zeros, and this one does not; get it again"
    )
