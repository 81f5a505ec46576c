"""Made-up scenes: emoji that drift and turn over a photograph, whose motion and masks are known exactly.

A scene is a function of its split and its number alone, at every resolution and length: draws come from a hash, and all
lengths are shares of the frame's side. The background is a crop of one photograph, which stands still. On it are one to
four cut-outs of Noto's emoji, each of its own size, place, constant velocity and constant spin; those that come later
cover those that come before. Each centre is inside the frame in the middle of the clip, so a sprite may come in late or
leave early. Photographs and emoji of one split stand in no scene of the other.

Imports numpy only where a scene is made.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from pdebench.data import emoji, photos, pixels
from pdebench.data.emoji import CATEGORIES, Icon, icons
from pdebench.data.source import Split

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

_RECIPE = "scenes-1"
IDENTITY = json.dumps([_RECIPE, emoji.IDENTITY, photos.FILES])
"""Part of the cache keys of all that is made of scenes: what decides what one shows."""

CLASSES = ("Background", *CATEGORIES)
"""Of pixels; the position is the value in a mask."""

RESOLUTIONS = (32, 64, 128)  # above, the largest sprites would be larger than their drawings, of 72 px
MOST_SPRITES = 4
SIZES = (0.25, 0.5)  # of a sprite, in sides of the frame
FASTEST = 1 / 32  # sides of the frame in a frame, along each axis
FASTEST_SPIN = math.pi / 16  # radians in a frame
_SMALLEST_CROP = max(RESOLUTIONS)  # px of the photograph, so that no background is enlarged
_SHORT_SIDE = 512  # px that larger photographs are reduced to once, since every scene resizes a crop
_EDGE = 2  # clear pixels around a cut-out, so that its border is interpolated as the rest of it is


class Sprite(NamedTuple):
    """One cut-out of a scene.

    Attributes:
        points: the emoji's code points.
        value: of its pixels in the masks.
        size: side of its square, in pixels.
        centre: where that is in the first frame, in pixels from the left and upper edges.
        velocity: pixels a frame, to the right and down.
        angle: how far it is turned in the first frame, in radians, clockwise.
        spin: radians a frame, clockwise.
    """

    points: str
    value: int
    size: int
    centre: tuple[float, float]
    velocity: tuple[float, float]
    angle: float
    spin: float


@dataclass(frozen=True, eq=False)
class Scene:
    """A clip and what is known of it.

    Attributes:
        frames: uint8 (T, H, W, 3), RGB.
        masks: uint8 (T, H, W), see `CLASSES`: of the uppermost sprite that covers at least half of a pixel.
        sprites: in the order in which they are painted.
        photograph: of the background.
    """

    frames: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    sprites: tuple[Sprite, ...]
    photograph: str

    @property
    def velocities(self) -> NDArray[np.float64]:
        """Of the sprites, (S, 2): pixels a frame, to the right and down."""
        import numpy as np

        return np.array([sprite.velocity for sprite in self.sprites], np.float64)


class _Material(NamedTuple):
    """What the scenes of a split are made of: views by photograph, and the icons of each category."""

    photographs: tuple[tuple[str, list[Image.Image]], ...]
    categories: tuple[list[Icon], ...]


@cache
def _material(split: Split) -> _Material:
    held_out = split == "validation"
    wanted = {name for name in photos.PHOTOGRAPHS if (name in photos.VALIDATION) == held_out}
    categories: tuple[list[Icon], ...] = tuple([] for _ in CATEGORIES)
    for icon in icons():
        if isinstance(icon, Icon) and icon.split == split:
            categories[icon.label].append(icon)
    photographs = sorted(photos.read("sprites", wanted).items())
    return _Material(tuple((name, [_reduced(view) for view in views]) for name, views in photographs), categories)


def _reduced(view: Image.Image) -> Image.Image:
    from PIL import Image

    share = _SHORT_SIDE / min(view.size)
    if share >= 1:
        return view
    return view.resize((round(share * view.width), round(share * view.height)), Image.Resampling.LANCZOS)


def scene(split: Split, seed: int, frames: int, resolution: int) -> Scene:
    """The scene of this number, as long and as large as it is asked for.

    Args:
        split: whose photographs and emoji it shows.
        seed: its number.
        frames: how many, at least 1; the middle of the clip is the same moment however many there are.
        resolution: side of the frames, in pixels, at most the largest of `RESOLUTIONS`.

    Raises:
        DataError: a packaged file is missing, or differs from the pinned one.
    """
    import numpy as np

    material, draws = _material(split), _draws(split, seed)
    photograph, background = _background(material, draws, resolution)
    cut_outs = [_cut_out(material, draws, frames, resolution) for _ in range(1 + _choice(draws, MOST_SPRITES))]
    painted = np.empty((frames, resolution, resolution, 3), np.uint8)
    masks = np.zeros((frames, resolution, resolution), np.uint8)
    for number in range(frames):
        frame = background.copy()
        for sprite, image in cut_outs:
            placed = _placed(sprite, image, number, resolution)
            frame.alpha_composite(placed)
            masks[number][np.asarray(placed.getchannel("A")) >= 128] = sprite.value
        painted[number] = np.asarray(frame.convert("RGB"))
    return Scene(painted, masks, tuple(sprite for sprite, _ in cut_outs), photograph)


def _draws(split: Split, seed: int) -> Iterator[float]:
    """Endless numbers in [0, 1), the same on every machine and in every version of numpy."""
    number = 0
    while True:
        digest = hashlib.sha256(f"{_RECIPE} {split} {seed} {number}".encode()).digest()
        yield from (int.from_bytes(digest[at : at + 4], "big") / 2**32 for at in range(0, 32, 4))
        number += 1


def _choice(draws: Iterator[float], count: int) -> int:
    return int(next(draws) * count)


def _between(draws: Iterator[float], low: float, high: float) -> float:
    return low + next(draws) * (high - low)


def _background(material: _Material, draws: Iterator[float], resolution: int) -> tuple[str, Image.Image]:
    """A photograph's name, and a square crop of it, RGBA."""
    from PIL import Image

    name, views = material.photographs[_choice(draws, len(material.photographs))]
    view = views[_choice(draws, len(views))]
    side = round(_between(draws, _SMALLEST_CROP, min(view.size)))
    left, upper = (_choice(draws, extent - side + 1) for extent in view.size)
    crop = pixels.resize(view, resolution, (left, upper, left + side, upper + side))
    return name, Image.fromarray(crop.transpose(1, 2, 0)).convert("RGBA")


def _cut_out(material: _Material, draws: Iterator[float], frames: int, resolution: int) -> tuple[Sprite, Image.Image]:
    """A sprite, and its picture, RGBA, at its size and upright, with clear pixels around it."""
    from PIL import Image

    of_category = material.categories[_choice(draws, len(CATEGORIES))]  # first, so that categories are alike often
    icon = of_category[_choice(draws, len(of_category))]
    size = max(1, round(_between(draws, *SIZES) * resolution))
    middle = [next(draws) * resolution for _ in range(2)]
    velocity = [_between(draws, -FASTEST, FASTEST) * resolution for _ in range(2)]
    angle, spin = _between(draws, -math.pi, math.pi), _between(draws, -FASTEST_SPIN, FASTEST_SPIN)
    until = (frames - 1) / 2  # frames from the first to the middle of the clip
    sprite = Sprite(
        icon.points,
        1 + icon.label,
        size,
        (middle[0] - until * velocity[0], middle[1] - until * velocity[1]),
        (velocity[0], velocity[1]),
        angle - until * spin,
        spin,
    )
    drawing = Image.open(io.BytesIO(icon.png), formats=("PNG",)).convert("RGBA")
    padded = Image.new("RGBA", (size + 2 * _EDGE, size + 2 * _EDGE))
    padded.paste(drawing.resize((size, size), Image.Resampling.LANCZOS), (_EDGE, _EDGE))
    return sprite, padded


def _placed(sprite: Sprite, image: Image.Image, frame: int, resolution: int) -> Image.Image:
    """The sprite where it is in a frame, on a clear frame, RGBA: Pillow resamples colours weighted by their alpha."""
    from PIL import Image

    x, y = (start + frame * speed for start, speed in zip(sprite.centre, sprite.velocity, strict=True))
    angle = sprite.angle + frame * sprite.spin
    cosine, sine, half = math.cos(angle), math.sin(angle), image.width / 2
    back = (cosine, sine, half - cosine * x - sine * y, -sine, cosine, half + sine * x - cosine * y)
    return image.transform((resolution, resolution), Image.Transform.AFFINE, back, Image.Resampling.BICUBIC)
