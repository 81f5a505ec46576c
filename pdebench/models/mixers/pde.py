"""The PDE-SSM operator and the token mixer around it (arXiv 2603.13663).

    du/dt = div(K grad u) - v . grad u + r u      u(0) = B x      y = C u(tau) + D x      on the unit torus

solved exactly in Fourier space: `u_hat(k, tau) = exp(tau (-k^T K k - i v . k + r)) u_hat(k, 0)`. Exactly, for the
trigonometric polynomial of least oscillation through the tokens, read at their places again; what that means at the
Nyquist frequency of an even side stands in `symbol.py`, which forms the symbol. `spectral.py` applies it; on a GPU
`pde_kernel.py` does both in one kernel. On a square with edges cosines or sines stand in the place of waves
(`trigonometric_symbol.py`, `trigonometric.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.models.options import PDEOptions
from pdebench.ops.parameter_cache import ParameterCache
from pdebench.ops.pde_mixing import BASES, described, pde_mixing
from pdebench.ops.pde_symbol import (
    PDEParameters,
    bounded_drift,
    bounded_reaction,
    diffusion_tensor,
    pde_symbol,
)
from pdebench.ops.spectral import spectral_product
from pdebench.ops.spectral_coverage import not_covered
from pdebench.ops.symbol import below_diagonal
from pdebench.ops.trigonometric import Basis, TrigonometricProduct
from pdebench.ops.trigonometric_symbol import trigonometric_symbol


class PDEOperator(nn.Module):
    """`y = C exp(tau L) B x + D x` for each channel of a grid, `L` a convection-diffusion-reaction operator.

    Every channel has `S` states whose symbols are summed before the product, so the cost of the transforms does not
    depend on `S`. `tau` is 1 (only `tau K`, `tau v` and `tau r` matter) unless given per sample. `B` and `C` of one
    state are one number, their product `c`. `K` and `v` are in units of the domain: the same weights are the same
    operator on any grid.

    Axes are those of a sequence, an image or a clip, and `K` and `v` have an entry for each. On a clip time is an axis
    like the others, of length 1 as they are.

    Zero padding solves on a torus of twice the image's side. A drift of up to one side brings nothing back over an
    edge, and farther none goes there; diffusion's tails always do. Of a token's mass, the mean over all tokens, by the
    diffusive length sqrt(2 tau K) in sides:

    | length | 0.1 | 0.2 | 0.3 | 0.5 | 1 | 3 |
    |---|---|---|---|---|---|---|
    | comes back without drift | 0 | 0 | 0.01% | 1.0% | 12% | 23% |
    | at a drift of half a side | 0 | 0.03% | 0.5% | 3.0% | 13% | 23% |
    | at a drift of a side | 3.7% | 6.7% | 9.1% | 12% | 16% | 23% |

    With edges (`boundary`) nothing flows through them, or the field is zero at them, and the operator is exact for the
    polynomial of cosines, or of sines, through the tokens. Those stand at the middles of their cells, half a cell from
    an edge. It is what the torus of twice the side makes of the field that is mirrored at the edges, evenly or oddly.

    Args:
        channels: D.
        grid: tokens along each axis of the grid it is initialised for, (n), (h, w) or (t, h, w); it can be called on
            any other of as many axes.
        options: which terms there are; see `PDEOptions`.
    """

    def __init__(self, channels: int, grid: tuple[int, ...], options: PDEOptions) -> None:
        super().__init__()
        self.channels, self.grid, self.options = channels, grid, options
        shape, axes = (channels, options.states), len(grid)
        lengths = {"full": axes, "diagonal": axes, "isotropic": 1, "off": 0}[options.diffusion]
        self.log_length = nn.Parameter(torch.empty(lengths, *shape)) if lengths else None
        below = len(below_diagonal(axes)) if options.diffusion == "full" else 0
        self.shear = nn.Parameter(torch.empty(shape if below == 1 else (below, *shape))) if below else None
        self.velocity = nn.Parameter(torch.empty(axes, *shape)) if options.convection else None
        self.reaction = nn.Parameter(torch.empty(shape)) if options.reaction else None
        self.readout = nn.Parameter(torch.empty(shape))  # c = C B
        self.skip = nn.Parameter(torch.empty(channels))  # D
        self._kept = ParameterCache()
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Lengths log-spaced from half a token to 0.3 of the domain, drifts of the same size in random directions."""
        shape = (self.channels, self.options.states)
        count = shape[0] * shape[1]
        shortest, longest = 0.5 / max(self.grid), 0.3
        device = self.readout.device
        log_lengths = torch.linspace(math.log(shortest), math.log(longest), count, device=device).view(shape)
        if self.log_length is not None:
            self.log_length.copy_(log_lengths.expand_as(self.log_length))
        if self.shear is not None:
            self.shear.zero_()
        if self.velocity is not None:
            self.velocity.copy_(_directions(self.velocity) * log_lengths.exp())
        if self.reaction is not None:
            self.reaction.zero_()
        nn.init.normal_(self.readout, std=self.options.states**-0.5)
        nn.init.ones_(self.skip)

    def bounded_reaction(self) -> Tensor:
        """r (D, S): equal to the parameter near 0, never above MAX_REACTION."""
        assert self.reaction is not None
        return bounded_reaction(self.reaction)

    def bounded_drift(self, drift: Tensor) -> Tensor:
        """`tau v`, with zero padding at most one side of the image along each axis: by then all has left it."""
        return bounded_drift(drift, self.domain)

    def diffusion_tensor(self) -> tuple[Tensor | None, ...]:
        """The entries of K, each (D, S), in units of the domain squared: of an image K_yy, K_xx, and K_yx or None."""
        assert self.log_length is not None
        return diffusion_tensor(self.log_length, self.shear, len(self.grid))

    def symbol(self, *grid: int, tau: Tensor | None = None) -> Tensor:
        """Half-spectrum symbol G (D, *grid[:-1], grid[-1] // 2 + 1), or (B, D, ...) for `tau` of shape (B, D).

        With edges that of cosines or sines, (*grid, D) or (B, *grid, D).
        """
        if self.basis is not None:
            return trigonometric_symbol(self.pde_parameters(), grid, self.basis, tau)
        return torch.view_as_complex(self._pairs(grid, tau))

    def _pairs(self, grid: Sequence[int], tau: Tensor | None) -> Tensor:
        """The symbol as pairs of real numbers, (..., 2)."""
        return pde_symbol(self.pde_parameters(), grid, self.domain, tau)

    def pde_parameters(self) -> PDEParameters:
        """What it has learnt."""
        return PDEParameters(self.log_length, self.shear, self.velocity, self.reaction, self.readout, self.skip)

    @property
    def domain(self) -> int:
        """Side of the torus in units of the image's side: 2 where zero padding doubles the grid."""
        return 2 if self.options.padding == "zero" else 1

    @property
    def basis(self) -> Basis | None:
        """The functions that take the place of waves where there are edges."""
        return BASES.get(self.options.boundary)

    def forward(self, x: Tensor, tau: Tensor | None = None) -> Tensor:
        """Apply to real `x` (B, D, *grid), which may lie channels last; `tau` (B, D) is positive, 1 where not given."""
        grid = tuple(x.shape[2:])
        if self.basis is not None:
            symbol = self._current_symbol(grid, tau)
            return TrigonometricProduct.apply(x.movedim(1, -1), symbol, self.basis).movedim(-1, 1)  # type: ignore[no-any-return]
        if not not_covered(x.device.type, grid, x.dtype, self.domain):
            tokens = x.permute(0, 2, 3, 1)
            return pde_mixing(tokens, self.pde_parameters(), tau, self.domain).permute(0, 3, 1, 2)
        if self.domain == 1:
            return spectral_product(x, self._current_symbol(grid, tau))
        padded = F.pad(x, [beyond for side in reversed(grid) for beyond in (0, side)])
        solved = spectral_product(padded, self._current_symbol(tuple(2 * side for side in grid), tau))
        for axis, side in enumerate(grid, 2):
            solved = solved.narrow(axis, 0, side)
        return solved

    def train(self, mode: bool = True) -> Self:
        """As in every module; also forgets the symbol."""
        self._kept.forget()
        return super().train(mode)

    def _current_symbol(self, grid: tuple[int, ...], tau: Tensor | None) -> Tensor:
        """The symbol, as pairs where it is complex; kept by `ParameterCache` where it does not depend on the sample."""

        def form() -> Tensor:
            return self._pairs(grid, tau) if self.basis is None else self.symbol(*grid, tau=tau)

        return form() if tau is not None else self._kept.get(self, grid, form)


def _directions(like: Tensor) -> Tensor:
    """Unit vectors in random directions, (axes, ...)."""
    axes, *shape = like.shape
    if axes == 2:
        angle = torch.rand(shape, device=like.device) * (2 * math.pi)
        return torch.stack([angle.sin(), angle.cos()])
    return F.normalize(torch.randn(like.shape, device=like.device), dim=0)


class PDEMixer(Mixer):
    """in-projection, PDE solve, (SiLU gate), out-projection.

    Kept: the operator's symbol; at a Nyquist frequency the mean of it over both signs. Ours, each an option: states
    beyond one, the gate, `tau` moved by the conditioning vector, zero padding, edges.
    """

    def __init__(self, place: MixerContext, options: PDEOptions) -> None:
        super().__init__()
        self.grid = place.grid
        self.in_proj = nn.Linear(place.width, place.width)
        self.gate = nn.Linear(place.width, place.width) if options.gate else None
        self.log_tau = nn.Linear(place.width, place.width) if options.selective else None
        self.operator = PDEOperator(place.width, self.grid, options)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.implementation = described(
            device, self.grid, self.operator.domain, by_sample=options.selective, boundary=options.boundary
        )
        self.out_proj = nn.Linear(place.width, place.width)

    def initialise(self) -> None:
        """A selective operator starts at tau = 1."""
        if self.log_tau is not None:
            nn.init.zeros_(self.log_tau.weight)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Mix tokens `x` (B, N, D); the symbol is formed in float32 under any autocast."""
        u = self.in_proj(x).unflatten(1, self.grid).movedim(-1, 1)  # (B, D, *grid), channels last
        tau = None
        if self.log_tau is not None and c is not None:
            wide = torch.promote_types(u.dtype, torch.float32)
            tau = self.log_tau(F.silu(c)).to(wide).clamp(-4, 4).exp()
        mixed = self.operator(u, tau).movedim(1, -1).flatten(1, -2)
        if self.gate is not None:
            mixed = mixed * F.silu(self.gate(x))
        return self.out_proj(mixed)  # type: ignore[no-any-return]
