"""Where in a backbone a mixer stands. Importing this imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class MixerContext:
    """All that a mixer may depend on besides its family's options."""

    width: int
    heads: int
    grid: tuple[int, ...]  # tokens along each axis: (h, w) of an image, (t, h, w) of a clip, (n,) of a sequence
    layer: int
    depth: int
    mlp: bool = False  # one stands beside the mixer in every block
    rope: bool = False  # queries and keys are turned by their places, see `ops/rotary.py`
    qk_norm: bool = False  # queries and keys have an RMS norm in each head

    @property
    def tokens(self) -> int:
        """Tokens of the grid."""
        return math.prod(self.grid)

    @property
    def branches(self) -> int:
        """What all blocks add to the residual stream: the mixers' outputs, and the MLPs' where there are any."""
        return self.depth * (2 if self.mlp else 1)
