"""Rows of one shape that lie in files and are read when they are asked for, whole rows at a time.

A memory map would do, but what is read through one counts as the process's memory for as long as the system likes, and
reading holds up every thread: `pread` into an array of our own does neither. Imports numpy only where rows are read.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pdebench.errors import DataError, refused_by_system
from pdebench.files import disk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Rows(Protocol):
    """Images or latents of one shape, (N, C, H, W), or clips, (N, C, T, H, W).

    What numpy's arrays and memory maps are, as far as it is used. Any thread may read.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W), of clips (N, C, T, H, W)."""

    @property
    def dtype(self) -> Any:
        """numpy's, of the values."""

    def __len__(self) -> int:
        """N."""

    @property
    def ndim(self) -> int:
        """4, of clips 5."""

    def __getitem__(self, index: Any, /) -> Any:
        """The rows of a slice, or of an array of whole numbers, as an array; of one number, that row."""


MOST_OPEN = 48
"""Files that rows keep open: a set may be of a million, and a process may often have 256 open, or 1,024."""


class ShapedRows:
    """What all rows of ours have in common: `shape` says how many there are."""

    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """4, of clips 5."""
        return len(self.shape)


class FilledRows(ShapedRows, ABC):
    """Rows that are read into an array of ours; a subclass says how.

    Attributes:
        dtype: numpy's, of the values.
    """

    dtype: Any

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """See `Rows`; numbers below 0 count from the end, and an array of booleans chooses, as numpy has it.

        Raises:
            DataError: they cannot be read.
            IndexError: there are no such rows.
        """
        import numpy as np

        if isinstance(index, slice):
            return self[np.arange(*index.indices(len(self)))]
        if np.ndim(index) == 0:
            row: NDArray[Any] = self[np.asarray([index])][0]
            return row
        wanted = np.asarray(index)
        if wanted.dtype == bool:
            wanted = np.flatnonzero(wanted)
        wanted = wanted.astype(np.int64)
        if len(wanted) and not -len(self) <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} of {len(self)}")
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        self._fill(np.where(wanted < 0, wanted + len(self), wanted), found)
        return found

    @abstractmethod
    def _fill(self, wanted: NDArray[np.int64], found: NDArray[Any]) -> None:
        """Read the rows `wanted` (B,), which there are, into `found` (B, ...)."""


class DrawnRows(FilledRows, ABC):
    """Rows that are drawn anew in every epoch; who does not say which gets those of epoch 0."""

    def drawn(self, index: NDArray[np.int64], epoch: NDArray[np.int64] | int) -> NDArray[Any]:
        """The rows of an index (B,), none of them below 0, in an epoch, one or one for each (B,).

        A row is a function of the two: the same in whatever batch, process or run.
        """
        import numpy as np

        found = np.empty((len(index), *self.shape[1:]), self.dtype)
        self._draw(index, np.broadcast_to(np.asarray(epoch, np.int64), index.shape), found)
        return found

    def _fill(self, wanted: NDArray[np.int64], found: NDArray[Any]) -> None:
        self._draw(wanted, wanted * 0, found)

    @abstractmethod
    def _draw(self, index: NDArray[np.int64], epochs: NDArray[np.int64], found: NDArray[Any]) -> None:
        """Draw the rows of `index` (B,) in their `epochs` (B,) into `found` (B, ...)."""


class Extent(NamedTuple):
    """Rows that lie one after another in a file: `rows` of them from byte `offset` on.

    Where files are very many their paths may be texts, which take a third of the memory.
    """

    path: Path | str
    offset: int
    rows: int


class FileRows(FilledRows):
    """Rows in files, one file after another.

    Attributes:
        shape: (N, C, H, W).
        dtype: of the values as they lie in the files.
        head: what every file begins with; a file that does not is refused when it is opened. Empty: it is not looked.
    """

    def __init__(
        self,
        extents: Sequence[Extent],
        shape: tuple[int, ...],
        dtype: str,
        head: bytes = b"",
        most_open: int = MOST_OPEN,
    ) -> None:
        """`shape` is of one row; `dtype` as numpy writes it, such as `<f4`."""
        import numpy as np

        self.extents = [extent for extent in extents if extent.rows]
        self.begins = np.cumsum([0, *(extent.rows for extent in self.extents)])
        self.shape = (int(self.begins[-1]), *shape)
        self.dtype = np.dtype(dtype)
        self._size = self.dtype.itemsize * int(np.prod(shape))
        self._starts = np.array([extent.offset for extent in self.extents], np.int64)
        self.head, self.most_open = head, most_open
        self._open: OrderedDict[Path | str, _Opened] = OrderedDict()  # the one that was used last is the last
        self._opening = threading.Lock()

    def _fill(self, wanted: NDArray[np.int64], found: NDArray[Any]) -> None:
        """A file that is gone, ends before them, or is of another kind than the others, is a DataError."""
        import numpy as np

        into = found.view("u1").reshape(len(wanted), self._size)
        # in the order of the files: each is opened once, and read forwards
        order = np.argsort(wanted, kind="stable")
        places = np.searchsorted(self.begins, wanted[order], "right") - 1
        starts = self._starts[places] + (wanted[order] - self.begins[places]) * self._size
        # a loop over plain numbers: over numpy's it takes longer than reading does
        rows, extents, offsets = order.tolist(), places.tolist(), starts.tolist()
        at, held = 0, -1
        while at < len(rows):
            end = at + 1  # rows that lie side by side, there and here, are read at once
            while (
                end < len(rows)
                and rows[end] == rows[end - 1] + 1
                and offsets[end] == offsets[end - 1] + self._size
                and extents[end] == extents[at]
            ):
                end += 1
            if extents[at] != held:
                held = extents[at]
                opened = self._opened(self.extents[held].path)
            self._read(opened, offsets[at], into[rows[at] : rows[at] + end - at])
            at = end

    @staticmethod
    def _read(opened: _Opened, offset: int, into: NDArray[np.uint8]) -> None:
        """Fill rows of bytes, which lie side by side."""
        try:
            if (got := os.preadv(opened.descriptor, [into], offset)) == into.nbytes:  # type: ignore[list-item]
                return
            block = memoryview(into.reshape(-1))  # type: ignore[arg-type]
            while got < len(block):
                if not (more := os.preadv(opened.descriptor, [block[got:]], offset + got)):
                    raise DataError(f"{opened.path} ends before byte {offset + len(block):,}: it was cut short")
                got += more
        except OSError as error:
            raise DataError(f"cannot read {opened.path}: {refused_by_system(error) or error}") from error

    def _opened(self, path: Path | str) -> _Opened:
        """A file, which stays open while anybody reads it, whoever else opens others meanwhile."""
        with self._opening:
            if path not in self._open:
                try:
                    with disk.open_plain(Path(path), follow=True) as file:
                        if self.head and file.read(len(self.head)) != self.head:
                            raise DataError(
                                f"{path} begins in another way than the files beside it: write it again as they are"
                            )
                        self._open[path] = _Opened(path, os.dup(file.fileno()))
                except (OSError, disk.NotPlain) as error:
                    raise DataError(f"cannot read {path}: {refused_by_system(error) or error}") from error
                while len(self._open) > self.most_open:
                    self._open.popitem(last=False)
            self._open.move_to_end(path)
            return self._open[path]

    def __getstate__(self) -> dict[str, Any]:
        """Open files and locks stay with their process."""
        return {name: value for name, value in vars(self).items() if name not in ("_open", "_opening")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open, self._opening = OrderedDict(), threading.Lock()


class _Opened:
    """A file that is open for as long as somebody has this."""

    def __init__(self, path: Path | str, descriptor: int) -> None:
        self.path, self.descriptor = path, descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


class Subset(ShapedRows):
    """Some rows of others, in an order of their own."""

    def __init__(self, rows: Rows, index: NDArray[np.int64]) -> None:
        """`index` (N,) is of `rows`."""
        self.rows, self.index = rows, index
        self.shape, self.dtype = (len(index), *rows.shape[1:]), rows.dtype

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """See `Rows`."""
        found: NDArray[Any] = self.rows[self.index[index]]
        return found


class Widened(ShapedRows):
    """Rows of bfloat16, which numpy has none of, as float32 of the same values.

    A bfloat16 is the upper half of a float32, so nothing is rounded.
    """

    def __init__(self, rows: Rows) -> None:
        """`rows` have the 16 bits of each value as `<u2`."""
        import numpy as np

        self.rows, self.shape, self.dtype = rows, rows.shape, np.dtype(np.float32)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """See `Rows`."""
        import numpy as np

        found: NDArray[Any] = (np.asarray(self.rows[index], np.uint32) << 16).view(np.float32)
        return found
