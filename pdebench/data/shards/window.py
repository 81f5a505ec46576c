"""A member of an archive as a file of its own, read where it lies: what looks at its begin reads no more than that."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Window(io.RawIOBase):
    """Bytes of an open file, from `offset` on, `size` of them."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._descriptor, self._offset, self._size, self._at = descriptor, offset, size, 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file; raises ValueError before the first byte."""
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if begin + offset < 0:
            raise ValueError(f"byte {begin + offset} of a file")
        self._at = begin + offset
        return self._at

    def readinto(self, buffer: WriteableBuffer) -> int:
        """As of any file."""
        into = memoryview(buffer)[: max(0, self._size - self._at)]
        got = os.preadv(self._descriptor, [into], self._offset + self._at) if len(into) else 0
        self._at += got
        return got
