"""WaveFormer's mixer: a damped wave over the grid, solved by Fourier transforms (arXiv 2601.08602)."""

from __future__ import annotations

import math

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.ops.depthwise_convolution import DepthwiseConvolution
from pdebench.ops.precision import in_autocast
from pdebench.ops.wave import WaveProduct, propagators

SPEED, DAMPING = 1.0, 0.1  # the best of the paper's figure 4
# clamped: beyond either end a wave stands still, or has crossed the image hundreds of times, and float32 overflows
LOG_RANGE = (-14.0, 6.0)


class DampedWave(Mixer):
    """depthwise 3 x 3 convolution, in-projections, wave propagation, layer norm, SiLU gate, out-projection.

    From the paper alone (arXiv 2601.08602), whose code has no licence. Kept: the solution in Fourier space, so on a
    torus (the paper's other form, of sines, and its code's, of cosines, have edges); the parts before and after and
    their order (figure 2); the displacement and the velocity at t = 0 as two maps of the same tokens; damping 0.1 and
    speed 1 at first, the best of figure 4; PyTorch's initialisation of the convolution.

    Chosen, where the paper names a thing and does not say how it is made: both maps are linear layers; damping and
    speed are learnt, positive, one each a channel and the same for all samples (the paper calls them hyperparameters
    that "can be made trainable or adaptive"); the time is 1, since only its products with them and with the velocity
    matter; the published speed is taken to be in tokens. Ours is kept in sides of the image, so that the same weights
    are the same waves on any grid. Changed: the branch where the damping is stronger than the oscillation, which the
    paper's formula has no numbers for. DiT's block puts a norm, an adaLN gate and a residual around the mixer and has
    its own MLP. Left out: the four stages with their downsampling.

    The published parameters (29, 50 and 68 M) cannot be told from the paper, which does not say what the maps are.
    """

    implementation = "complex fft2 of both fields"

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        h, w = place.grid
        self.grid, width = (h, w), place.width
        self.convolution = DepthwiseConvolution(width, self.grid)
        self.in_proj = nn.Linear(width, 3 * width)  # displacement, velocity, gate
        self.log_speed = nn.Parameter(torch.empty(width))  # in sides of the image
        self.log_damping = nn.Parameter(torch.empty(width))
        self.norm = nn.LayerNorm(width)
        self.out_proj = nn.Linear(width, width)

    def initialise(self) -> None:
        """The convolution as PyTorch has it; waves of the published damping that cover a token."""
        self.convolution.initialise_as_convolution()
        nn.init.constant_(self.log_speed, math.log(SPEED / max(self.grid)))
        nn.init.constant_(self.log_damping, math.log(DAMPING))
        for weight in self.in_proj.weight.chunk(3):  # each by itself, as layers of their own would
            nn.init.xavier_uniform_(weight)

    def propagators(self, h: int, w: int) -> tuple[Tensor, Tensor]:
        """What becomes of a displacement and of a velocity at each frequency of a grid, (D, h, w) each."""
        return propagators(self.log_speed.clamp(*LOG_RANGE).exp(), self.log_damping.clamp(*LOG_RANGE).exp(), h, w)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Mix tokens `x` (B, N, D); the waves run in float32 under any autocast."""
        u, v, gate = self.in_proj(self.convolution(in_autocast(x))).chunk(3, dim=-1)
        wide = torch.promote_types(u.dtype, torch.float32)
        fields = (field.to(wide).unflatten(1, self.grid).permute(0, 3, 1, 2) for field in (u, v))
        wave: Tensor = WaveProduct.apply(*fields, *self.propagators(*self.grid))
        moved = wave.permute(0, 2, 3, 1).flatten(1, 2)
        return self.out_proj(self.norm(moved) * F.silu(gate))  # type: ignore[no-any-return]
