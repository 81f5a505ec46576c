"""Sides of images and clips, and grids of tokens. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

InputSize = int | Sequence[int]
"""What a model takes, in pixels: the side of a square image, or (height, width), or of a clip (frames, height, width).

One number in a list is the length of a sequence.
"""

KINDS = {1: "sequences", 2: "images", 3: "clips"}
"""What has so many axes."""


def sides_of(input_size: InputSize) -> tuple[int, ...]:
    """The sides by axis.

    Raises:
        ValueError: there are none, or more than three.
    """
    sides = (input_size, input_size) if isinstance(input_size, int) else tuple(input_size)
    if len(sides) not in KINDS:
        raise ValueError(f"an input has 1 to 3 sides, not {len(sides)}")
    return sides


def patches_of(axes: int, patch: int, patch_frames: int = 1) -> tuple[int, ...]:
    """Sides of a patch by axis: of a clip a tubelet of `patch_frames` frames, as of ViViT (arXiv 2103.15691)."""
    return (patch_frames, patch, patch) if axes == 3 else (patch,) * axes


def grid_of(input_size: InputSize, patch: int, patch_frames: int = 1) -> tuple[int, ...]:
    """Tokens along each axis."""
    sides = sides_of(input_size)
    return tuple(side // p for side, p in zip(sides, patches_of(len(sides), patch, patch_frames), strict=True))


def indivisible(sides: Sequence[int], patch: int, patch_frames: int = 1) -> str | None:
    """Why patches do not divide sides, or None where they do."""
    if len(sides) != 3 and patch_frames != 1:
        return f"patch_frames {patch_frames} is for clips; {KINDS[len(sides)]} have no frames"
    if len(sides) == 3 and sides[0] % patch_frames:
        return f"{sides[0]} frames are not divisible by patch_frames {patch_frames}"
    for side in sides[-2:]:
        if side % patch:
            return f"resolution {side} is not divisible by patch {patch}"
    return None
