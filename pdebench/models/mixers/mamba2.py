"""A Mamba-2 mixer that scans the grid in another of four directions in each layer."""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.models.mixers.mamba import initialise_projections
from pdebench.ops import kernels
from pdebench.ops.causal_convolution import causal_convolution
from pdebench.ops.scans import orders
from pdebench.ops.ssd import ssd

STATES, HEAD, CONVOLUTION, EXPANSION = 128, 64, 4, 2  # Mamba-2's published defaults
DT_MIN, DT_MAX, A_MIN, A_MAX = 1e-3, 1e-1, 1.0, 16.0
KERNEL_CHUNK = 256  # tokens; mamba-ssm's own default


class Mamba2(Mixer):
    """Mamba-2 (arXiv 2405.21060; shapes and initialisation as in state-spaces/mamba) over one of four directions.

    Kept: its block with its published defaults. One projection gives gate, x, B, C and step sizes; a convolution of 4
    taps over x, B and C; scalar A, D and step bias a head of 64 channels; 128 states, whose B and C all heads share; an
    RMS norm of the gated output. 128 is the default of its authors' code; the MLP beside it keeps 1.9 (XXS) to 2.9
    (XL) times the width, so there is no need for the 64 that they name as the other typical number.

    Changed: one direction a layer, in turn the raster order, its reverse, the transpose and the transpose's reverse, as
    in DiG (arXiv 2405.18428). DiT's MLP stays, narrowed so that the block has as many parameters as DiT's. As mamba-ssm
    does beside an MLP, the out-projection is divided by the root of two branches a block; the MLP's second layer, which
    mamba-ssm divides too, keeps DiT's Xavier initialisation.
    """

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        self.inner, self.branches = EXPANSION * place.width, place.branches
        self.heads = self.inner // HEAD
        mixed = self.inner + 2 * STATES  # channels of x, B and C
        directions = orders("cross", *place.grid)
        self.scan = directions[place.layer % len(directions)]
        self.in_proj = nn.Linear(place.width, self.inner + mixed + self.heads, bias=False)
        self.conv = nn.Conv1d(mixed, mixed, CONVOLUTION, groups=mixed)  # holds the weights; causal_convolution runs it
        self.dt_bias = nn.Parameter(torch.empty(self.heads))
        self.A_log = nn.Parameter(torch.empty(self.heads))
        self.D = nn.Parameter(torch.empty(self.heads))
        self.norm = nn.RMSNorm(self.inner, eps=1e-5)
        self.out_proj = nn.Linear(self.inner, place.width, bias=False)
        self.convolution_kernel, self.scan_kernel = kernels.load("causal_conv1d"), kernels.load("ssd")
        scan = kernels.described("ssd", "chunked state space duality in PyTorch")
        self.implementation = f"{scan}, {kernels.described('causal_conv1d', 'convolution in PyTorch')}"

    @torch.no_grad()
    def initialise(self) -> None:
        """As published: A uniform in [-16, -1], D one, dt log-uniform in [DT_MIN, DT_MAX], projections as Mamba's."""
        initialise_projections(self.in_proj, self.out_proj, self.branches)
        self.A_log.uniform_(A_MIN, A_MAX).log_()
        nn.init.ones_(self.D)
        dt = torch.empty_like(self.dt_bias).uniform_(math.log(DT_MIN), math.log(DT_MAX)).exp()
        self.dt_bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # softplus of it is dt

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Mix tokens `x` (B, N, D) along this layer's direction."""
        projected = self.in_proj(self.scan(x))
        z, u, dt = projected.split([self.inner, self.inner + 2 * STATES, self.heads], dim=-1)
        y = self._scan(self._convolve(u), dt).flatten(2)
        return self.scan.undo(self.out_proj(self.norm(y * F.silu(z))))  # type: ignore[no-any-return]

    def _convolve(self, u: Tensor) -> Tensor:
        """The short convolution of x, B and C (B, N, channels) and its SiLU."""
        weight, bias = self.conv.weight.squeeze(1), self.conv.bias
        assert bias is not None
        if self.convolution_kernel is None or not kernels.suit(u):
            return F.silu(causal_convolution(u, weight, bias))
        # (B, channels, N) with the channels next to each other in memory and 8 k of them a token, as the kernel asks
        y: Tensor = self.convolution_kernel(u.contiguous().transpose(1, 2), weight, bias, activation="silu")
        return y.transpose(1, 2)

    def _scan(self, u: Tensor, dt: Tensor) -> Tensor:
        """x, B and C (B, N, channels) and raw step sizes (B, N, heads) to (B, N, heads, HEAD), float32 or more."""
        v, b, c = u.split([self.inner, STATES, STATES], dim=-1)
        v, a = v.unflatten(-1, (self.heads, HEAD)), -self.A_log.exp()
        if self.scan_kernel is not None and kernels.suit(u):
            v, b, c = v.to(dt.dtype), b.unsqueeze(2).to(dt.dtype), c.unsqueeze(2).to(dt.dtype)  # one group of heads
            y = self.scan_kernel(v, dt, a, b, c, KERNEL_CHUNK, D=self.D, dt_bias=self.dt_bias, dt_softplus=True)
            return y.float()  # type: ignore[no-any-return]
        steps = F.softplus(dt.to(torch.promote_types(dt.dtype, torch.float32)) + self.dt_bias)
        return ssd(v, steps, a, b, c, self.D)
