"""ZigMa's mixer: one Mamba-1 scan along a zigzag, another zigzag in each layer."""

from __future__ import annotations

from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.models.mixers.mamba import EXPANSION, Direction, implementation, initialise_projections
from pdebench.ops.scans import orders


class ZigzagMamba(Mixer):
    """Mamba-1 along one of eight serpentines, the layers taking them in turn (arXiv 2403.13802; CompVis/zigma).

    Kept: the mixer with its initialisation, its eight paths and their order; adaLN with three parts a block, no MLP,
    twice DiT's depth, an RMS norm with weights, and the published widths; its head, where a layer norm without weights
    follows a last RMS norm, nothing is conditioned, and the linear layer starts as PyTorch's own with zero biases; the
    embedders of patches, times and labels, which are DiT's in its code too. Changed, so that only the mixer and these
    differ between families: a block adds its mixer's output to the residual stream, where ZigMa's code adds the normed
    stream too; DiT's frozen position embedding, where the code has none unless asked and its zigzag configuration asks
    for one that is learnt from zeros; no stochastic depth (the code's default is 0.1).
    """

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        inner, zigzags = EXPANSION * place.width, orders("zigzag-8", *place.grid)
        self.branches = place.branches
        self.implementation = implementation()
        self.scan = zigzags[place.layer % len(zigzags)]
        self.in_proj = nn.Linear(place.width, 2 * inner, bias=False)
        self.direction = Direction(place.width)
        self.out_proj = nn.Linear(inner, place.width, bias=False)

    def initialise(self) -> None:
        """Mamba's own initialisation."""
        initialise_projections(self.in_proj, self.out_proj, self.branches)
        self.direction.initialise()

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Mix tokens `x` (B, N, D) along this layer's zigzag."""
        u, z = self.in_proj(x).chunk(2, dim=-1)
        y = self.scan.undo(self.direction(self.scan(u)))
        return self.out_proj(y * F.silu(z))  # type: ignore[no-any-return]
