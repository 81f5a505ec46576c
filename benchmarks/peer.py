"""Our DiT's block over one that is built from timm's attention and MLP, as the published DiT is: forward and backward.

timm's parts stand between layer norms that adaLN modulates and gates, in plain PyTorch. The two blocks have the same
parameters and are given the same ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from timm.layers import Attention, Mlp  # type: ignore[attr-defined]
from torch import Tensor, nn

from benchmarks.block import CASES, HEADS, WIDTH, block_of, passes
from benchmarks.here import PRECISIONS, finish
from benchmarks.ratio import Effort, Row, compare, timed

TARGET = 1.0
GELU_TANH: Any = partial(nn.GELU, approximate="tanh")  # a class to timm, which calls it


class TimmBlock(nn.Module):
    """A transformer block with adaLN-Zero (arXiv 2212.09748, figure 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(WIDTH, eps=1e-6, elementwise_affine=False) for _ in "12")
        self.mixer = Attention(WIDTH, num_heads=HEADS, qkv_bias=True)
        self.mlp = Mlp(WIDTH, 4 * WIDTH, act_layer=GELU_TANH)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(WIDTH, 6 * WIDTH))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = self.adaLN_modulation(c).unsqueeze(1).chunk(6, dim=-1)
        x = x + gate * self.mixer(self.norm1(x) * (1 + scale) + shift)
        return x + gate_mlp * self.mlp(self.norm2(x) * (1 + scale_mlp) + shift_mlp)  # type: ignore[no-any-return]


def run(effort: Effort) -> Iterator[Row]:
    """One row for each number of tokens and each precision."""
    for side, batch in CASES[:1] if effort.quick else CASES:
        for precision in PRECISIONS:
            ours, theirs = block_of("DiT", side), TimmBlock()
            theirs.load_state_dict(ours.state_dict())
            a, b = (timed(passes(block, side, batch, precision), finish=finish) for block in (ours, theirs))
            yield Row("peer", f"{side * side} tokens {precision}: DiT / timm's parts", compare(a, b, effort), TARGET)
