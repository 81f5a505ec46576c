"""Sides of images and grids of tokens. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

InputSize = int | Sequence[int]
"""Sides of an image in pixels: one number where they are equal, else height and width."""


def sides_of(input_size: InputSize) -> tuple[int, int]:
    """Height and width.

    Raises:
        ValueError: it is neither one number nor two.
    """
    if isinstance(input_size, int):
        return input_size, input_size
    height, width = input_size
    return height, width


def grid_of(input_size: InputSize, patch: int) -> tuple[int, int]:
    """Tokens along each side."""
    height, width = sides_of(input_size)
    return height // patch, width // patch
