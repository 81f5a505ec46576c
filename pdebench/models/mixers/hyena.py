"""Hyena in two dimensions: a global filter that a small network draws as a function of position, between two gates.

    u = norm(q k)    y = v (F * u + D u)    F(p) = W_3 sin(f_2 W_2 sin(f_1 W_1 e(p))) (exp(-|delta| |p|) + s)

(HyenaPixel, arXiv 2402.19305, of order 2 after Hyena, arXiv 2302.10866; `*` is a convolution, all else by channels,
each W but the last has a bias.) The filter is twice as large as the image along each axis, so that every token sees
every other in its own way.

A position `p` is a displacement in units of twice the side of the image, its own along each axis: from -1/2 to 1/2,
whatever the grid. `e` has the sine and the cosine of `2 pi m p` for the harmonics m = 1 ... 8 of each axis.
"""

from __future__ import annotations

import math
from typing import Self

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.ops.constants import kept
from pdebench.ops.depthwise_convolution import DepthwiseConvolution
from pdebench.ops.parameter_cache import ParameterCache
from pdebench.ops.precision import as_given, in_autocast
from pdebench.ops.spectral import backends_here, spectral_product

HARMONICS, HIDDEN = 8, 64  # 32 features and a network of twice as many, as published
SHORT = 5  # side of the convolution before the gates
FASTEST, SLOWEST, LEFT = 0.3, 1.5, 1e-2  # the filter's lengths after which so much of a channel's window is left
SCALE = 0.02


class ImplicitFilter(nn.Module):
    """The convolution of each channel with a filter that reaches every token of the image; zero beyond its edges.

    Args:
        channels: D.
        harmonics: of a position along each axis.
        hidden: width of the network that draws the filter.
    """

    def __init__(self, channels: int, harmonics: int = HARMONICS, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.harmonics = harmonics
        self.first = nn.Linear(4 * harmonics, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, channels, bias=False)
        self.frequencies = nn.Parameter(torch.empty(2, hidden))  # f, of both sines
        self.decay = nn.Parameter(torch.empty(channels))  # delta
        self.shift = nn.Parameter(torch.empty(channels))  # s
        self.skip = nn.Parameter(torch.empty(channels))  # D
        self._kept = ParameterCache()
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """As published: weights N(0, 0.02), biases 0, f = 1, windows from slow to fast, s = 0, D ~ N(0, 1)."""
        for layer in (self.first, self.second, self.last):
            nn.init.normal_(layer.weight, std=SCALE)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        nn.init.ones_(self.frequencies)
        slowest, fastest = (-math.log(LEFT) / length for length in (SLOWEST, FASTEST))
        self.decay.copy_(torch.linspace(slowest, fastest, len(self.decay), device=self.decay.device))
        nn.init.zeros_(self.shift)
        nn.init.normal_(self.skip)

    def filter(self, h: int, w: int) -> Tensor:
        """F (2 h, 2 w, D), displacement (i, j) at index (i mod 2 h, j mod 2 w); of -h and -w no use is made."""
        features, distance = _positions(h, w, self.harmonics, like=self.last.weight)
        with as_given(features):  # once for a batch, so in the precision of the weights
            drawn = torch.sin(self.frequencies[0] * self.first(features))
            drawn = torch.sin(self.frequencies[1] * self.second(drawn))
            window = torch.exp(-self.decay.abs() * distance) + self.shift
            return self.last(drawn) * window  # type: ignore[no-any-return]

    def symbol(self, h: int, w: int) -> Tensor:
        """Half spectrum of F and D as pairs of real numbers, (D, 2 h, w + 1, 2)."""
        spectrum = torch.fft.rfft2(self.filter(h, w).permute(2, 0, 1).contiguous())
        return torch.view_as_real(spectrum + self.skip[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Apply to images `x` (B, h, w, D)."""
        h, w = (int(side) for side in x.shape[1:3])  # a trace would take the filter for one of the image
        symbol = self._kept.get(self, (h, w), lambda: self.symbol(h, w))
        padded = F.pad(x.permute(0, 3, 1, 2), (0, w, 0, h))  # channels last
        return spectral_product(padded, symbol)[..., :h, :w].permute(0, 2, 3, 1)

    def train(self, mode: bool = True) -> Self:
        """As in every module; also forgets the symbol."""
        self._kept.forget()
        return super().train(mode)


@kept
def _positions(h: int, w: int, harmonics: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Features (2 h, 2 w, 4 harmonics) and distances (2 h, 2 w, 1) of all displacements, as `filter` has them."""
    shares = []
    for side in (h, w):
        lags = torch.arange(2 * side, dtype=torch.float64, device=device)
        shares.append(torch.where(lags < side, lags, lags - 2 * side) / (2 * side))
    y, x = torch.meshgrid(*shares, indexing="ij")
    orders = 2 * math.pi * torch.arange(1, harmonics + 1, dtype=torch.float64, device=device)
    phases = torch.cat((y.unsqueeze(-1) * orders, x.unsqueeze(-1) * orders), -1)
    return torch.cat((phases.sin(), phases.cos()), -1).to(dtype), torch.hypot(y, x).unsqueeze(-1).to(dtype)


class Hyena2D(Mixer):
    """in-projection to q, k and v, depthwise 5 x 5 convolution, gate, implicit global filter, gate, out-projection.

    From the paper (HyenaPixel, arXiv 2402.19305) and, for what we could not read there, the facts of its repository
    (spravil/HyenaPixel, Apache 2.0, after HazyResearch/safari, Apache 2.0): no code of either stands here. Kept, as in
    its `hpx_former` models: order 2, so one filter; the convolution of all of q, k and v; layer norms without a bias
    of the product q k and before the out-projection; a filter of 32 features, two sines with learnt frequencies and 64
    hidden channels (those of its first two stages; later ones have half as many more and twice as many); the window,
    the shift and D; the filter's initialisation, in which a fresh filter is almost nothing beside D.

    Changed, so that the same weights are the same filter on any grid: the features are fixed and by the position as a
    share of the filter's length, Hyena's harmonics (arXiv 2302.10866), where HyenaPixel learns a table of them, one for
    each place of one grid, which starts as a transformer's sinusoids of its number. The convolution starts as PyTorch's
    does, as in Hyena, and projections as all of the shell's; HyenaPixel has N(0, 0.02) for both, which the norms undo.
    Of images that are no squares, which it does not have, the window is an ellipse. DiT's block puts a norm, an adaLN
    gate and a residual around the mixer and has its own MLP. Left out: the four stages with their downsampling, layer
    scale, dropout.

    Beyond the edges there is nothing, for both convolutions: places differ, and no translation commutes with the mixer,
    not even on a torus. As published, a sum over tokens is a sum: of twice as many a side the filter's part is four
    times what it was beside D, of which the norm behind takes what both have in common.
    """

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        h, w = place.grid
        self.implementation = f"{backends_here((2 * h, 2 * w))} of the zero-padded grid"
        self.grid, width = (h, w), place.width
        self.in_proj = nn.Linear(width, 3 * width)
        self.convolution = DepthwiseConvolution(3 * width, self.grid, SHORT)
        self.norm = nn.LayerNorm(width, bias=False)
        self.filter = ImplicitFilter(width)
        self.out_norm = nn.LayerNorm(width, bias=False)
        self.out_proj = nn.Linear(width, width)

    def initialise(self) -> None:
        """The convolution as PyTorch has it, the filter as published."""
        self.convolution.initialise_as_convolution()
        self.filter.initialise()

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Mix tokens `x` (B, N, D); the filter is formed in float32 under any autocast."""
        q, k, v = self.convolution(self.in_proj(x)).chunk(3, dim=-1)
        gated = in_autocast(self.norm(q * k)).unflatten(1, self.grid)
        return self.out_proj(self.out_norm(v * self.filter(gated).flatten(1, 2)))  # type: ignore[no-any-return]
