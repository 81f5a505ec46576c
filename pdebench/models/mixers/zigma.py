"""ZigMa's mixer: one Mamba-1 scan along a zigzag, another zigzag in each layer."""

from __future__ import annotations

from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.models.mixers.mamba import EXPANSION, Direction, implementation, initialise_projections
from pdebench.ops.factorised import by_frame, by_time, undo_by_frame, undo_by_time
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

    On clips it is the paper's factorised 3-D zigzag, the best of its three (its section on video; `zzvideo_st` in the
    code): layers take turns to scan each frame by itself along a zigzag, and each place in the frame by itself through
    time, forwards and backwards by turns.
    """

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        inner, self.grid = EXPANSION * place.width, place.grid
        self.branches = place.branches
        self.implementation = implementation()
        self.through_time, turn = False, place.layer
        if len(place.grid) == 3:
            self.through_time, turn = bool(place.layer % 2), place.layer // 2
        frames, *frame = place.grid if len(place.grid) == 3 else (1, *place.grid)
        scans = orders("bidirectional", frames) if self.through_time else orders("zigzag-8", *frame)
        self.scan = scans[turn % len(scans)]
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
        if len(self.grid) == 3:
            u = by_time(u, self.grid) if self.through_time else by_frame(u, self.grid)
        y = self.scan.undo(self.direction(self.scan(u)))
        if len(self.grid) == 3:
            y = undo_by_time(y, self.grid) if self.through_time else undo_by_frame(y, self.grid)
        return self.out_proj(y * F.silu(z))  # type: ignore[no-any-return]
