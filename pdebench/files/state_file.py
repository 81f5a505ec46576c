"""A file of `torch.save` of which every byte is under a checksum, at next to no cost.

    FIRST | what torch.save writes, a zip | offset and size of each large tensor | how many they are, SHA-256

The zip has a CRC-32 of every tensor: `torch.save` computes them, `torch.load` does not look at them. A further checksum
of the same gigabytes would make saving longer by half, so SHA-256 is of all that is not a large tensor, which is small:
the pickle, the names, the sizes, the padding and the CRCs.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

import torch

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FIRST = b"pdebench state 1\n"
LARGE = 4096  # bytes of a tensor; to hash less takes no longer than to note where it is
_RANGE, _LAST = struct.Struct("<QQ"), struct.Struct("<Q32s")
_ZIP, _DIRECTORY = b"PK\x03\x04", b"PK\x01\x02"  # how a zip begins, and how the list at its end does
_PIECE = 2**20


class OtherFormat(ValueError):
    """The file is of another version of pdebench, older ones among them, whose files have no checksum."""


def save(value: object, file: BinaryIO) -> None:
    """Write tensors and plain data, as `torch.save` takes them.

    Raises:
        OSError: the file cannot be written.
    """
    file.write(FIRST)
    writes = _Writes(file)
    try:
        torch.save(value, writes)  # type: ignore[arg-type]
    except RuntimeError:  # PyTorch makes an error of its own of what the file says
        if writes.error is not None:
            raise writes.error from None
        raise
    ranges = b"".join(_RANGE.pack(*one) for one in writes.large)
    digest = hashlib.sha256(FIRST + writes.rest + ranges).digest()
    file.write(ranges + _LAST.pack(len(writes.large), digest))


def load(file: BinaryIO) -> Any:
    """What `save` wrote, its tensors on the host; nothing in the file is run, or takes more memory than it has bytes.

    Raises:
        OtherFormat: another version of pdebench wrote it.
        Exception: any other; the file is damaged.
    """
    first = file.read(len(FIRST))
    if first != FIRST:
        begun = FIRST.partition(b"1")[0]
        raise OtherFormat if first.startswith((_ZIP, begun)) else ValueError("it is no saved state")
    archive = io.BufferedReader(_Part(file, len(FIRST), _checked(file)), _PIECE)
    _check_tensors(archive)
    archive.seek(0)
    return torch.load(archive, map_location="cpu", weights_only=True)


def _checked(file: BinaryIO) -> int:
    """Where the zip ends, once the SHA-256 has been found to be that of all that it is of.

    Raises:
        ValueError: it is not, or the file is cut off.
    """
    size = os.fstat(file.fileno()).st_size
    end = size - _LAST.size
    if end < len(FIRST):
        raise ValueError("it is cut off")
    file.seek(end)
    count, digest = _LAST.unpack(file.read())
    zipped: int = end - count * _RANGE.size
    if zipped < len(FIRST):
        raise ValueError("it is cut off")
    file.seek(zipped)
    ranges = list(_RANGE.iter_unpack(file.read(end - zipped)))
    found, at = hashlib.sha256(), 0
    for begin, length in [*ranges, (end, 0)]:
        if not at <= begin <= end:
            raise ValueError("it is cut off, or its checksum is another")
        for piece in _pieces(file, at, begin):
            found.update(piece)
        at = begin + length
    if found.digest() != digest:
        raise ValueError("its checksum is another")
    return zipped


def _pieces(file: BinaryIO, begin: int, end: int) -> Iterator[bytes]:
    """The bytes of a file from `begin` to `end`, in pieces; fewer where it is shorter."""
    file.seek(begin)
    while piece := file.read(max(0, min(_PIECE, end - begin))):
        yield piece
        begin += len(piece)


def _check_tensors(archive: BinaryIO) -> None:
    """ValueError unless each CRC-32 is that of its tensor."""
    with zipfile.ZipFile(archive) as held:
        entries = held.infolist()
        large = sum(entry.file_size for entry in entries) > archive.seek(0, os.SEEK_END)
        if large or any(entry.compress_type for entry in entries):  # `save` compresses nothing
            raise ValueError("it claims to hold more than its size")
        if (damaged := held.testzip()) is not None:
            raise ValueError(f"the checksum of {damaged} is another")


class _Writes:
    """What `torch.save` writes to: it notes where large tensors go, and keeps all else for the SHA-256."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.at = len(FIRST)
        self.rest = bytearray()
        self.large: list[tuple[int, int]] = []
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        size = len(data)
        if size < LARGE or data[: len(_DIRECTORY)] == _DIRECTORY:  # the list of CRCs has none itself
            self.rest += data
        else:
            self.large.append((self.at, size))
        self.at += size
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()


class _Part(io.RawIOBase):
    """A part of a file, as a file of its own to read."""

    def __init__(self, file: BinaryIO, begin: int, end: int) -> None:
        self.file, self.begin, self.end, self.at = file, begin, end, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.at, os.SEEK_END: self.end - self.begin}[whence]
        if at < 0:
            raise ValueError("it is cut off")
        self.at = at
        return at

    def readinto(self, buffer: WriteableBuffer) -> int:
        room = memoryview(buffer)
        self.file.seek(self.begin + self.at)
        read = self.file.readinto(room[: max(0, self.end - self.begin - self.at)])  # type: ignore[attr-defined]
        self.at += read
        return int(read)
