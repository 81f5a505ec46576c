"""DiG's mixer: gated linear attention that scans the grid in another of four directions in each layer."""

from __future__ import annotations

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.ops import kernels
from pdebench.ops.gated_linear_attention import gated_linear_attention
from pdebench.ops.scans import orders

DECAY_RANK, DECAY_DIVISOR = 16, 16
GAIN = 2**-2.5


class DiG(Mixer):
    """Gated linear attention (arXiv 2312.06635) in DiG's four directions (arXiv 2405.18428; hustvl/DiG).

    Kept: queries and keys of half the width, values and output gate of the whole, none with a bias; log-decays
    `logsigmoid(.) / 16` from a projection of rank 16; one RMS norm of a head's values, whose weights all heads share,
    then the SiLU gate; Xavier initialisation with gain 2^-2.5. Raster order, its reverse, the transpose and the
    transpose's reverse take turns: DiG flips the tokens after each block and transposes them after each second one.

    Changed: the directions are undone after each mixer, so that tokens are in raster order everywhere else. DiG leaves
    them turned, which a block's 3 x 3 convolution sees; its weights, turned along, make the same model. The first five
    projections are one matrix. Without classes DiG's head has no adaLN; here it always has.
    """

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        width, self.heads = place.width, place.heads
        directions = orders("cross", *place.grid)
        self.scan = directions[place.layer % len(directions)]
        self.parts = (width // 2, width // 2, width, width, DECAY_RANK)  # q, k, v, gate, decay
        self.in_proj = nn.Linear(width, sum(self.parts), bias=False)
        self.decay_proj = nn.Linear(DECAY_RANK, width // 2)
        self.norm = nn.RMSNorm(width // self.heads, eps=1e-6)
        self.out_proj = nn.Linear(width, width, bias=False)
        self.kernel = kernels.load("gla")
        self.implementation = kernels.described("gla", "chunked gated linear attention in PyTorch")

    def initialise(self) -> None:
        """Each projection by itself, smaller than the shell's."""
        for weight in (*self.in_proj.weight.split(self.parts), self.decay_proj.weight, self.out_proj.weight):
            nn.init.xavier_uniform_(weight, gain=GAIN)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Mix tokens `x` (B, N, D) along this layer's direction."""
        q, k, v, gate, decay = self.in_proj(self.scan(x)).split(self.parts, dim=-1)
        logits = self.decay_proj(decay)
        g = F.logsigmoid(logits.to(torch.promote_types(logits.dtype, torch.float32))) / DECAY_DIVISOR
        q, k, v, g = (part.unflatten(-1, (self.heads, -1)) for part in (q, k, v, g))
        y = self.norm(self._attended(q, k, v, g)).flatten(2)
        return self.scan.undo(self.out_proj(y * F.silu(gate)))

    def _attended(self, q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Tensor:
        """(B, N, heads, D / heads) in float32 or more; `q`, `k`, `v` are in the precision of the projections."""
        if self.kernel is not None and kernels.suit(q):
            y, _ = self.kernel(q=q, k=k, v=v, g=g)
            return y.float()  # type: ignore[no-any-return]
        return gated_linear_attention(q, k, v, g)
