"""What the shell asks of a token mixer."""

from __future__ import annotations

from torch import Tensor, nn

from pdebench.models.mixer_context import MixerContext

__all__ = ["Mixer", "MixerContext"]


class Mixer(nn.Module):
    """A token mixer: the one part of a block in which tokens see each other.

    A subclass is built as `Mixer(place, options)` and called as `mixer(x, c)`, `x` of shape (B, N, D) in raster
    order over `place.grid`, `c` the conditioning vector of shape (B, D), or None in a shell without conditioning; it
    returns (B, N, D). A family names the options that need `c` in `Family.conditioned_options`. The grid is (h, w), or
    (t, h, w) or (n,) where its family's `axes` say that it takes them.

    Attributes:
        implementation: what runs, in words for the record; an instance that uses a kernel sets its own.
    """

    implementation: str = "pytorch"

    def initialise(self) -> None:
        """Set what the shell's Xavier initialisation should not; called after it."""

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Mix tokens `x` (B, N, D) given the conditioning `c` (B, D), or None."""
        raise NotImplementedError
