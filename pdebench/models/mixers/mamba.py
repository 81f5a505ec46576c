"""A bidirectional Mamba-1 mixer: the drop-in control for attention."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, Place
from pdebench.models.mixers.causal_convolution import causal_convolution
from pdebench.models.mixers.selective_scan import selective_scan

STATES, CONVOLUTION, EXPANSION = 16, 4, 2  # Mamba's published defaults
DT_MIN, DT_MAX = 1e-3, 1e-1


class Direction(nn.Module):
    """What one scanning direction has of its own: convolution, x, dt, A and D of Mamba-1 (arXiv 2312.00752)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner, self.rank = EXPANSION * width, math.ceil(width / 16)
        self.conv = nn.Conv1d(inner, inner, CONVOLUTION, groups=inner)  # holds the weights; causal_convolution runs it
        self.x_proj = nn.Linear(inner, self.rank + 2 * STATES, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.empty(inner, STATES))
        self.D = nn.Parameter(torch.empty(inner))

    @torch.no_grad()
    def initialise(self) -> None:
        """S4D-real A, and step sizes log-uniform in [DT_MIN, DT_MAX], as published."""
        self.A_log.copy_(torch.arange(1, STATES + 1, device=self.A_log.device).float().log().expand_as(self.A_log))
        nn.init.ones_(self.D)
        nn.init.uniform_(self.dt_proj.weight, -(self.rank**-0.5), self.rank**-0.5)
        log_dt = torch.empty_like(self.dt_proj.bias).uniform_(math.log(DT_MIN), math.log(DT_MAX))
        dt = log_dt.exp().clamp(min=1e-4)
        self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # softplus of it is dt

    def forward(self, u: Tensor) -> Tensor:
        """Scan `u` (B, L, E) from first to last; returns (B, L, E)."""
        assert self.conv.bias is not None
        u = F.silu(causal_convolution(u, self.conv.weight.squeeze(1), self.conv.bias))
        dt, b, c = self.x_proj(u).split([self.rank, STATES, STATES], dim=-1)
        dt = F.softplus(self.dt_proj(dt).float())
        y = selective_scan(u, dt, -self.A_log.float().exp(), b, c)
        return y + self.D * u


class BidirectionalMamba(Mixer):
    """Two scans over the raster order, one from each end, with shared in and out projections.

    Kept: Mamba-1's block with its published defaults in each direction. Changed: two directions are added before the
    shared gate and out-projection (as in Vision Mamba, arXiv 2401.09417). DiT's MLP stays, narrowed so that the
    block has as many parameters as DiT's.
    """

    implementation: ClassVar[str] = "chunked scan in PyTorch"

    @classmethod
    def mlp_hidden(cls, width: int, options: BaseModel) -> int:
        """The hidden width that brings the block to DiT's 18 d^2 + 15 d parameters, in steps of 4, within 1%."""
        rank = math.ceil(width / 16)
        mixer = 6 * width**2 + 2 * 2 * width * (2 * rank + 55)
        rest = 12 * width**2 + 9 * width - mixer  # DiT's attention and MLP, less this mixer
        return 4 * round((rest - width) / (2 * width + 1) / 4)

    def __init__(self, place: Place, options: BaseModel) -> None:
        super().__init__()
        inner = EXPANSION * place.width
        self.in_proj = nn.Linear(place.width, 2 * inner, bias=False)
        self.forwards = Direction(place.width)
        self.backwards = Direction(place.width)
        self.out_proj = nn.Linear(inner, place.width, bias=False)

    def initialise(self) -> None:
        """Mamba's own initialisation of both directions."""
        self.forwards.initialise()
        self.backwards.initialise()

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Mix tokens `x` (B, N, D) along the raster order, both ways."""
        u, z = self.in_proj(x).chunk(2, dim=-1)
        y = self.forwards(u) + self.backwards(u.flip(1)).flip(1)
        return self.out_proj(y * F.silu(z))  # type: ignore[no-any-return]
