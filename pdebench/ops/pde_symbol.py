"""From the parameters of a PDE to the symbol of its solution, in PyTorch, and the gradients on the way back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pdebench.ops.symbol import SummedPropagators, below_diagonal, wavenumbers

# r may not pass this, so |G| <= e for any parameters: enough to sharpen, too little to explode
MAX_REACTION = 1.0
AT_ZERO = math.log(math.expm1(MAX_REACTION))  # softplus(AT_ZERO) = MAX_REACTION
SLOPE = 1 / (1 - math.exp(-MAX_REACTION))  # makes dr/dparameter = 1 at 0
# lengths in units of the domain are kept where their squares are finite and their frequencies resolvable
LOG_LENGTH_RANGE = (-14.0, 3.0)


class PDEParameters(NamedTuple):
    """What D channels of S states learn; a term that is off is None.

    Attributes:
        log_length: (axes, D, S), or (1, D, S) where K is isotropic: K = L L^T of a lower triangular matrix,
            `L = [[exp(log_length[0]), 0], [shear, exp(log_length[-1])]] / sqrt(2)` on two axes, positive definite
            always. `exp(log_length) = sqrt(2 K)` is the distance that diffusion covers in tau = 1, in sides of the
            image, where K is diagonal.
        shear: what L has below its diagonal: (D, S) on two axes, row by row (axes (axes - 1) / 2, D, S) on more.
        velocity: (axes, D, S); of an image y and x, of a clip t, y and x.
        reaction: (D, S), before it is bounded.
        readout: (D, S), c = C B.
        skip: (D,).
    """

    log_length: Tensor | None
    shear: Tensor | None
    velocity: Tensor | None
    reaction: Tensor | None
    readout: Tensor
    skip: Tensor


def bounded_reaction(reaction: Tensor) -> Tensor:
    """r (D, S): equal to the parameter near 0, never above MAX_REACTION."""
    return MAX_REACTION - F.softplus(AT_ZERO - SLOPE * reaction)


def bounded_drift(drift: Tensor, domain: int) -> Tensor:
    """`tau v`, on a torus of two sides at most one along each axis: by then all has left the image."""
    return drift.clamp(-1, 1) if domain == 2 else drift


def diffusion_tensor(log_length: Tensor, shear: Tensor | None, axes: int = 2) -> tuple[Tensor | None, ...]:
    """The entries of K, each (D, S), in units of the image's side squared.

    Those on its diagonal, then those below it in the order of `below_diagonal`, None where K is not full: K_yy, K_xx
    and K_yx of an image.
    """
    length = log_length.clamp(*LOG_LENGTH_RANGE).exp() * 0.5**0.5
    squares = length.square()
    diagonal = [squares[min(axis, len(squares) - 1)] for axis in range(axes)]
    below = below_diagonal(axes)
    if shear is None:
        return (*diagonal, *[None] * len(below))
    sheared = shear * 0.5**0.5
    factor = dict(zip(below, sheared.view(len(below), *log_length.shape[1:]), strict=True))
    entries = []
    for row, column in below:
        diagonal[row] = diagonal[row] + factor[row, column].square()
        entry = length[column] * factor[row, column]
        for before in range(column):
            entry = entry + factor[row, before] * factor[column, before]
        entries.append(entry)
    return (*diagonal, *entries)


def terms(parameters: PDEParameters, axes: int, domain: int, tau: Tensor | None) -> tuple[Tensor | None, ...]:
    """`skip`, `gain` and tau times the entries of K and v, as `SummedPropagators` takes them."""
    exponents: list[Tensor | None] = [None] * (axes + axes * (axes + 1) // 2)
    if parameters.log_length is not None:
        exponents[:-axes] = diffusion_tensor(parameters.log_length, parameters.shear, axes)
    if parameters.velocity is not None:
        exponents[-axes:] = parameters.velocity
    gain = parameters.readout
    rate = None if parameters.reaction is None else bounded_reaction(parameters.reaction)
    if tau is not None:
        scale = tau[..., None]  # (B, D, 1): over the states
        exponents = [None if term is None else term * scale for term in exponents]
        gain = gain.expand(len(tau), -1, -1)
        rate = None if rate is None else rate * scale
    exponents[-axes:] = [None if term is None else bounded_drift(term, domain) for term in exponents[-axes:]]
    if rate is not None:
        gain = gain * torch.exp(rate)
    skip = parameters.skip.to(gain.dtype).expand(gain.shape[:-1])
    return (skip, gain, *exponents)


def pde_symbol(parameters: PDEParameters, grid: Sequence[int], domain: int, tau: Tensor | None) -> Tensor:
    """The symbol of a grid as pairs, (D, *grid[:-1], grid[-1] // 2 + 1, 2), or (B, D, ...) for `tau` of shape (B, D).

    `domain` is the side of the torus in sides of the image, 2 where zero padding doubles the grid.
    """
    given = terms(parameters, len(grid), domain, tau)
    waves = wavenumbers(tuple(grid), domain, like=given[1])
    return SummedPropagators.apply(*given, *waves.flat())  # type: ignore[no-any-return]


class Context(SimpleNamespace):
    """What an `autograd.Function` keeps from forward, where autograd is not there to keep it."""

    saved_tensors: tuple[Tensor, ...] = ()

    def save_for_backward(self, *tensors: Tensor) -> None:
        self.saved_tensors = tensors


def pde_symbol_gradients(
    parameters: PDEParameters, h: int, w: int, domain: int, tau: Tensor | None, grad: Tensor
) -> tuple[list[Tensor], Tensor | None]:
    """The gradients of the parameters that there are and of tau, given that of `pde_symbol` of an h x w grid.

    Written out, for an operator of `torch.library`, inside which autograd is off.
    """
    log_length, shear, velocity, reaction, readout, _ = parameters
    given, context = terms(parameters, 2, domain, tau), Context()
    SummedPropagators.forward(context, *given, *wavenumbers((h, w), domain, like=given[1]).flat())  # type: ignore[arg-type]
    of_skip, of_gain, of_yy, of_xx, of_yx, of_y, of_x, *_ = SummedPropagators.backward(context, grad)  # type: ignore[arg-type]
    assert of_skip is not None
    assert of_gain is not None
    scale = readout.new_ones(1, 1, 1) if tau is None else tau[..., None]
    of_gain = of_gain.view(len(scale), *readout.shape)
    of_tau = torch.zeros_like(of_gain)
    found = []
    if log_length is not None:
        yy, xx, yx = (torch.zeros_like(of_gain) if of is None else of.view_as(of_gain) for of in (of_yy, of_xx, of_yx))
        length = log_length.clamp(*LOG_LENGTH_RANGE).exp() * 0.5**0.5
        sheared = torch.zeros_like(readout) if shear is None else shear * 0.5**0.5
        of_tau += yy * length[0].square() + xx * (length[-1].square() + sheared.square()) + yx * length[0] * sheared
        yy, xx, yx = ((of * scale).sum(0) for of in (yy, xx, yx))
        of_length = torch.zeros_like(length)
        of_length[0] += 2 * length[0] * yy + sheared * yx
        of_length[-1] += 2 * length[-1] * xx
        least, most = LOG_LENGTH_RANGE
        found.append(of_length * length * ((log_length >= least) & (log_length <= most)))
        if shear is not None:
            found.append((2 * sheared * xx + length[0] * yx) * 0.5**0.5)
    if velocity is not None:
        of_drift = torch.stack([of.view_as(of_gain) for of in (of_y, of_x) if of is not None])  # (2, B or 1, D, S)
        if domain == 2:
            of_drift = of_drift * ((velocity[:, None] * scale).abs() <= 1)
        of_tau += (of_drift * velocity[:, None]).sum(0)
        found.append((of_drift * scale).sum(1))
    if reaction is not None:
        rate = bounded_reaction(reaction)
        growth = torch.exp(rate * scale)
        of_rate = of_gain * growth * readout
        of_tau += of_rate * rate
        found.append((of_rate * scale).sum(0) * SLOPE * torch.sigmoid(AT_ZERO - SLOPE * reaction))
        of_gain = of_gain * growth
    found += [of_gain.sum(0), of_skip.view(-1, len(readout)).sum(0)]
    return found, None if tau is None else of_tau.sum(-1)
