"""What becomes of a plane wave: the transfer function of a mixer's centre token.

With `H(d) = J(n0 - d)` as a kernel over displacements, `H^(k) = sum_d H(d) exp(-i k d)` is how the centre token answers
to waves `exp(i k x)`: exactly so for a shift-invariant mixer, whose symbol it is, and for any other near the centre
token. Of the rows `g = J^T w` it takes `h^(k) = H^(k)^T w` and means over images and directions:

- gain: `sqrt(E |h^(k)|^2 / D)`, an estimate of `|H^(k)|_F / sqrt(D)`, the root mean square singular value
- phase and coherence: `c(k) = E <h^(0), h^(k)> / sqrt(E |h^(0)|^2 E |h^(k)|^2)`, its argument and its modulus: how far
  waves are turned against the mean, and how much alike in all channels. The phases of k and -k differ in sign alone,
  so a ring's is the mean of their moduli
- anisotropy of a ring: `|sum P(k) exp(2 i theta(k))| / sum P(k)`, P the squared gain, theta the wave's direction

A ring j holds the wave vectors whose length rounds to j cycles an image, up to the finest wave along an axis. Of a clip
two kinds of wave are told of: those that stand still, `k_t = 0`, by rings in the frame as of an image; and those that
change with time alone, `k_y = k_x = 0`, in cycles a clip. Their transfer functions are those of J's sums over time, and
over the frame (projection and slice).
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from pdebench.measure.spatial.findings import FrequencyResponse


def transfer(row: Tensor) -> Tensor:
    """`h^(k)` (B, *grid, D), complex, in `fftn`'s order of k, of a row (B, *grid, D)."""
    axes = tuple(range(1, row.ndim - 1))
    centred = row.double().roll([-(side // 2) for side in row.shape[1:-1]], axes)
    spectrum: Tensor = torch.fft.fftn(centred, dim=axes)
    return spectrum.conj()  # d = n0 - m: the mirrored kernel has the conjugate spectrum


def frequency_response(row: Tensor) -> FrequencyResponse:
    """Gain, phase, coherence and anisotropy by ring, of a row (B, h, w, D); of a clip's (B, t, h, w, D) that of waves
    which stand still."""
    return _by_ring(row if row.ndim == 4 else row.double().sum(1))


def time_response(row: Tensor) -> FrequencyResponse:
    """The same of waves that change with time alone, which have no direction, of a row (B, t, h, w, D)."""
    return _by_ring(row.double().sum((2, 3)))


def _by_ring(row: Tensor) -> FrequencyResponse:
    """Of a row along one axis, (B, n, D), or two."""
    spectrum = transfer(row)
    power = spectrum.abs().square().sum(-1).mean(0)
    mean = spectrum.flatten(1, -2)[:, 0].unflatten(0, (-1, *[1] * power.ndim))
    cross = (mean.conj() * spectrum).sum(-1).mean(0)
    cross = torch.nan_to_num(cross / (power.flatten()[0] * power).sqrt())
    waves = torch.meshgrid(
        *(torch.fft.fftfreq(n, 1 / n, dtype=torch.float64, device=row.device) for n in power.shape), indexing="ij"
    )
    ring = functools.reduce(torch.hypot, waves).abs().round().long().flatten()
    rings = min(power.shape) // 2 + 1

    def by_ring(values: Tensor) -> Tensor:
        sums = torch.zeros(int(ring.max()) + 1, dtype=values.dtype, device=values.device)
        return sums.index_add(0, ring, values.flatten())[:rings]

    count = by_ring(torch.ones_like(power))
    summed = by_ring(power)
    anisotropy = None
    if len(waves) == 2:
        turned = by_ring(power * torch.exp(2j * torch.atan2(*waves))).abs()
        anisotropy = torch.nan_to_num(turned / summed)
        anisotropy[0] = 0  # the mean has no direction
    return FrequencyResponse(
        cycles=list(range(rings)),
        gain=(summed / count / row.shape[-1]).sqrt().tolist(),
        phase=(by_ring(cross.angle().abs()) / count).clamp(0, math.pi).tolist(),
        coherence=(by_ring(cross.abs()) / count).tolist(),
        anisotropy=None if anisotropy is None else anisotropy.tolist(),
    )
