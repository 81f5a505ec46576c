"""Work cut into pieces that stay near the cache."""

from __future__ import annotations

from collections.abc import Iterator


def tiles(count: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover `count`."""
    for begin in range(0, count, size):
        yield slice(begin, min(count, begin + size))
