"""What becomes of a plane wave: the transfer function of a mixer's centre token.

With `H(d) = J(n0 - d)` as a kernel over displacements, `H^(k) = sum_d H(d) exp(-i k d)` is how the centre token answers
to waves `exp(i k x)`: exactly so for a shift-invariant mixer, whose symbol it is, and for any other near the centre
token. Of the rows `g = J^T w` it takes `h^(k) = H^(k)^T w` and means over images and directions:

- gain: `sqrt(E |h^(k)|^2 / D)`, an estimate of `|H^(k)|_F / sqrt(D)`, the root mean square singular value
- phase and coherence: `c(k) = E <h^(0), h^(k)> / sqrt(E |h^(0)|^2 E |h^(k)|^2)`, its argument and its modulus: how far
  waves are turned against the mean, and how much alike in all channels. The phases of k and -k differ in sign alone,
  so a ring's is the mean of their moduli
- anisotropy of a ring: `|sum P(k) exp(2 i theta(k))| / sum P(k)`, P the squared gain, theta the wave's direction

A ring j holds the wave vectors whose length rounds to j cycles an image, up to the finest wave along an axis.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pdebench.measure.spatial.findings import FrequencyResponse


def transfer(row: Tensor) -> Tensor:
    """`h^(k)` (B, h, w, D), complex, in `fft2`'s order of k, of a row (B, h, w, D)."""
    h, w = row.shape[1:3]
    centred = row.double().roll((-(h // 2), -(w // 2)), (1, 2))
    spectrum: Tensor = torch.fft.fft2(centred, dim=(1, 2))
    return spectrum.conj()  # d = n0 - m: the mirrored kernel has the conjugate spectrum


def frequency_response(row: Tensor) -> FrequencyResponse:
    """Gain, phase, coherence and anisotropy by ring, of a row (B, h, w, D)."""
    spectrum = transfer(row)
    power = spectrum.abs().square().sum(-1).mean(0)
    cross = (spectrum[:, :1, :1].conj() * spectrum).sum(-1).mean(0)
    cross = torch.nan_to_num(cross / (power[0, 0] * power).sqrt())
    h, w = power.shape
    y, x = torch.meshgrid(
        torch.fft.fftfreq(h, 1 / h, dtype=torch.float64, device=row.device),
        torch.fft.fftfreq(w, 1 / w, dtype=torch.float64, device=row.device),
        indexing="ij",
    )
    ring = torch.hypot(y, x).round().long().flatten()
    rings = min(h, w) // 2 + 1

    def by_ring(values: Tensor) -> Tensor:
        sums = torch.zeros(int(ring.max()) + 1, dtype=values.dtype, device=values.device)
        return sums.index_add(0, ring, values.flatten())[:rings]

    count = by_ring(torch.ones_like(power))
    turned = by_ring(power * torch.exp(2j * torch.atan2(y, x))).abs()
    summed = by_ring(power)
    anisotropy = torch.nan_to_num(turned / summed)
    anisotropy[0] = 0  # the mean has no direction
    return FrequencyResponse(
        cycles=list(range(rings)),
        gain=(summed / count / row.shape[-1]).sqrt().tolist(),
        phase=(by_ring(cross.angle().abs()) / count).clamp(0, math.pi).tolist(),
        coherence=(by_ring(cross.abs()) / count).tolist(),
        anisotropy=anisotropy.tolist(),
    )
