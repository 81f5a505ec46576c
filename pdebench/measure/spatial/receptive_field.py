"""The effective receptive field (Luo et al. 2016, arXiv 1701.04128): where the gradient energy of one output lies.

With `g(m) = J(m)^T w` of `jacobian.py`, `E(m)` the mean of `|g(m)|^2` over images and directions (an estimate of
`|J(m)|_F^2`), `p = E / sum E` and `d(m) = m - n0` the displacement from the centre token in tokens, along every axis:

- area at q: the fewest tokens whose p sum to q
- own share: `p(n0)`
- mixing length: `sum p(m) |d(m)|`
- reach: the same of the energy of the *other* tokens, `sum p(m) |d(m)| / (1 - p(n0))`
- locality: `1 - reach / l0`, l0 the reach of a flat p. 0 where other tokens count alike at any distance, negative where
  far ones count more
- isotropy: `sqrt(smallest / largest eigenvalue)` of `sum p(m) d d^T`; axis: direction of the largest one's eigenvector
- offset: `sum p(m) d(m)`; it and the tensor are taken over the largest window that is symmetric about n0

Of a clip d is (later, down, right), in tokens, and those of time are no measure of those in the frame: isotropy and
axis are of d's last two entries, over all times, and the mixing length is also told along either, `sum p(m) |d_t(m)|`
in time and `sum p(m) |(d_y(m), d_x(m))|` in the frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pdebench.measure.spatial.findings import ReceptiveField
from pdebench.measure.spatial.jacobian import centre

NOTHING = 1e-12  # of the energy: less than this of the other tokens is rounding


def energy_map(row: Tensor) -> Tensor:
    """E (*grid), float64 on the CPU, of a row (B, *grid, D)."""
    return row.double().square().sum(-1).mean(0).cpu()


def receptive_field(energy: Tensor) -> ReceptiveField:
    """The field of an energy map (h, w) or (t, h, w) about its centre token."""
    total = energy.sum()
    if not total > 0:
        nothing = dict.fromkeys(("own_share", "length", "reach", "locality", "isotropy", "axis", "offset"))
        return ReceptiveField(area_50=0, area_95=0, **nothing)
    p, d, window = energy / total, displacements(*energy.shape), _symmetric(*energy.shape)
    distance, own = d.norm(dim=0), float(p[centre(tuple(energy.shape))])
    held = p.flatten().sort(descending=True).values.cumsum(0)
    length = float((p * distance).sum())
    inside = p * window
    in_frame = d[-2:]
    tensor = torch.einsum("a...,b...,...->ab", in_frame, in_frame, inside)
    reach = locality = isotropy = axis = None
    if 1 - own > NOTHING:
        reach = length / (1 - own)
        locality = 1 - reach / (float(distance.sum()) / (distance.numel() - 1))
    if tensor.trace() > NOTHING:
        values, vectors = torch.linalg.eigh(tensor)
        isotropy = math.sqrt(max(float(values[0]), 0.0) / float(values[1]))
        down, right = vectors[:, 1].tolist()
        axis = math.degrees(math.atan2(-down, right)) % 180
    return ReceptiveField(
        area_50=_area(held, 0.50),
        area_95=_area(held, 0.95),
        own_share=own,
        length=length,
        reach=reach,
        locality=locality,
        isotropy=isotropy,
        axis=axis,
        offset=tuple((d * inside).sum(tuple(range(1, d.ndim))).tolist()),
        time_length=float((p * d[0].abs()).sum()) if len(d) == 3 else None,
        frame_length=float((p * d[1:].norm(dim=0)).sum()) if len(d) == 3 else None,
    )


def displacements(*grid: int) -> Tensor:
    """d (axes, *grid): tokens down and to the right of the centre token, of a clip first tokens of time after it."""
    return torch.stack(torch.meshgrid(*(torch.arange(n) - n // 2 for n in grid), indexing="ij")).double()


def _symmetric(*grid: int) -> Tensor:
    """1 where the mirror image about the centre token is on the grid too, else 0: an even side has one row more."""
    within = [d.abs() <= (n - 1) // 2 for d, n in zip(displacements(*grid), grid, strict=True)]
    return torch.stack(within).all(0).double()


def _area(held: Tensor, share: float) -> int:
    # a hair less: a flat map of 10 tokens holds 50% in 5 of them, whatever their sum rounds to
    return int((held < share - 1e-9).sum()) + 1
