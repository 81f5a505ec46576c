"""Rows of one shape that lie in files and are read when they are asked for, whole rows at a time.

A memory map would do, but what is read through one counts as the process's memory for as long as the system likes, and
reading holds up every thread: `pread` into an array of our own does neither. Imports numpy only where rows are read.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from pdebench.errors import DataError, refused_by_system
from pdebench.files import disk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Rows(Protocol):
    """Images or latents of one shape, (N, C, H, W): what numpy's arrays and memory maps are, as far as it is used.

    Any thread may read.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""

    @property
    def dtype(self) -> Any:
        """numpy's, of the values."""

    def __len__(self) -> int:
        """N."""

    @property
    def ndim(self) -> int:
        """4."""

    def __getitem__(self, index: Any, /) -> Any:
        """The rows of a slice, or of an array of whole numbers, as an array; of one number, that row."""


class Extent(NamedTuple):
    """Rows that lie one after another in a file: `rows` of them from byte `offset` on."""

    path: Path
    offset: int
    rows: int


class FileRows:
    """Rows in files, one file after another.

    Attributes:
        shape: (N, C, H, W).
        dtype: of the values as they lie in the files.
    """

    def __init__(self, extents: Sequence[Extent], shape: tuple[int, ...], dtype: str) -> None:
        """`shape` is of one row; `dtype` as numpy writes it, such as `<f4`."""
        import numpy as np

        self.extents = [extent for extent in extents if extent.rows]
        self.begins = np.cumsum([0, *(extent.rows for extent in self.extents)])
        self.shape = (int(self.begins[-1]), *shape)
        self.dtype = np.dtype(dtype)
        self._size = self.dtype.itemsize * int(np.prod(shape))
        self._open: dict[Path, int] = {}
        self._opening = threading.Lock()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """4."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """See `Rows`.

        Raises:
            DataError: a file is gone, or ends before them.
            IndexError: there are no such rows.
        """
        import numpy as np

        if isinstance(index, slice):
            return self[np.arange(*index.indices(len(self)))]
        if np.ndim(index) == 0:
            row: NDArray[Any] = self[np.asarray([index])][0]
            return row
        wanted = np.asarray(index, np.int64)
        if len(wanted) and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} of {len(self)}")
        found = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        places = np.searchsorted(self.begins, wanted, "right") - 1
        at = 0
        while at < len(wanted):  # rows that lie side by side are read at once
            end = at + 1
            while end < len(wanted) and wanted[end] == wanted[end - 1] + 1 and places[end] == places[at]:
                end += 1
            extent = self.extents[places[at]]
            first = int(wanted[at] - self.begins[places[at]])
            self._read(extent.path, extent.offset + first * self._size, found[at:end])
            at = end
        return found

    def _read(self, path: Path, offset: int, into: NDArray[np.generic]) -> None:
        block = memoryview(into.reshape(-1).view("u1"))  # type: ignore[arg-type]
        done = 0
        try:
            while done < len(block):
                got = os.preadv(self._descriptor(path), [block[done:]], offset + done)
                if not got:
                    raise DataError(f"{path} ends before byte {offset + len(block):,}: it was cut short")
                done += got
        except (OSError, disk.NotPlain) as error:
            raise DataError(f"cannot read {path}: {refused_by_system(error) or error}") from error

    def _descriptor(self, path: Path) -> int:
        if (known := self._open.get(path)) is not None:
            return known
        with self._opening:
            if path not in self._open:
                with disk.open_plain(path, follow=True) as file:
                    self._open[path] = os.dup(file.fileno())
            return self._open[path]

    def __getstate__(self) -> dict[str, Any]:
        """Open files and locks stay with their process."""
        return {name: value for name, value in vars(self).items() if name not in ("_open", "_opening")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open, self._opening = {}, threading.Lock()

    def __del__(self) -> None:
        for descriptor in vars(self).get("_open", {}).values():
            os.close(descriptor)
