"""2-D SSM: a state space with two dimensions of its own, Roesser's, as a convolution (arXiv 2306.06635).

    x[i, j] = A1 x[i, j-1] + A2 z[i, j-1] + B1 u[i, j]        z[i, j] = A3 x[i-1, j] + A4 z[i-1, j] + B2 u[i, j]
    y[i, j] = C1 . x[i, j] + C2 . z[i, j] + D u[i, j]

with the normalisation of `ops/roesser.py`. It sees what lies above and to the left of a token; further ones, each with
parameters of its own, look into the other corners of the image.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.models.options import SSM2DOptions
from pdebench.ops.parameter_cache import ParameterCache
from pdebench.ops.precision import as_given
from pdebench.ops.roesser import impulse_responses
from pdebench.ops.spectral import backends_here, spectral_product

STATES = 16  # N, pairs of an x and a z
SYSTEMS = 2  # that the channels of one direction share, each channel with its own C
SPREAD = 0.2  # of A and B before their sigmoid


class SSM2D(nn.Module):
    """The convolution of each channel with the kernels of its state spaces, on a grid that nothing wraps around.

    A kernel that looks into another corner is a mirrored one: all are summed and applied at once.

    Args:
        channels: D, a multiple of SYSTEMS; channel c takes the dynamics of system `c // (D / SYSTEMS)`.
        directions: corners that it looks into: 4, or 2 opposite ones.
        states: N.
    """

    def __init__(self, channels: int, directions: int = 4, states: int = STATES) -> None:
        super().__init__()
        self.directions = directions
        self.a = nn.Parameter(torch.empty(4, directions, SYSTEMS, states))  # logits of A1 to A4
        self.b = nn.Parameter(torch.empty(2, directions, SYSTEMS, states))  # logits of B1 and B2
        self.readout = nn.Parameter(torch.empty(2, directions, channels, states))  # C1 and C2
        self.skip = nn.Parameter(torch.empty(channels))  # D
        self._kept = ParameterCache()
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """A and B the sigmoids of N(0, 0.2^2), so all about 1/2; C N(0, 1); D = 1."""
        for logits in (self.a, self.b):
            nn.init.normal_(logits, std=SPREAD)
        nn.init.normal_(self.readout)
        nn.init.ones_(self.skip)

    def kernels(self, h: int, w: int) -> Tensor:
        """The kernel of each direction, (directions, D, h, w), by how far a token lies behind, and without D."""
        x, z = impulse_responses(F.logsigmoid(self.a), self.b.sigmoid(), h, w)  # (directions, SYSTEMS, N, h, w)
        states = torch.cat((x, z), 2).flatten(3)
        readout = torch.cat((self.readout[0], self.readout[1]), -1) * self.readout.shape[-1] ** -0.5
        with as_given(readout):
            kernels: Tensor = readout.unflatten(1, (SYSTEMS, -1)) @ states  # (directions, SYSTEMS, D / SYSTEMS, h w)
        return kernels.flatten(1, 2).view(self.directions, -1, h, w)

    def kernel(self, h: int, w: int) -> Tensor:
        """All of it, (D, 2 h, 2 w), the lag (i, j) at index (i mod 2 h, j mod 2 w)."""
        first, *others, last = self.kernels(h, w)
        if others:  # down and to the left, up and to the right
            lower, upper = _both_ways(first, others[0], -1), _both_ways(others[1], last, -1)
        else:
            lower, upper = _both_ways(first, None, -1), _both_ways(None, last, -1)
        return _both_ways(lower, upper, -2) + F.pad(self.skip[:, None, None], (0, 2 * w - 1, 0, 2 * h - 1))

    def symbol(self, h: int, w: int) -> Tensor:
        """The kernel's half spectrum as pairs of real numbers, (D, 2 h, w + 1, 2)."""
        return torch.view_as_real(torch.fft.rfft2(self.kernel(h, w)))

    def forward(self, u: Tensor) -> Tensor:
        """Apply to `u` (B, D, h, w), which may lie channels last."""
        h, w = (int(side) for side in u.shape[2:])
        symbol = self._kept.get(self, (h, w), lambda: self.symbol(h, w))
        return spectral_product(F.pad(u, (0, w, 0, h)), symbol)[..., :h, :w]

    def train(self, mode: bool = True) -> Self:
        """As in every module; also forgets the symbol."""
        self._kept.forget()
        return super().train(mode)


def _both_ways(ahead: Tensor | None, back: Tensor | None, axis: int) -> Tensor:
    """Lags 0 ... n - 1 of one and 0 ... -(n - 1) of the other along an axis, by lag mod 2 n; None stands for zeros."""
    given = ahead if ahead is not None else back
    assert given is not None
    n = given.shape[axis]
    none = torch.zeros_like(given)
    ahead, back = (none if side is None else side for side in (ahead, back))
    origin = ahead.narrow(axis, 0, 1) + back.narrow(axis, 0, 1)
    beyond = none.narrow(axis, 0, 1)  # a lag of n: on no grid of n tokens
    return torch.cat((origin, ahead.narrow(axis, 1, n - 1), beyond, back.narrow(axis, 1, n - 1).flip(axis)), axis)


class SSM2DMixer(Mixer):
    """in-projection, 2-D SSM, out-projection.

    From the paper's abstract (arXiv 2306.06635) and what its authors' code does and says (ethanbar11/ssm_2d, which has
    no licence: none of it is here). Kept: real, diagonal A and B between 0 and 1 as sigmoids; the halved sums, with
    edges that are not; 16 states; two systems a direction that the channels share, each with C of its own, scaled by
    `1 / sqrt(N)`; four directions, or two of opposite corners; the initialisation; kernels as large as the grid and
    zero padding.

    Changed, so that it stands exactly where PDE-SSM's operator and S4D stand: the paper puts the layer before attention
    in a ViT, or in the place of Mega's moving average, here it is all the mixing there is, between two projections; D,
    an option there, starts at 1 instead of N(0, 1). Each direction's systems are its own, as their help has it; their
    code deals those of all directions out to the channels of each, as many in all. The kernel comes of a closed form,
    where they have a table of the coefficients of all its monomials; flips of the image and back are a mirrored kernel.
    Left out: complex A, and the layer norm that some of their runs have after the layer.

    Kernels are in tokens: the same weights are the same recurrence on any grid, which on a finer one covers less of the
    image. Zero padding makes places differ: no token sees over an edge.
    """

    def __init__(self, place: MixerContext, options: SSM2DOptions) -> None:
        super().__init__()
        h, w = place.grid
        self.grid = (h, w)
        self.implementation = f"{backends_here((2 * h, 2 * w))} of the zero-padded grid"
        self.in_proj = nn.Linear(place.width, place.width)
        self.operator = SSM2D(place.width, options.directions)
        self.out_proj = nn.Linear(place.width, place.width)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Mix tokens `x` (B, N, D)."""
        u = self.in_proj(x).unflatten(1, self.grid).movedim(-1, 1)  # (B, D, h, w), channels last
        return self.out_proj(self.operator(u).movedim(1, -1).flatten(1, 2))  # type: ignore[no-any-return]
