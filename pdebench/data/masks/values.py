"""From the bytes of a mask to the class of each pixel: the numbers that a PNG of one channel stores, never its colours.

A palette's colours are for the eye; its indices are the classes. A picture of three channels holds colours alone, and
nobody can say which class each stands for, so it is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pdebench.data import pixels
from pdebench.data.list_phrases import few
from pdebench.data.source import IGNORED
from pdebench.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_CLASSES = IGNORED  # numbered from 0; 255 is ignored
_DEPTH = 24  # the byte of a PNG that says how many bits a sample has
_FORBIDDEN = -1
_CHANNELS = {"RGB": 3, "RGBA": 4, "LA": 2, "RGBX": 4, "La": 2, "RGBa": 4}


class Coding(NamedTuple):
    """What the values of a set's masks stand for.

    Attributes:
        classes: of each value from 0 on: a class, or `IGNORED`; `IGNORED` itself stands for itself, and other values
            are refused.
        said: which values there may be, for a sentence.
    """

    classes: tuple[int, ...]
    said: str


def plain(count: int) -> Coding:
    """Values that are classes."""
    return Coding(tuple(range(count)), f"0 to {count - 1}, and {IGNORED} for what is ignored")


def from_one(count: int) -> Coding:
    """Classes are numbered from 1, and 0 is ignored, as in ADE20K (`reduce_zero_label`)."""
    return Coding((IGNORED, *range(count)), f"1 to {count}, and 0 for what is ignored")


def among_ids(ids: tuple[int, ...], largest: int) -> Coding:
    """Some of the ids up to the largest are classes, in their order, and the others are ignored."""
    classes = tuple(ids.index(one) if one in ids else IGNORED for one in range(largest + 1))
    return Coding(classes, f"0 to {largest}")


def channels_refused(name: str, mode: str) -> str | None:
    """A sentence against a mask of this mode of Pillow's; None: it has one channel."""
    if (channels := _CHANNELS.get(mode)) is None:
        return None
    return (
        f"data.path: the mask {name} has {channels} channels, which are colours and no classes: save masks with one "
        "channel, grey whose values are the classes, or the palette whose indices they are"
    )


def read_mask(data: bytes, name: str, coding: Coding) -> NDArray[np.uint8]:
    """The class of each pixel, uint8 (H, W), or `IGNORED`.

    Args:
        data: of a PNG.
        name: for messages.
        coding: what its values stand for.

    Raises:
        DataError: it has several channels, or values that stand for nothing.
        Damaged: it cannot be decoded.
    """
    import numpy as np

    image = pixels.read_stored(data)
    if said := channels_refused(name, image.mode):
        raise DataError(said)
    values = np.asarray(image).astype(np.int64)
    bits = data[_DEPTH]
    if image.mode == "L" and bits < 8:
        values = values * (2**bits - 1) // 255  # Pillow has scaled them to 8 bits
    table = np.full(max(IGNORED + 1, int(values.max()) + 1), _FORBIDDEN)
    table[: len(coding.classes)] = coding.classes
    table[IGNORED] = IGNORED
    classes = table[values]
    if (outside := np.unique(values[classes == _FORBIDDEN])).size:
        raise DataError(
            f"data.path: the mask {name} has the value{'s' * (outside.size > 1)} {few(map(str, outside.tolist()))}, "
            f"and may have {coding.said}: see that it is of these classes, or that data.classes is right"
        )
    return classes.astype(np.uint8)
