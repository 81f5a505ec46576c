"""The learned equation of a PDE mixer, and the check of it against the response that is measured from outside.

The operator of `models/mixers/pde.py` answers to a point source, in each channel, by `D` at the source and

    sum over states of c exp(tau r) times a Gaussian of mean tau v and covariance 2 tau K, wrapped around the torus,

along the two axes of an image, or the three of a clip.

An impulse is sent through the operator, by its derivatives, and nothing else of it is used: not its symbol. From the
response's Fourier coefficients at the lowest wave vectors follow its moments on the torus (Mardia and Jupp 2000,
Directional Statistics, sec. 3.4), for a wrapped Gaussian those of the Gaussian itself, in units of the domain:

    mass           P(0)                                                 = c exp(tau r)
    displacement   -arg(P(k_a) / P(0)) / 2 pi                           = tau v_a, between -1/2 and 1/2
    covariance     -2 ln|P(k_a) / P(0)| / (2 pi)^2                      = 2 tau K_aa
                   and from k_a + k_b less those of the two             = 2 tau K_ab

with k_a one cycle along axis a, pairs of axes in the order of `below_diagonal`, and `P(k) = G(k) - D`. Of several
states both sides are those of their sum.

A channel is resolved where these coefficients are above RESOLVED of the response's mass in modulus: what is spread
over the whole domain leaves nothing at one cycle but rounding. The error of a channel is the largest of the relative
error of the mass, the error of the displacement in tokens and that of the covariance in tokens squared.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pdebench.measure.spatial.findings import CHANNELS, ClipPhysics, Physics
from pdebench.measure.spatial.jacobian import centre
from pdebench.models.mixers.pde import PDEMixer, PDEOperator
from pdebench.ops.symbol import below_diagonal

RESOLVED = 1e-3
WRAPS = 100  # times around the torus, either way: the longest diffusive length is 20 sides


class Moments(NamedTuple):
    """Of the response of each channel without its skip, in units of the domain.

    mass (D,), displacement (axes, D), of an image down and right, covariance (axes (axes + 1) / 2, D), of an image yy,
    xx, yx, resolved (D,).
    """

    mass: Tensor
    displacement: Tensor
    covariance: Tensor
    resolved: Tensor


class Terms(NamedTuple):
    """tau K (axes (axes + 1) / 2, D, S), of an image yy, xx, yx, tau v (axes, D, S), of an image down and right, and
    tau r (D, S), zero where a term is off."""

    diffusion: Tensor
    drift: Tensor
    reaction: Tensor


def terms(operator: PDEOperator, tau: Tensor | None = None) -> Terms:
    """The learned terms, float64; `tau` (1, D) where the operator is selective."""
    axes = len(operator.grid)
    diffusion = operator.readout.new_zeros(axes * (axes + 1) // 2, *operator.readout.shape)
    drift, reaction = torch.zeros_like(diffusion[:axes]), torch.zeros_like(operator.readout)
    if operator.log_length is not None:
        entries = operator.diffusion_tensor()
        diffusion = torch.stack([torch.zeros_like(operator.readout) if k is None else k for k in entries])
    if operator.velocity is not None:
        drift = operator.velocity
    if operator.reaction is not None:
        reaction = operator.bounded_reaction()
    scale = 1.0 if tau is None else tau[0, :, None].double()
    diffusion, drift, reaction = (scale * term.detach().double() for term in (diffusion, drift, reaction))
    return Terms(diffusion, operator.bounded_drift(drift), reaction)


def green_function(operator: PDEOperator, grid: tuple[int, ...], tau: Tensor | None = None) -> Tensor:
    """The measured response of each channel to an impulse, (D, *grid), at [0, 0] for no displacement, wrapped around.

    One backward pass from the centre token measures all channels, which do not see each other.
    """
    axes = tuple(range(-len(grid), 0))
    x = operator.readout.new_zeros(1, operator.channels, *grid).requires_grad_()
    with torch.enable_grad():
        y = operator(x, tau)
    wanted = torch.zeros_like(y)
    wanted[0].movedim(0, -1)[centre(grid)] = 1
    (row,) = torch.autograd.grad(y, x, wanted)  # G(n0 - m) over m
    return row[0].flip(axes).roll([side // 2 + 1 - side for side in grid], axes)


def measured_moments(response: Tensor, skip: Tensor) -> Moments:
    """Moments of the responses (D, *grid) without the skip (D,) at no displacement."""
    response, axes = response.detach().double().clone(), response.ndim - 1
    response.movedim(0, -1)[(0,) * axes] -= skip.detach().double()
    spectrum = torch.fft.fftn(response, dim=tuple(range(1, axes + 1)))
    coefficients = torch.stack([spectrum.movedim(0, -1)[tuple(wave)] for wave in _lowest_waves(axes)])
    return _moments(coefficients, response.abs().sum(tuple(range(-axes, 0))) + skip.detach().double().abs())


def expected_moments(learned: Terms, readout: Tensor) -> Moments:
    """The same from the learned terms and c (D, S), by the formula above."""
    axes = len(learned.drift)
    waves = 2 * math.pi * torch.tensor(_lowest_waves(axes), dtype=torch.float64, device=readout.device)
    pairs = below_diagonal(axes)
    coefficients = []
    for k in waves:
        of_axes = [entry * k[axis] * k[axis] for axis, entry in enumerate(learned.diffusion[:axes])]
        of_pairs = [2 * entry * k[a] * k[b] for (a, b), entry in zip(pairs, learned.diffusion[axes:], strict=True)]
        decay = learned.reaction - sum([*of_axes, *of_pairs])
        angle = -sum(moved * along for moved, along in zip(learned.drift, k, strict=True))
        coefficients.append((readout.detach().double() * torch.polar(decay.exp(), angle)).sum(-1))
    stacked = torch.stack(coefficients)
    return _moments(stacked, stacked[0].abs())


def disagreement(measured: Moments, expected: Moments, grid: tuple[int, ...]) -> Tensor:
    """The error of each channel (D,), see the module; displacements that differ by a whole domain agree."""
    tokens = torch.tensor(grid, dtype=torch.float64, device=measured.mass.device)
    mass = (measured.mass / expected.mass - 1).abs()
    moved = measured.displacement - expected.displacement
    moved = (moved - moved.round()).abs() * tokens[:, None]
    spread = (measured.covariance - expected.covariance).abs() * _squared(tokens)[:, None]
    return torch.cat([mass[None], moved, spread]).amax(0)


def wrapped(learned: Terms, domain: int) -> Tensor:
    """Share of a token's mass that each state (D, S) brings back over an edge, the mean over all tokens.

    What lands inside the image on a torus of `domain` times its side less what lands there on the plane. The axes are
    taken by themselves, as they are where K has no shear.
    """
    images = domain * torch.arange(-WRAPS, WRAPS + 1, dtype=torch.float64, device=learned.drift.device)
    torus = plane = torch.ones_like(learned.reaction)
    for variance, drift in zip(2 * learned.diffusion[: len(learned.drift)], learned.drift, strict=True):
        deviation = variance.sqrt().clamp(min=1e-6)[..., None]
        place = (images - drift[..., None]) / deviation
        # of a token anywhere in the image, moved by a Gaussian: the second difference of its twice integrated density
        inside = deviation * (_ramp(place + 1 / deviation) - 2 * _ramp(place) + _ramp(place - 1 / deviation))
        torus, plane = torus * inside.sum(-1), plane * inside[..., WRAPS]
    return torus - plane


def _ramp(z: Tensor) -> Tensor:
    """The integral of the normal distribution function up to `z`."""
    return z * torch.special.ndtr(z) + torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)  # type: ignore[no-any-return]


def learned_physics(mixer: PDEMixer, x: Tensor, c: Tensor | None) -> Physics:
    """What the mixer has learned, and how far its measured response is from it.

    Args:
        mixer: as it stands in the backbone.
        x: tokens that it meets there, (B, N, D).
        c: conditioning, (B, D), if any; a selective operator is taken at the first sample's tau.
    """
    operator, grid, given = mixer.operator, mixer.grid, []
    handle = operator.register_forward_pre_hook(lambda _, arguments: given.append(arguments))
    try:
        with torch.no_grad():
            mixer.forward(x[:1], None if c is None else c[:1])
    finally:
        handle.remove()
    tau = given[0][1]
    learned = terms(operator, tau)
    error, resolved = None, torch.zeros(operator.channels, dtype=torch.bool)
    boundary = operator.options.boundary
    # an edge that nothing flows through mirrors as much as a torus brings back; where the field is zero, it is lost
    back = 0.0 if boundary == "dirichlet" else float(wrapped(learned, operator.domain).mean())
    # a padded operator's torus is twice the grid, and edges mirror: what the grid sees of either has no such moments
    if operator.options.padding == boundary == "periodic" and min(grid) > 2:
        measured = measured_moments(green_function(operator, grid, tau), operator.skip)
        resolved = measured.resolved
        errors = disagreement(measured, expected_moments(learned, operator.readout), grid)
        error = float(errors[resolved].max()) if resolved.any() else None
    side, axes = grid[-2], len(grid)
    covariance, displacement = learned.diffusion.flatten(1) * 2, learned.drift.flatten(1)
    k_yy, k_xx, k_yx = covariance[axes - 2], covariance[axes - 1], covariance[-1]
    down, right = displacement[-2:]
    half, apart = (k_yy + k_xx) / 2, torch.hypot((k_yy - k_xx) / 2, k_yx)
    lengths, drifts = half.sqrt() * side, torch.hypot(down, right) * side
    decays = learned.reaction.flatten().exp()
    elongation = ((half + apart) / (half - apart).clamp(min=1e-30)).sqrt() if half.any() else torch.ones_like(half)
    kept = torch.linspace(0, len(half) - 1, min(CHANNELS, len(half))).round().long().unique().to(half.device)
    return Physics(
        length=lengths[kept].tolist(),
        drift=drifts[kept].tolist(),
        drift_angle=torch.rad2deg(torch.atan2(-down, right))[kept].tolist(),
        decay=decays[kept].tolist(),
        elongation=elongation[kept].tolist(),
        median_length=float(lengths.median()),
        median_drift=float(drifts.median()),
        median_decay=float(decays.median()),
        wrapped=back,
        resolved=int(resolved.sum()),
        channels=operator.channels,
        error=error,
        clip=_of_clip(covariance, displacement, kept, grid) if axes == 3 else None,
    )


def _of_clip(covariance: Tensor, displacement: Tensor, kept: Tensor, grid: tuple[int, ...]) -> ClipPhysics:
    """2 tau K (6, D S) and tau v (3, D S) of a clip's grid, in units of the domain, as they are told."""
    tokens = torch.tensor(grid, dtype=torch.float64, device=covariance.device)
    covariance, displacement = covariance * _squared(tokens)[:, None], displacement * tokens[:, None]
    return ClipPhysics(
        covariance=[tuple(entries) for entries in covariance[:, kept].T.tolist()],
        displacement=[tuple(entries) for entries in displacement[:, kept].T.tolist()],
        median_time_length=float(covariance[0].sqrt().median()),
        median_time_drift=float(displacement[0].abs().median()),
    )


def _lowest_waves(axes: int) -> list[list[int]]:
    """Cycles along each axis of the waves that moments are read at: none, one along each axis, one along each two."""
    return [
        [int(axis in along) for axis in range(axes)]
        for along in ((), *((a,) for a in range(axes)), *below_diagonal(axes))
    ]


def _squared(tokens: Tensor) -> Tensor:
    """What entries of a symmetric matrix are to be multiplied by, of an image those of yy, xx and yx."""
    return torch.stack(
        [*(side**2 for side in tokens), *(tokens[b] * tokens[a] for a, b in below_diagonal(len(tokens)))]
    )


def _moments(coefficients: Tensor, size: Tensor) -> Moments:
    """From P at `_lowest_waves`, each (D,); `size` (D,) bounds them."""
    ratio = coefficients[1:] / coefficients[0]
    axes = next(n for n in range(1, 1 + len(ratio)) if n * (n + 1) // 2 == len(ratio))
    displacement = -ratio[:axes].angle() / (2 * math.pi)
    logs = -2 * ratio.abs().log() / (2 * math.pi) ** 2
    pairs = [
        (of_both - logs[b] - logs[a]) / 2 for (a, b), of_both in zip(below_diagonal(axes), logs[axes:], strict=True)
    ]
    covariance = torch.stack([*logs[:axes], *pairs])
    return Moments(coefficients[0].real, displacement, covariance, coefficients.abs().amin(0) > RESOLVED * size)
