"""What the shell asks of a token mixer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel
from torch import Tensor, nn


@dataclass(frozen=True)
class Place:
    """Where in a backbone a mixer stands: all that it may depend on besides its family's options."""

    width: int
    heads: int
    grid: tuple[int, int]  # tokens, (h, w)
    layer: int
    depth: int


class Mixer(nn.Module):
    """A token mixer: the one part of a block in which tokens see each other.

    A subclass is built as `Mixer(place, options)` and called as `mixer(x, c)`, `x` of shape (B, N, D) in raster
    order over `place.grid`, `c` the conditioning vector of shape (B, D); it returns (B, N, D).
    """

    implementation: ClassVar[str] = "pytorch"

    @classmethod
    def mlp_hidden(cls, width: int, options: BaseModel) -> int:
        """Hidden width of the MLP beside this mixer: DiT's four times the width, unless a family matches its cost."""
        return 4 * width

    def initialise(self) -> None:
        """Set what the shell's Xavier initialisation should not; called after it."""

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Mix tokens `x` (B, N, D) given the conditioning `c` (B, D)."""
        raise NotImplementedError
