"""How far a mixer is from treating every place of the image, or every place and moment of the clip, alike.

    error = sqrt( mean over shifts s of |M(S_s x) - S_s M(x)|^2  /  |M(x)|^2 )

S_s moves the grid by s tokens, by one along each axis in turn and then along all, and wraps around. 0, to rounding, for
every circular convolution, and for attention without positions, which no permutation of the tokens disturbs; about
sqrt(2) where the two have nothing in common. Of a mixer by itself: the position embedding, which is added before the
first block, is no part of it. What has no places, a classifier's answer, is to stay as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


@torch.no_grad()
def shift_error(
    mix: Callable[[Tensor], Tensor], x: Tensor, unit: Sequence[int] | None = None, moved: Sequence[int] | None = None
) -> float | None:
    """The error of `mix`, which takes grids (B, *grid, C); None where it returns nothing but zeros.

    Args:
        mix: returns grids (B, *grid, C') that move as its input does, or what has no places, (B, C').
        x: what it is given.
        unit: places of a shift's step along each axis, e.g. a patch in pixels; None: one.
        moved: places by which a step moves the output, () where it has none; None: as many as the input.
    """
    axes = tuple(range(1, x.ndim - 1))
    unit = (1,) * len(axes) if unit is None else unit
    moved = unit if moved is None else moved
    *before, last = (side // step for side, step in zip(x.shape[1:-1], unit, strict=True))
    one_by_one = [[int(axis == own) for axis in axes] for own in reversed(axes)]
    plain = mix(x)
    if not (size := plain.double().square().sum()) > 0:
        return None
    errors = []
    for steps in (*one_by_one, [*(count // 4 for count in before), last // 2]):
        difference = mix(_shifted(x, steps, unit)) - _shifted(plain, steps, moved)
        errors.append(difference.double().square().sum() / size)
    return float(torch.stack(errors).mean().sqrt())


def _shifted(values: Tensor, steps: Sequence[int], places: Sequence[int]) -> Tensor:
    """Values (B, *grid, C) so many steps further, of so many places along each axis; as they are without places."""
    if not places:
        return values
    shift = [count * each for count, each in zip(steps, places, strict=True)]
    return values.roll(shift, tuple(range(1, 1 + len(shift))))
