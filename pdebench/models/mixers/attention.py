"""Softmax self-attention: the mixer of DiT."""

from __future__ import annotations

from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, MixerContext


class Attention(Mixer):
    """Multi-head attention as in DiT (arXiv 2212.09748; names as in facebookresearch/DiT).

    Kept: everything. The scores go through `scaled_dot_product_attention`, so the fastest kernel that the device
    has is used.
    """

    implementation = "scaled_dot_product_attention"

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        self.heads = place.heads
        self.qkv = nn.Linear(place.width, 3 * place.width)
        self.proj = nn.Linear(place.width, place.width)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Attend over all tokens; `x` and the result are (B, N, D)."""
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, N, D / heads)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))  # type: ignore[no-any-return]
