"""Arrays in .npy files whose headers are known byte for byte: written a row at a time, and believed only then."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdebench.files import disk

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIXELS, LABELS = "|u1", "<i8"  # as numpy's files name their kinds


def header(kind: str, shape: tuple[int, ...]) -> bytes:
    """How an .npy file begins; the length is the same for any number of images, which numpy pads it for."""
    import numpy as np

    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def read_array(path: Path, kind: str, shape: tuple[int, ...], *, mapped: bool = False) -> NDArray[Any]:
    """The array that was written to a file; its header must be ours, byte for byte.

    Raises:
        ValueError: it holds anything else.
    """
    import numpy as np

    begins = header(kind, shape)
    with disk.open_plain(path) as file:
        if file.read(len(begins)) != begins:
            raise ValueError("it holds another array")
        if mapped:
            return np.memmap(file, np.dtype(kind), "r", len(begins), shape)
        return np.frombuffer(file.read(), np.dtype(kind)).reshape(shape).copy()


class ArrayWriter:
    """Appends images to an .npy file of yet unknown length; the file appears, whole, when the block ends."""

    def __init__(self, path: Path, shape: tuple[int, ...], kind: str = PIXELS) -> None:
        self._replacing = disk.replacing(path)
        self._shape, self._kind = shape, kind
        self._count = 0
        self.digest = hashlib.sha256()

    def __enter__(self) -> ArrayWriter:
        self._stream = self._replacing.__enter__()
        self._stream.write(header(self._kind, (0, *self._shape)))
        return self

    def append(self, image: NDArray[Any]) -> None:
        """Add one image, C-contiguous, of the shape given."""
        block = image.reshape(self._shape).tobytes()
        self._stream.write(block)
        self.digest.update(block)
        self._count += 1

    def __exit__(self, *exception: Any) -> None:
        if exception[0] is None:
            self._stream.seek(0)
            self._stream.write(header(self._kind, (self._count, *self._shape)))
        self._replacing.__exit__(*exception)
