"""A bidirectional Mamba-1 mixer: the drop-in control for attention, and DiS."""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.ops import kernels
from pdebench.ops.causal_convolution import causal_convolution
from pdebench.ops.scans import orders
from pdebench.ops.selective_scan import selective_scan

STATES, CONVOLUTION, EXPANSION = 16, 4, 2  # Mamba's published defaults
DT_MIN, DT_MAX = 1e-3, 1e-1


def implementation() -> str:
    """What the scan and the convolution of a `Direction` are."""
    scan = kernels.described("selective_scan", "chunked scan in PyTorch")
    return f"{scan}, {kernels.described('causal_conv1d', 'convolution in PyTorch')}"


@torch.no_grad()
def initialise_projections(inward: nn.Linear, outward: nn.Linear, branches: int) -> None:
    """PyTorch's default for both, the way out divided by the root of `MixerContext.branches`, as mamba-ssm has it."""
    for projection in (inward, outward):
        nn.init.kaiming_uniform_(projection.weight, a=5**0.5)
    outward.weight /= branches**0.5


class Direction(nn.Module):
    """What one scanning direction has of its own: convolution, x, dt, A and D of Mamba-1 (arXiv 2312.00752).

    As in mamba-ssm, the step sizes' bias is added, and all that follows is done, in float32 under any autocast.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        inner, self.rank = EXPANSION * width, math.ceil(width / 16)
        self.conv = nn.Conv1d(inner, inner, CONVOLUTION, groups=inner)  # holds the weights; causal_convolution runs it
        self.x_proj = nn.Linear(inner, self.rank + 2 * STATES, bias=False)
        self.dt_proj = nn.Linear(self.rank, inner)
        self.A_log = nn.Parameter(torch.empty(inner, STATES))
        self.D = nn.Parameter(torch.empty(inner))
        self.convolution_kernel, self.scan_kernel = kernels.load("causal_conv1d"), kernels.load("selective_scan")

    @torch.no_grad()
    def initialise(self) -> None:
        """S4D-real A, step sizes log-uniform in [DT_MIN, DT_MAX], PyTorch's default for x, as published."""
        nn.init.kaiming_uniform_(self.x_proj.weight, a=5**0.5)
        self.A_log.copy_(torch.arange(1, STATES + 1, device=self.A_log.device).float().log().expand_as(self.A_log))
        nn.init.ones_(self.D)
        nn.init.uniform_(self.dt_proj.weight, -(self.rank**-0.5), self.rank**-0.5)
        log_dt = torch.empty_like(self.dt_proj.bias).uniform_(math.log(DT_MIN), math.log(DT_MAX))
        dt = log_dt.exp().clamp(min=1e-4)
        self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))  # softplus of it is dt

    def forward(self, u: Tensor) -> Tensor:
        """Scan `u` (B, L, E) from first to last; returns (B, L, E)."""
        u = self._convolve(u)
        dt, b, c = self.x_proj(u).split([self.rank, STATES, STATES], dim=-1)
        return self._scan(u, F.linear(dt, self.dt_proj.weight), b, c)

    def _convolve(self, u: Tensor) -> Tensor:
        """The short convolution and its SiLU."""
        weight, bias = self.conv.weight.squeeze(1), self.conv.bias
        assert bias is not None
        if self.convolution_kernel is None or not kernels.suit(u):
            return F.silu(causal_convolution(u, weight, bias))
        # (B, E, L) with the channels next to each other in memory: a layout that the kernel takes as it is
        y: Tensor = self.convolution_kernel(u.transpose(1, 2), weight, bias, activation="silu")
        return y.transpose(1, 2)

    def _scan(self, u: Tensor, dt: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """The recurrence and D's path past it; `dt` (B, L, E) is without its bias."""
        kind = torch.promote_types(u.dtype, torch.float32)
        a, bias, skip = -self.A_log.to(kind).exp(), self.dt_proj.bias.to(kind), self.D.to(kind)
        if self.scan_kernel is None or not kernels.suit(u):
            return selective_scan(u, F.softplus(dt.to(kind) + bias), a, b, c) + skip * u
        u, dt, b, c = (part.to(u.dtype).transpose(1, 2) for part in (u, dt, b, c))  # the kernel's layout: (B, E, L)
        y: Tensor = self.scan_kernel(u, dt, a, b, c, D=skip, delta_bias=bias, delta_softplus=True)
        return y.transpose(1, 2)


class BidirectionalMamba(Mixer):
    """Two scans over the raster order, one from each end, with shared in and out projections.

    On a clip the raster order takes frame after frame: VideoMamba's spatial-first bidirectional scan, the best of its
    four (arXiv 2403.06977).

    Kept: Mamba-1's block (arXiv 2312.00752) with its published defaults and initialisation in each direction, which has
    its own convolution, x, dt, A and D. Changed: the two directions are added before the shared gate and
    out-projection, as in Vision Mamba (arXiv 2401.09417), whose published models also halve the sum.

    In `Mamba-DiT`, the control, DiT's MLP stays, narrowed so that the block has as many parameters as DiT's. As
    mamba-ssm does beside an MLP, the out-projection is divided by the root of two branches a block; the MLP's second
    layer, which mamba-ssm divides too, keeps DiT's Xavier initialisation.

    In `DiS` (arXiv 2402.05608; feizc/DiS) this mixer, which is the paper's, is all of a block. Kept too: depth and
    width of S, B and L, the block between the two halves included; the other sizes are ours, of twice DiT's depth.
    Changed there, so that only the mixer and these differ between families: adaLN conditions the blocks where DiS
    prepends tokens for time and class; DiT's layer norm, frozen position embedding, timestep embedder and head stay,
    where DiS has RMS norms with weights, one of them before its head's own norm, learns positions, and starts with an
    open head; there are no long skips from the first half of the blocks to the second and no stochastic depth (the
    code's default is 0.1). Both directions start alike, where DiS's code zeroes the bias of the backward step sizes,
    which then start at softplus(0) = 0.69; and the out-projection is divided by the root of all blocks, where the code
    does not count the one in the middle.
    """

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        inner, self.branches = EXPANSION * place.width, place.branches
        self.implementation = implementation()
        self.forwards_scan, self.backwards_scan = orders("bidirectional", *place.grid)
        self.in_proj = nn.Linear(place.width, 2 * inner, bias=False)
        self.forwards = Direction(place.width)
        self.backwards = Direction(place.width)
        self.out_proj = nn.Linear(inner, place.width, bias=False)

    def initialise(self) -> None:
        """Mamba's own initialisation, of both directions and of what they share."""
        initialise_projections(self.in_proj, self.out_proj, self.branches)
        self.forwards.initialise()
        self.backwards.initialise()

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Mix tokens `x` (B, N, D) along the raster order, both ways."""
        u, z = self.in_proj(x).chunk(2, dim=-1)
        y = self.forwards_scan.undo(self.forwards(self.forwards_scan(u)))
        y = y + self.backwards_scan.undo(self.backwards(self.backwards_scan(u)))
        return self.out_proj(y * F.silu(z))  # type: ignore[no-any-return]
