"""SANA's mixer: attention whose weights are products of rectified queries and keys, in time linear in the tokens."""

from __future__ import annotations

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.attention import norms_of_queries_and_keys
from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.ops.precision import as_given
from pdebench.ops.rotary import Rotary

EPSILON = 1e-15


class LinearAttention(Mixer):
    """ReLU linear attention (arXiv 2410.10629, eq. 1; NVlabs/Sana).

        y_i = sum_j (q_i . k_j) v_j / sum_j (q_i . k_j) = q_i (sum_j k_j^T v_j) / (q_i . sum_j k_j)

    with q and k after a ReLU. Both sums over j are formed once, in float32 under any autocast, the lower one as one
    more column of v, which is all ones.

    Kept: the formula, heads of 32 channels, no biases of queries, keys and values, one of the output; 1e-15 in the
    denominator; and, as the family's shell, the mix-FFN in the MLP's place (`models/mix_ffn.py`). Changed: SANA
    conditions its blocks by one adaLN for all and a table for each, DiT's shell by an adaLN each; and DiT's shell keeps
    its frozen positions, which SANA does without. Left out: the cross attention to a text, the norm of queries and keys
    of later versions, unless the shell has one, fused kernels, the autoencoder that compresses 32 times. Sizes are
    DiT's, with heads of 32 channels.

    Without its convolutions, which are the MLP's, the mixer knows no places: permuted tokens give permuted tokens.
    Where the shell has rotary positions, rectified queries and keys are turned in the upper sum and not in the lower,
    which so stays positive (arXiv 2104.09864, eq. 19); an RMS norm of queries and keys comes before the ReLU.
    """

    implementation = "products of matrices"

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        self.heads = place.heads
        self.qkv = nn.Linear(place.width, 3 * place.width, bias=False)
        self.proj = nn.Linear(place.width, place.width)
        self.q_norm, self.k_norm = norms_of_queries_and_keys(place)
        self.rotary = Rotary(place.grid, place.width // place.heads) if place.rope else None

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Attend over all tokens; `x` and the result are (B, N, D)."""
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.to(torch.promote_types(qkv.dtype, torch.float32)).unbind(0)  # each (B, heads, N, D / heads)
        q, k = F.relu(self.q_norm(q)), F.relu(self.k_norm(k))
        with as_given(x):
            if self.rotary is None:
                ones = F.pad(v, (0, 1), value=1.0)
                sums = k.transpose(-1, -2) @ ones  # (B, heads, D / heads, D / heads + 1)
                y = q @ sums
                above, below = y[..., :-1], y[..., -1:]
            else:
                above = self.rotary(q) @ (self.rotary(k).transpose(-1, -2) @ v)
                below = q @ k.sum(-2).unsqueeze(-1)
        mixed = above / (below + EPSILON)
        return self.proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]
