"""Where in a backbone a mixer stands. Importing this imports no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """All that a mixer may depend on besides its family's options."""

    width: int
    heads: int
    grid: tuple[int, int]  # tokens, (h, w)
    layer: int
    depth: int

    @property
    def tokens(self) -> int:
        """Tokens of the grid."""
        return self.grid[0] * self.grid[1]
