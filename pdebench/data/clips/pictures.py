"""The frames of a clip that Pillow reads: a folder of pictures, or an animated WebP or GIF."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pdebench.data import pixels
from pdebench.data.clips.video import Looked
from pdebench.errors import DataError, refused_by_system
from pdebench.files import disk

if TYPE_CHECKING:
    from PIL import Image

ANIMATED = (".webp", ".gif")
"""How the names of files end that may be a clip or a picture, in lower case."""

LARGEST = 2**30  # bytes of a file


def is_animated(path: Path) -> bool:
    """Whether a WebP or GIF has more than one frame; False where it cannot be read, as of any picture."""
    try:
        with pixels.opened(_bytes(path)) as image:
            return bool(getattr(image, "is_animated", False))
    except pixels.Damaged:
        return False


def look_at_animation(path: Path) -> Looked:
    """As `video.look`."""
    lasts: dict[float, None] = {}
    size, count = (0, 0), 0
    with pixels.opened(_bytes(path)) as image:
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            lasts[float(image.info.get("duration", 0))] = None
            size, count = image.size, count + 1
    first = next(iter(lasts))
    return Looked(count, *size, 1000 / first if len(lasts) == 1 and first else 0.0, len(lasts) == 1)


def animation(path: Path, wanted: Sequence[int]) -> Iterator[Image.Image]:
    """Frames of a file, RGB on white, by their numbers, which rise."""
    with pixels.opened(_bytes(path)) as image:
        for number in wanted:
            image.seek(number)
            yield pixels.on_white(image.copy())


def look_at_frames(paths: Sequence[Path]) -> Looked:
    """Decode every picture of a folder once; as `video.look`, with the name of the picture that is damaged."""
    sizes: dict[tuple[int, int], str] = {}
    for path, image in zip(paths, pictures(paths), strict=True):
        sizes.setdefault(image.size, path.name)
        if len(sizes) > 1:
            told = [f"{name} of {width} x {height}" for (width, height), name in sizes.items()]
            raise pixels.Damaged(f"its frames are of several sizes: {' and '.join(told)}")
    return Looked(len(paths), *next(iter(sizes)))


def pictures(paths: Sequence[Path]) -> Iterator[Image.Image]:
    """Pictures, RGB on white.

    Raises:
        Damaged: one cannot be decoded; it is named.
    """
    for path in paths:
        try:
            yield pixels.read(_bytes(path), among_threads=True).image
        except pixels.Damaged as error:
            raise pixels.Damaged(f"{path.name}: {error}") from error


def _bytes(path: Path) -> bytes:
    try:
        return disk.read_plain(path, LARGEST, follow=True)
    except disk.NotPlain as error:
        raise pixels.Damaged(str(error)) from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {refused_by_system(error) or error}") from error
