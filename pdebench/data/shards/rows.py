"""Rows of shards, read from where they lie when they are asked for: pictures are decoded then, latents are not."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pdebench.data import pixels
from pdebench.data.rows import FilledRows
from pdebench.errors import CellWarning, DataError, refused_by_system
from pdebench.files import disk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST_THREADS = 8
_TOLD = 5  # damaged pictures that are named; after that one at 10, 100 and so on
_KEPT_OPEN = 256  # files: a process may have about a thousand


class MemberTable(NamedTuple):
    """Where the bytes of each row lie, of N rows.

    Attributes:
        paths: of the shards.
        stamps: of each, when it was indexed.
        shards: of each row, the number of its shard.
        offsets: where its bytes begin there.
        sizes: how many there are.
        keys: by which it is named.
        labels: int64, or None.
    """

    paths: Sequence[Path]
    stamps: Sequence[disk.Stamp]
    shards: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    keys: Sequence[str]
    labels: NDArray[np.int64] | None

    def name(self, row: int) -> str:
        """A row as messages name it."""
        return f"{self.keys[row]} in {self.paths[self.shards[row]]}"

    def without(self, rows: Sequence[int]) -> MemberTable:
        """The other rows."""
        import numpy as np

        if not rows:
            return self
        kept = np.delete(np.arange(len(self.offsets)), rows)
        return self._replace(
            shards=self.shards[kept],
            offsets=self.offsets[kept],
            sizes=self.sizes[kept],
            keys=[self.keys[row] for row in kept.tolist()],
            labels=None if self.labels is None else self.labels[kept],
        )


class _MemberRows(FilledRows):
    """What rows of pictures and of latents share: reading bytes; any thread may read."""

    shape: tuple[int, ...]
    dtype: Any

    def __init__(self, table: MemberTable) -> None:
        self.table = table
        self._start()

    def _start(self) -> None:
        self._files: dict[int, int] = {}
        self._lock = threading.Lock()

    def _bytes(self, row: int) -> bytes:
        shard, size, offset = (int(column[row]) for column in (self.table.shards, self.table.sizes, self.table.offsets))
        path = self.table.paths[shard]
        known = self._files.get(shard)
        try:
            descriptor = self._opened(shard) if known is None else known
            try:
                data = os.pread(descriptor, size, offset)
            finally:
                if known is None and not self._keep(shard, descriptor):
                    os.close(descriptor)
        except (OSError, disk.NotPlain) as error:
            raise DataError(f"cannot read {path}: {refused_by_system(error) or error}") from error
        if len(data) != size:
            raise DataError(f"{path} ends before byte {offset + size:,}: it was cut short")
        return data

    def _opened(self, shard: int) -> int:
        path = self.table.paths[shard]
        with disk.open_plain(path, follow=True) as file:
            if disk.stamp(path.resolve()) != self.table.stamps[shard]:
                raise DataError(f"{path} was changed since it was looked through: run again once nobody writes there")
            return os.dup(file.fileno())

    def _keep(self, shard: int, descriptor: int) -> bool:
        with self._lock:
            if shard in self._files or len(self._files) >= _KEPT_OPEN:
                return False
            self._files[shard] = descriptor
            return True

    def __getstate__(self) -> dict[str, Any]:
        """Open files, locks and threads stay with their process."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()

    def __del__(self) -> None:
        for descriptor in vars(self).get("_files", {}).values():
            os.close(descriptor)


class ArrayRows(_MemberRows):
    """Arrays of one shape, whose numbers are read as they lie there.

    Attributes:
        shape: (N, C, H, W).
        dtype: float16 or float32.
    """

    def __init__(self, table: MemberTable, shape: tuple[int, ...], kind: str) -> None:
        """`shape` is of one row; `kind` as numpy writes it, such as `<f4`."""
        import numpy as np

        super().__init__(table)
        self.shape, self.dtype = (len(table.offsets), *shape), np.dtype(kind)

    def _fill(self, wanted: NDArray[np.int64], found: NDArray[Any]) -> None:
        import numpy as np

        for at, row in enumerate(wanted):
            found[at] = np.frombuffer(self._bytes(row), self.dtype).reshape(self.shape[1:])


class DecodedRows(_MemberRows):
    """Pictures, decoded by several threads when they are asked for: cropped to their centre and resized.

    A picture that cannot be decoded is known as such when it is read, so that its row is there already. The next
    picture of its class that can be decoded stands in its place, whoever asks and when. A warning names each of the
    first few, and then says how many there are.

    Attributes:
        shape: (N, 3, R, R).
        dtype: uint8.
    """

    def __init__(self, table: MemberTable, resolution: int, threads: int | None = None) -> None:
        """`threads` decode; None: see `usable_threads`."""
        import numpy as np

        self.resolution, self.threads = resolution, threads
        self.shape, self.dtype = (len(table.offsets), 3, resolution, resolution), np.dtype(np.uint8)
        super().__init__(table)

    def _start(self) -> None:
        super()._start()
        self._damaged: dict[int, str] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()
        pixels.formats()  # Pillow looks for its decoders once, before there are threads
        pixels.quiet()

    def _fill(self, wanted: NDArray[np.int64], found: NDArray[Any]) -> None:
        def one(at: int) -> None:
            found[at] = self._decoded(int(wanted[at]))

        if len(wanted) == 1 or self.threads == 1:
            for at in range(len(wanted)):
                one(at)
        else:
            list(self._threads().map(one, range(len(wanted))))

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None or self._process != os.getpid():  # a fork has none of its parent's threads
                self._process, self._pool = (
                    os.getpid(),
                    ThreadPoolExecutor(self.threads or usable_threads(), "decoding"),
                )
            return self._pool

    def each(self, rows: Sequence[int]) -> list[NDArray[np.uint8] | str]:
        """The picture of each row, or why it cannot be decoded: nothing stands in its place."""
        return list(self._threads().map(self._picture, rows))

    def damaged_first(self) -> dict[int, str]:
        """Rows that cannot be decoded, and why, from the first of each class on up to one that can.

        Without these each row that is left has a picture that can stand in its place: a class of which every picture is
        damaged is wholly among them.
        """
        import numpy as np

        labels = self.table.labels
        begins = [0] if labels is None else np.unique(labels, return_index=True)[1].tolist()
        return {row: why for damaged in self._threads().map(self._damaged_from, begins) for row, why in damaged.items()}

    def _damaged_from(self, row: int) -> dict[int, str]:
        """Damaged pictures of a class, from its first on up to one that is sound."""
        damaged: dict[int, str] = {}
        at: int | None = row
        while at is not None and isinstance(found := self._picture(at), str):
            damaged[at] = found
            at = self._next(row, at)
        return damaged

    def _picture(self, row: int) -> NDArray[np.uint8] | str:
        try:
            image = pixels.read(self._bytes(row), among_threads=True).image
            return pixels.centre_crop(image, self.resolution)
        except pixels.Damaged as error:
            return str(error)
        except MemoryError as error:
            raise MemoryError(
                f"memory ran out while {self.table.name(row)} was decoded, which is tried again by the next run"
            ) from error

    def _decoded(self, row: int) -> NDArray[np.uint8]:
        """The picture of a row, or of the next that can be decoded."""
        at: int | None = row
        while at is not None:
            if at not in self._damaged:
                if not isinstance(found := self._picture(at), str):
                    return found
                self._tell(at, found)
            at = self._next(row, at)
        raise DataError(f"data.path: {self.table.name(row)} cannot be decoded, and no other picture of its class can")

    def _tell(self, row: int, reason: str) -> None:
        with self._lock:
            if row in self._damaged:
                return
            self._damaged[row] = reason
            count = len(self._damaged)
        said = f"{self.table.name(row)} cannot be decoded ({reason}): the next picture of its class stands in its place"
        if count > _TOLD and str(count).strip("0") != "1":  # a sentence for each would hide all others
            return
        if count > _TOLD:
            said += f", and so it is with {count:,} pictures by now"
        warnings.warn(said, CellWarning, stacklevel=2)

    def _next(self, row: int, after: int) -> int | None:
        """The row after one that is of the class of `row`, from the last on to the first; None: that was the last."""
        labels, count = self.table.labels, len(self)
        for step in range((after - row) % count + 1, count):
            at = (row + step) % count
            if labels is None or labels[at] == labels[row]:
                return at
        return None


def usable_threads() -> int:
    """As many as this process may use, 8 at most."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_THREADS, allowed)
