"""Times moved towards noise or towards images, by one formula for sampling and for training; imports no torch.

Stable Diffusion 3 (arXiv 2403.03206, eq. 23) counts from the image, s = 0, to the noise, s = 1, and moves s to
a s / (1 + (a - 1) s): with a > 1 towards the noise, 3 for images of a million pixels. Here time runs the other way,
t = 1 - s, so that the same move is

    shifted(t) = 1 - a (1 - t) / (1 + (a - 1)(1 - t)) = t / (t + a (1 - t)).

It keeps 0 and 1; a = 1 moves nothing, and the move by 1 / a takes that by a back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Time = TypeVar("Time", float, "Tensor")


def shifted(t: Time, shift: float) -> Time:
    """A time in [0, 1], 0 at noise and 1 at an image, moved by `shift`, above 0; above 1: towards noise."""
    return t / (t + shift * (1 - t))
