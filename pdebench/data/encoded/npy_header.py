"""The header of a `.npy` file: what an array is, and where its values begin."""

from __future__ import annotations

import math
from typing import BinaryIO, NamedTuple

LONGEST = 4096  # bytes; numpy writes 128 for what is in an array of latents


class BadNpy(ValueError):
    """A file is no `.npy` file of numbers that can be read row by row; the text ends a sentence."""


class NpyHeader(NamedTuple):
    """An array as its file says: `dtype` as numpy writes it, and the header's bytes, after which the values begin."""

    shape: tuple[int, ...]
    dtype: str
    head: bytes

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        import numpy as np

        return len(self.head) + np.dtype(self.dtype).itemsize * math.prod(self.shape)


def read_npy_header(file: BinaryIO) -> NpyHeader:
    """Read a header from the beginning of a file.

    Raises:
        BadNpy: there is none, or its array is not of numbers in C's order.
        OSError: it cannot be read.
    """
    import io

    import numpy as np
    from numpy.lib import format as npy

    begin = file.read(LONGEST)
    reading = io.BytesIO(begin)
    try:
        version = npy.read_magic(reading)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(reading)
    except Exception as error:  # a damaged header raises anything
        if isinstance(error, MemoryError):
            raise
        raise BadNpy("it is no .npy file") from None
    if dtype.kind not in "fiu":
        raise BadNpy(f"its values are {dtype}, not numbers")
    if fortran and len(shape) > 1:
        raise BadNpy("its array is in Fortran's order")
    return NpyHeader(tuple(shape), np.dtype(dtype).str, begin[: reading.tell()])
