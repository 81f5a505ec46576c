"""SANA's MLP, which sees a token's neighbours too."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.ops.depthwise_convolution import DepthwiseConvolution


class MixFfn(nn.Module):
    """An inverted bottleneck with a depthwise 3 x 3 convolution and a gate (arXiv 2410.10629, sec. 2.2; NVlabs/Sana).

        (a, b) = conv(silu(W_1 x))        y = W_2 (a * silu(b))

    `W_1` goes to twice the hidden width and has a bias, `W_2` has none. The convolution starts as PyTorch's own.

    Args:
        width: D.
        hidden: channels of `a`; SANA's is 2.5 times the width.
        grid: tokens (h, w).
    """

    def __init__(self, width: int, hidden: int, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.expand = nn.Linear(width, 2 * hidden)
        self.convolution = DepthwiseConvolution(2 * hidden, grid)
        self.convolution.initialise_as_convolution()
        self.contract = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Of tokens `x` (B, N, D)."""
        value, gate = self.convolution(F.silu(self.expand(x))).chunk(2, dim=-1)
        return self.contract(value * F.silu(gate))  # type: ignore[no-any-return]
