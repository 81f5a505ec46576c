"""What things are called in sentences and headings: one or several, and samples by whether they have frames."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Noun(NamedTuple):
    """One of them, one with its article, several, and several where there is little room."""

    one: str
    an: str
    many: str
    short: str

    @property
    def rate(self) -> str:
        """The unit of so many a second."""
        return f"{self.many}/s"


IMAGES = Noun("image", "an image", "images", "img")
CLIPS = Noun("clip", "a clip", "clips", "clips")
BOTH = Noun("sample", "a sample", "samples", "samples")


def plural(count: int, word: str) -> str:
    """`1 seed`, `3,000 seeds`; knows -y, -ss and -x."""
    if count == 1:
        return f"1 {word}"
    if word.endswith("y"):
        return f"{count:,} {word[:-1]}ies"
    return f"{count:,} {word}{'es' if word.endswith(('ss', 'x', 'ch')) else 's'}"


def called(frames: Iterable[float | None]) -> Noun:
    """The samples of sets of so many frames each; None or NaN: still images, as where nothing is there."""
    of_clips = {frame is not None and frame == frame for frame in frames}
    if of_clips == {True, False}:
        return BOTH
    return CLIPS if of_clips == {True} else IMAGES
