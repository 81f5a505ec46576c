"""Softmax self-attention: the mixer of DiT."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.models.options import AttentionOptions
from pdebench.ops.factorised import by_frame, by_time, undo_by_frame, undo_by_time
from pdebench.ops.rotary import Rotary


class Attention(Mixer):
    """Multi-head attention as in DiT (arXiv 2212.09748; names as in facebookresearch/DiT).

    Kept: everything. The scores go through `scaled_dot_product_attention`, so the fastest kernel that the device
    has is used.

    Factorised, an option for clips, layers take turns to attend within each frame and, at each place of the frame,
    through time: Latte's interleaved blocks, the best of its four variants (arXiv 2401.03048). It has DiT's parameters.

    Where the shell says so, queries and keys have an RMS norm in each head, then are turned by their tokens' places
    (`ops/rotary.py`), as in LightningDiT; factorised, by those on the axes that a layer attends over.
    """

    implementation = "scaled_dot_product_attention"

    def __init__(self, place: MixerContext, options: AttentionOptions) -> None:
        super().__init__()
        self.heads, self.grid = place.heads, place.grid
        self.within = ("frames", "time")[place.layer % 2] if options.attention == "factorised" else "all"
        self.qkv = nn.Linear(place.width, 3 * place.width)
        self.proj = nn.Linear(place.width, place.width)
        self.q_norm, self.k_norm = norms_of_queries_and_keys(place)
        seen = {"frames": place.grid[1:], "time": place.grid[:1], "all": place.grid}[self.within]
        self.rotary = Rotary(seen, place.width // place.heads) if place.rope else nn.Identity()

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Attend over all tokens or, factorised, those of a frame or a place; `x` and the result are (B, N, D)."""
        if self.within == "frames":
            return undo_by_frame(self._attended(by_frame(x, self.grid)), self.grid)
        if self.within == "time":
            return undo_by_time(self._attended(by_time(x, self.grid)), self.grid)
        return self._attended(x)

    def _attended(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, N, D / heads)
        q, k = (self.rotary(norm(part)).to(v.dtype) for norm, part in ((self.q_norm, q), (self.k_norm, k)))
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))  # type: ignore[no-any-return]


def norms_of_queries_and_keys(place: MixerContext) -> tuple[nn.Module, nn.Module]:
    """An RMS norm in each head, as LightningDiT's `q_norm` and `k_norm`, where the shell has it."""
    if not place.qk_norm:
        return nn.Identity(), nn.Identity()
    head = place.width // place.heads
    return HeadNorm(head, eps=1e-6), HeadNorm(head, eps=1e-6)


class HeadNorm(nn.RMSNorm):
    """An RMS norm of (..., D / heads), in the precision of its weights under any autocast."""

    def forward(self, x: Tensor) -> Tensor:
        """The norm of `x`, in that precision too."""
        return super().forward(x.to(self.weight.dtype))
