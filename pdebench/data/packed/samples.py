"""Images of a loaded set, one after another, for who writes them elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from pdebench.data.shards.rows import DecodedRows
from pdebench.data.source import ImageSet, Sample, Skipped

_AT_ONCE = 64  # images, or as many clips as have about so many frames


def samples(images: ImageSet, begin: int, end: int) -> Iterator[Sample | Skipped]:
    """Images `begin` to `end`; of what is decoded only now some may prove damaged, and nothing stands in its place."""
    rows = images.images
    at_once = _AT_ONCE if rows.ndim == 4 else max(1, _AT_ONCE // rows.shape[2])
    for first in range(begin, end, at_once):
        index = range(first, min(first + at_once, end))
        found = rows.each(index) if isinstance(rows, DecodedRows) else rows[index.start : index.stop]
        for at, row in zip(index, found, strict=True):
            if isinstance(row, str):
                yield Skipped(rows.table.name(at), row)  # type: ignore[attr-defined]  # reasons are of decoded rows
            else:
                yield Sample(images.split, row, -1 if images.labels is None else int(images.labels[at]))
