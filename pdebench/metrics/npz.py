"""Arrays in a `.npz` file, which is a zip of `.npy` files, read without loading any that is large.

Nothing is un-pickled. Importing this imports no numpy.
"""

from __future__ import annotations

import threading
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

from pdebench.data.encoded.npy_header import BadNpy, NpyHeader, read_npy_header
from pdebench.data.rows import Extent, FileRows, FilledRows, Rows, ShapedRows
from pdebench.errors import DataError, printable, refused_by_system
from pdebench.files import disk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IMAGES = "arr_0"  # what numpy calls the first array that is saved without a name, and ADM's files their images
_LOCAL_HEADER = 30  # bytes of a zip's header before a member, without its name and extra field
_NAMED = 12  # arrays in a message
_SKIPPED = 2**20  # bytes that are inflated and thrown away at a time


class _Member(NamedTuple):
    """An array of the file: its place in the zip, and what it is."""

    info: zipfile.ZipInfo
    header: NpyHeader


class Npz:
    """A `.npz` file, of which only the names, shapes and types of its arrays have been read.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        """Look into a file that the user named.

        Raises:
            DataError: it cannot be read, or is no zip.
        """
        self.path = path
        self._members: dict[str, _Member] = {}
        self._refused: dict[str, str] = {}
        with _told(path), _opened(path) as archive:
            for info in archive.infolist():
                name = info.filename.removesuffix(".npy")
                try:
                    with archive.open(info) as stream:
                        header = read_npy_header(cast("Any", stream))
                    if header.size != info.file_size:
                        raise BadNpy(f"it has {info.file_size:,} bytes where its header says {header.size:,}")
                    self._members[name] = _Member(info, header)
                except BadNpy as error:  # what nobody asks for does no harm
                    self._refused[name] = str(error)

    def __contains__(self, name: str) -> bool:
        return name in self._members or name in self._refused

    def images(self) -> Rows:
        """Its images, uint8 (N, 3, H, W), which lie there as (N, H, W, 3).

        What is stored as it is is read where it lies. What is deflated is inflated on the way, which is quick for rows
        in their order and slow for any other.

        Raises:
            DataError: there are none, or they are of another shape or type.
        """
        shape, dtype = self._header(IMAGES)
        if len(shape) != 4 or shape[3] != 3 or dtype != "|u1" or 0 in shape:
            raise DataError(
                f"{self.path}: its {IMAGES} is {dtype.lstrip('|<>')} of shape {shape}; images are u1 of shape "
                "(N, H, W, 3), 0 to 255"
            )
        member = self._members[IMAGES]
        if member.info.compress_type != zipfile.ZIP_STORED:
            return _ChannelsFirst(_Inflated(self.path, member))
        extent = Extent(self.path, self._begins(member) + len(member.header.head), shape[0])
        return _ChannelsFirst(FileRows([extent], shape[1:], dtype))

    def array(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """A float array of this shape, whole, as float64.

        Raises:
            DataError: there is none, or it is of another shape or type, or holds what is no number.
        """
        import numpy as np

        found, dtype = self._header(name)
        if found != shape or dtype[1] != "f":
            raise DataError(f"{self.path}: its {name} is {dtype.lstrip('|<>')} of shape {found}, and not f8 of {shape}")
        with _told(self.path), _opened(self.path) as archive, archive.open(self._members[name].info) as stream:
            values = np.lib.format.read_array(stream, allow_pickle=False).astype(np.float64)
        if not np.isfinite(values).all():
            raise DataError(f"{self.path}: its {name} holds values that are not finite: write the file again")
        return cast("NDArray[Any]", values)

    @property
    def names(self) -> str:
        """Of all its arrays, for a sentence."""
        return printable(", ".join([*self._members, *self._refused][:_NAMED])) or "nothing"

    def _header(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and type of an array."""
        if name in self._refused:
            raise DataError(f"{self.path}: its {name} cannot be used: {self._refused[name]}")
        if name not in self._members:
            raise DataError(f"{self.path} has no array '{name}': it has {self.names}")
        header = self._members[name].header
        return header.shape, header.dtype

    def _begins(self, member: _Member) -> int:
        """The byte of the file at which what is stored of a member begins."""
        with _told(self.path), disk.open_plain(self.path, follow=True) as file:
            file.seek(member.info.header_offset)
            local = file.read(_LOCAL_HEADER)
        name, extra = (int.from_bytes(local[at : at + 2], "little") for at in (26, 28))
        return member.info.header_offset + _LOCAL_HEADER + name + extra


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    with disk.open_plain(path, follow=True) as file, zipfile.ZipFile(file) as archive:
        yield archive


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Says in a sentence what is wrong with a file.

    Raises:
        DataError: the system refuses it, or it is damaged or of another kind.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} is not there; give the path of a .npz file") from error
    except (OSError, disk.NotPlain) as error:
        raise DataError(f"cannot read {path}: {refused_by_system(error) or error}") from error
    # What zipfile raises of a damaged file, or of one with a password or a compression that it does not know.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise DataError(f"{path} is no .npz file that can be read: {error}") from error


class _ChannelsFirst(ShapedRows):
    """Rows of images (N, H, W, 3) as (N, 3, H, W)."""

    def __init__(self, rows: Rows) -> None:
        self.rows, self.dtype = rows, rows.dtype
        count, height, width, channels = rows.shape
        self.shape = (count, channels, height, width)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """See `Rows`."""
        import numpy as np

        found: NDArray[Any] = np.ascontiguousarray(np.moveaxis(self.rows[index], -1, -3))
        return found


class _Inflated(FilledRows):
    """Rows of a deflated member, inflated from the last that was read on; for one before it, from the first."""

    def __init__(self, path: Path, member: _Member) -> None:
        import numpy as np

        self._path, self._member = path, member
        self.shape, self.dtype = member.header.shape, np.dtype(member.header.dtype)
        self._size = self.dtype.itemsize * int(np.prod(self.shape[1:]))
        self._stream: IO[bytes] | None = None
        self._next = 0
        self._reading = threading.Lock()

    def _fill(self, wanted: NDArray[np.int64], found: NDArray[Any]) -> None:
        """A file that is damaged, or not there any more, is a DataError."""
        import numpy as np

        with self._reading, _told(self._path):
            for place in np.argsort(wanted, kind="stable"):
                found[place] = np.frombuffer(self._row(int(wanted[place])), self.dtype).reshape(self.shape[1:])

    def _row(self, number: int) -> bytes:
        if self._stream is None or number < self._next:
            self._begin()
        assert self._stream is not None
        ahead = (number - self._next) * self._size
        while ahead and (skipped := len(self._stream.read(min(ahead, _SKIPPED)))):
            ahead -= skipped
        row = self._stream.read(self._size)
        if len(row) < self._size:
            raise EOFError(f"it ends before image {number + 1:,}")
        self._next = number + 1
        return row

    def _begin(self) -> None:
        if self._stream is not None:
            self._stream.close()
        archive = zipfile.ZipFile(disk.open_plain(self._path, follow=True))
        self._stream = archive.open(self._member.info)
        self._stream.read(len(self._member.header.head))
        self._next = 0
