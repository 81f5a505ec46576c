"""The symbol of a PDE's solution on a grid that has edges: a real number for each of its cosines or sines.

On the unit square the cosines and sines of `trigonometric.py` have the wavenumbers `k = pi n` along each axis. They are
eigenfunctions of second derivatives along an axis, and not of a drift or of mixed derivatives: to mirror a field turns
the sign of those.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from pdebench.ops.constants import kept
from pdebench.ops.pde_symbol import PDEParameters, terms
from pdebench.ops.symbol import NEGLIGIBLE
from pdebench.ops.trigonometric import Basis


def trigonometric_symbol(parameters: PDEParameters, grid: Sequence[int], basis: Basis, tau: Tensor | None) -> Tensor:
    """`skip + sum over states of gain exp(-tau sum over axes of K_aa k_a^2)`, (*grid, D), the lowest frequency first.

    (B, *grid, D) for `tau` of shape (B, D). Of the parameters there is no shear and no velocity. Of each state it is an
    outer product over the axes.
    """
    axes = len(grid)
    skip, gain, *exponents = terms(parameters, axes, 1, tau)
    assert skip is not None
    assert gain is not None
    decays = [_decay(gain, term, side, basis) for term, side in zip(exponents, grid, strict=False)]
    before = gain.movedim(-1, 0).unsqueeze(-2)  # (S, ..., 1, D): over the leading axes
    for decay in decays[:-1]:
        before = (before.unsqueeze(-2) * decay.unsqueeze(-3)).flatten(-3, -2)
    total = skip[..., None, None, :]
    for leading, last in zip(before, decays[-1], strict=True):
        total = torch.addcmul(total, leading.unsqueeze(-2), last.unsqueeze(-3))
    return total.reshape(*gain.shape[:-2], *grid, gain.shape[-2])


def _decay(gain: Tensor, diffusion: Tensor | None, side: int, basis: Basis) -> Tensor:
    """`exp(-diffusion k^2)` along one axis, (S, ..., side, D), exactly 0 where negligible; ones where K is off."""
    term = torch.zeros_like(gain) if diffusion is None else diffusion
    exponent = -term.movedim(-1, 0).unsqueeze(-2) * squared_wavenumbers(side, basis, like=gain)
    return F.threshold(exponent, -NEGLIGIBLE, -torch.inf).exp()


@kept
def squared_wavenumbers(side: int, basis: Basis, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`k^2` of the cosines or the sines of so many points on the unit interval, (side, 1)."""
    first = {"cosine": 0, "sine": 1}[basis]
    numbers = torch.arange(first, first + side, dtype=torch.float64, device=device)
    return (numbers * math.pi).square().to(dtype)[:, None]
