"""vHeat's mixer: heat conduction over the grid, solved in cosines.

    y = F^T exp(-k (omega_y^2 + omega_x^2)) F u        omega = n pi / N, F the DCT-II        (arXiv 2405.16555, eq. 9)

solves `du/dt = k Laplace(u)` to t = 1 with no flux over the edges of the image. The conductivity `k` is one number for
each channel and frequency: a linear layer and a ReLU read it off a learnt embedding of the frequency.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.ops.depthwise_convolution import DepthwiseConvolution
from pdebench.ops.heat import decay
from pdebench.ops.parameter_cache import ParameterCache
from pdebench.ops.precision import as_given, in_autocast
from pdebench.ops.trigonometric import TrigonometricProduct

SCALE = 0.02


class HeatConduction(Mixer):
    """depthwise 3 x 3 convolution, in-projection, heat conduction, layer norm, SiLU gate, out-projection.

    From the paper alone (arXiv 2405.16555, CVPR 2025), whose code has no licence. Kept: the operator, the frequency
    value embeddings with their linear layer and ReLU, the convolution before, the norm and the gate after, PyTorch's
    initialisation of the convolution; embeddings and the layer that reads them start at N(0, 0.02), so that
    a fresh operator mostly passes tokens on. Omegas are in radians a token, as published.

    Changed: each layer has embeddings of its own, where vHeat's stage shares them between its layers. DiT's block puts
    a norm, an adaLN gate and a residual around the mixer and has its own MLP, of the same width as vHeat's. Left out:
    the four stages with their downsampling, layer scale, norms behind the branches, stochastic depth.

    The operator mirrors what it is given where that is mirrored, but places differ: it knows the edges of the image.
    The embeddings belong to one grid: the weights serve no other resolution.
    """

    implementation = "cosine matrices"

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        self.grid = h, w = place.grid
        width = place.width
        self.convolution = DepthwiseConvolution(width, self.grid)
        self.in_proj = nn.Linear(width, 2 * width)
        self.frequencies = nn.Parameter(torch.empty(h, w, width))
        self.conductivity = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.out_proj = nn.Linear(width, width)
        self._kept = ParameterCache()

    def initialise(self) -> None:
        """The convolution as PyTorch has it, the conductivity's parts N(0, 0.02)."""
        self.convolution.initialise_as_convolution()
        nn.init.normal_(self.frequencies, std=SCALE)
        nn.init.normal_(self.conductivity.weight, std=SCALE)

    def conductivities(self) -> Tensor:
        """k (h, w, D) in tokens squared."""
        with as_given(self.frequencies):  # once for a batch, so in the precision of the weights
            return F.relu(self.conductivity(self.frequencies))

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Mix tokens `x` (B, N, D)."""
        u, gate = self.in_proj(self.convolution(in_autocast(x))).chunk(2, dim=-1)
        left = self._kept.get(self, self.grid, lambda: decay(self.conductivities()))
        warmed: Tensor = TrigonometricProduct.apply(u.unflatten(1, self.grid), left, "cosine")
        return self.out_proj(self.norm(warmed.flatten(1, 2)) * F.silu(gate))  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> Self:
        """As in every module; also forgets what is left of each cosine."""
        self._kept.forget()
        return super().train(mode)
