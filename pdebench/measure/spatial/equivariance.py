"""How far a mixer is from treating every place of the image alike.

    error = sqrt( mean over shifts s of |M(S_s x) - S_s M(x)|^2  /  |M(x)|^2 )

S_s moves the grid by s tokens and wraps around. 0, to rounding, for every circular convolution, and for attention
without positions, which no permutation of the tokens disturbs; about sqrt(2) where the two have nothing in common. Of
a mixer by itself: the position embedding, which is added before the first block, is no part of it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def shift_error(mix: Callable[[Tensor], Tensor], x: Tensor, unit: int = 1) -> float | None:
    """The error of `mix`, which takes and returns grids (B, h, w, ...); None where it returns nothing but zeros.

    Args:
        mix: of one shape or another, as long as a place of the input is a place of the output.
        x: what it is given.
        unit: places of a shift's step, e.g. a patch in pixels.
    """
    steps = x.shape[1] // unit, x.shape[2] // unit
    plain = mix(x)
    if not (size := plain.double().square().sum()) > 0:
        return None
    errors = []
    for down, right in ((0, 1), (1, 0), (steps[0] // 4, steps[1] // 2)):
        shift = (down * unit, right * unit)
        difference = mix(x.roll(shift, (1, 2))) - plain.roll(shift, (1, 2))
        errors.append(difference.double().square().sum() / size)
    return float(torch.stack(errors).mean().sqrt())
