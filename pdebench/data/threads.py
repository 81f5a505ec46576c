"""Many small files read by several threads, which are handed some at a time: one each takes longer than to read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_READERS = 8  # a disk is waited for, and hashing lets go of the interpreter
_MOST = 256  # files that a thread is given
_EACH = 4  # times that a thread is given some, so that none is left with all that are large

T = TypeVar("T")
File = TypeVar("File")


def in_threads(read: Callable[[Sequence[File]], list[T]], files: Sequence[File]) -> list[T]:
    """What `read` says of some files, of all of them in their order; raises what it raises."""
    size = max(1, min(_MOST, len(files) // (_EACH * _READERS)))
    parts = [files[begin : begin + size] for begin in range(0, len(files), size)]
    with ThreadPoolExecutor(_READERS) as pool:
        return [one for part in pool.map(read, parts) for one in part]
