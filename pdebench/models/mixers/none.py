"""No mixing: the floor that any mixer has to beat."""

from __future__ import annotations

from pydantic import BaseModel
from torch import Tensor, nn

from pdebench.models.mixers.base import Mixer, MixerContext


class PerToken(Mixer):
    """One linear layer from width to width, applied to each token by itself.

    No token sees another anywhere in the backbone: what a token learns of the image is its own patch, its position, the
    time and the label. Ours; no paper.
    """

    implementation = "linear"

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        self.proj = nn.Linear(place.width, place.width)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Map each of the tokens `x` (B, N, D)."""
        return self.proj(x)  # type: ignore[no-any-return]
