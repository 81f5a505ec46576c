"""What a data set holds, counted: images, classes, values by channel, and copies within and across its splits."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pdebench.data.source import SPLITS, ImageSet, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

AT_ONCE = 64  # images that are read at a time, or as many clips as have about so many frames


@dataclass(frozen=True)
class SplitStatistics:
    """Of one split.

    Attributes:
        images: how many.
        classes: how many of each class, by its name; None: there are none.
        mean, std: of each channel, as a model sees it: of uint8 from 0 to 255.
        copies: images that are the same as an earlier one of the split, byte for byte.
        skipped: what the source left out, of both splits.
        pixels: the share of the pixels of known class that are of each, by its name; None: there are no maps.
        ignored: the share of all pixels that are of no known class.
    """

    images: int
    classes: dict[str, int] | None
    mean: list[float]
    std: list[float]
    copies: int
    skipped: int
    pixels: dict[str, float] | None = None
    ignored: float | None = None


@dataclass(frozen=True)
class SetStatistics:
    """Of a data set; `shared` are held-out images that are trained on, too, byte for byte."""

    splits: dict[Split, SplitStatistics]
    shared: int
    shape: tuple[int, ...]
    dtype: str


def statistics(sets: dict[Split, ImageSet]) -> SetStatistics:
    """Read a data set once, a few images at a time."""
    seen: dict[Split, set[bytes]] = {}
    found = {}
    for split, images in sets.items():
        digests: Counter[bytes] = Counter()
        total, squares, count = _zeros(images), _zeros(images), 0
        for rows in _blocks(images):
            values = rows.astype("f8")
            others = tuple(axis for axis in range(values.ndim) if axis != 1)
            total += values.sum(others)
            squares += (values**2).sum(others)
            count += values.size // values.shape[1]
            digests.update(hashlib.sha1(row.tobytes(), usedforsecurity=False).digest() for row in rows)
        mean = total / max(count, 1)
        deviation = (squares / max(count, 1) - mean**2).clip(0) ** 0.5
        seen[split] = set(digests)
        found[split] = SplitStatistics(
            len(images), _classes(images), mean.tolist(), deviation.tolist(), len(images) - len(digests),
            images.skipped, *_pixels(images),
        )  # fmt: skip
    shared = len(seen[SPLITS[0]] & seen[SPLITS[1]])
    first = sets[SPLITS[0]].seen
    return SetStatistics(found, shared, tuple(first.shape[1:]), str(first.dtype))


def _zeros(images: ImageSet) -> NDArray[Any]:
    import numpy as np

    return np.zeros(images.seen.shape[1])


def _blocks(images: ImageSet) -> Iterator[NDArray[Any]]:
    import numpy as np

    rows = images.seen
    at_once = AT_ONCE if rows.ndim == 4 else max(1, AT_ONCE // rows.shape[2])
    for begin in range(0, len(rows), at_once):
        yield np.asarray(rows[begin : begin + at_once])


def _classes(images: ImageSet) -> dict[str, int] | None:
    if images.labels is None or images.class_names is None:
        return None
    counts = Counter(images.labels.tolist())
    return {name: counts.get(label, 0) for label, name in enumerate(images.class_names)}


def _pixels(images: ImageSet) -> tuple[dict[str, float] | None, float | None]:
    """Shares of classes among the pixels of known class, and of pixels of none."""
    import numpy as np

    if images.maps is None or images.map_names is None:
        return None, None
    counts = np.zeros(2**15, np.int64)
    for begin in range(0, len(images), AT_ONCE):
        counts += np.bincount(np.asarray(images.maps[begin : begin + AT_ONCE]).reshape(-1), minlength=2**15)
    known = counts[: len(images.map_names)]
    shares = known / max(known.sum(), 1)
    names = zip(images.map_names, shares.tolist(), strict=True)
    return dict(names), float(1 - known.sum() / max(counts.sum(), 1))
