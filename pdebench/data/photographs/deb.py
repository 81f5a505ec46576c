"""Files out of a Debian package, without dpkg, and without writing anything.

A .deb is an ar archive, whose member `data.tar.*` is the tree that would be installed (deb(5)).
"""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, BinaryIO

from pdebench.errors import DataError, refused_by_system
from pdebench.files import disk
from pdebench.installing import install

_MAGIC, _HEADER = b"!<arch>\n", 60  # ar(5): name 16, time 12, owner 6, group 6, mode 8, size 10, end 2
_LARGEST = 2**26  # bytes of a file that is read


def read_files(package: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """What those of the files `wanted` hold that the package has, by their paths below the root.

    Raises:
        DataError: it is no .deb, is cut short or damaged, cannot be read, or is compressed in a way unknown here.
    """
    found: dict[str, bytes] = {}
    try:
        with disk.open_plain(package, follow=True) as file, _tar(package, file) as tar:
            for member in tar:
                if (name := member.name.removeprefix("./")) in wanted and member.isreg() and member.size <= _LARGEST:
                    inside = tar.extractfile(member)
                    assert inside is not None  # it is of a plain file
                    found[name] = inside.read()
                    if len(found) == len(wanted):
                        break
    except (OSError, disk.NotPlain) as error:
        if isinstance(error, disk.NotPlain) or refused_by_system(error):
            raise DataError(f"cannot read {package}: {refused_by_system(error) or error}") from None
        raise _damaged(package, error) from None  # gzip's
    except (EOFError, tarfile.TarError, lzma.LZMAError, zlib.error, ValueError) as error:
        raise _damaged(package, error) from None
    return found


def _damaged(package: Path, error: Exception) -> DataError:
    return DataError(f"{package} is damaged or was cut short ({error}): fetch it again")


def _tar(package: Path, file: BinaryIO) -> tarfile.TarFile:
    """The tree that a package installs, to be read once, forwards.

    Raises:
        ValueError, EOFError: it is no package, or ends too early.
    """
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it does not begin as a .deb does")
    while header := file.read(_HEADER):
        if len(header) < _HEADER:
            raise EOFError("it ends within a header")
        name, size = header[:16].decode("ascii", "replace").rstrip(" /"), int(header[48:58])
        if size < 0:
            raise ValueError("a member has a size below 0")
        if name.startswith("data.tar"):
            return tarfile.open(fileobj=_plain(package, name, _Portion(file, size)), mode="r|")
        file.seek(size + size % 2, io.SEEK_CUR)
    raise EOFError("it has no data.tar")


def _plain(package: Path, name: str, member: _Portion) -> IO[bytes]:
    """What a member of this name holds, uncompressed."""
    packed = io.BufferedReader(member)
    kind = name.removeprefix("data.tar")
    if kind == "":
        return packed
    if kind == ".xz":
        return lzma.open(packed)
    if kind == ".gz":
        return gzip.GzipFile(fileobj=packed)  # type: ignore[return-value]
    if kind == ".zst":
        return _zstd(package, packed)
    raise DataError(
        f"{package}: {name} is compressed in a way that is not read here: take the package of another release"
    )


def _zstd(package: Path, packed: IO[bytes]) -> IO[bytes]:
    try:
        import zstandard
    except ImportError:
        raise DataError(f"{package} is compressed with zstd: {install('zstandard')}") from None

    class Reader(io.RawIOBase):
        """Its errors are of a type of their own."""

        inner = zstandard.ZstdDecompressor().stream_reader(packed)

        def readable(self) -> bool:
            return True

        def readinto(self, into: memoryview) -> int:  # type: ignore[override]
            try:
                return self.inner.readinto(into)
            except zstandard.ZstdError as error:
                raise ValueError(error) from None

    return io.BufferedReader(Reader())


class _Portion(io.RawIOBase):
    """The next `size` bytes of a file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size

    def readable(self) -> bool:
        return True

    def readinto(self, into: memoryview) -> int:  # type: ignore[override]
        block = self._file.read(min(len(into), self._left))
        if self._left and not block:
            raise EOFError("it ends too early")
        into[: len(block)] = block
        self._left -= len(block)
        return len(block)
