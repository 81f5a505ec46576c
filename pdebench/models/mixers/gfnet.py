"""GFNet's global filter: a free complex number for each channel and frequency.

    y = irfft2(G * rfft2(x))        (arXiv 2107.00645, eq. 4; G of shape (D, h, w // 2 + 1))

On clips and sequences it is the same over all of their axes.

It is the circular convolution by any real kernel as large as the grid: PDE-SSM's mixer without the PDE. Frequencies
`k` and `-k` of a real grid are one, and of those that the half spectrum holds twice (the columns at 0 and, for an even
w, at Nyquist) `irfft2` uses the Hermitian part `(G(k) + conj G(-k)) / 2`: the rest of `G` there neither reaches the
output, which is real for any `G`, nor learns.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel
from torch import Tensor, nn

from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.ops.precision import in_autocast
from pdebench.ops.spectral import backends_here, spectral_product


class GlobalFilter(Mixer):
    """The whole mixer of GFNet (arXiv 2107.00645): a learnt filter between two transforms, no projections.

    Kept: the filter, its N(0, 0.02) initialisation and its count of parameters. The published code normalises both
    transforms by `sqrt(h w)`; together they are PyTorch's default pair, which is used here. Changed: DiT's block puts a
    residual and an adaLN gate around the filter alone; GFNet has one residual around filter and MLP.

    The filter belongs to one grid: the weights serve no other resolution.
    """

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        self.implementation = backends_here(place.grid)
        self.grid = place.grid
        *others, last = place.grid
        self.filter = nn.Parameter(torch.empty(place.width, *others, last // 2 + 1, 2))  # real and imaginary parts

    def initialise(self) -> None:
        """Real and imaginary parts N(0, 0.02), as published."""
        nn.init.normal_(self.filter, std=0.02)

    def forward(self, x: Tensor, c: Tensor | None) -> Tensor:
        """Mix tokens `x` (B, N, D)."""
        u = in_autocast(x).unflatten(1, self.grid).movedim(-1, 1)  # (B, D, *grid), channels last
        return spectral_product(u, hermitian(self.filter, self.grid[-1])).movedim(1, -1).flatten(1, -2)


def hermitian(symbol: Tensor, w: int) -> Tensor:
    """What `irfft2` uses of a half spectrum `symbol` (D, h, w // 2 + 1, 2): the spectrum of a real kernel.

    There may be more or fewer axes before the last, w. Along it 0 and, for an even w, w / 2 are their own mirror images
    and become `(G(k) + conj G(-k)) / 2`.
    """
    paired = symbol[..., 1 : (w + 1) // 2, :]
    columns = [_hermitian_column(symbol[..., :1, :]), paired]
    if w % 2 == 0:
        columns.append(_hermitian_column(symbol[..., -1:, :]))
    return torch.cat(columns, -2)


def _hermitian_column(column: Tensor) -> Tensor:
    """The Hermitian part of a column (D, h, 1, 2), whose row of frequency -m is row h - m; so along further axes."""
    mirrored = column
    for axis in range(1, column.dim() - 2):
        zero, others = mirrored.narrow(axis, 0, 1), mirrored.narrow(axis, 1, mirrored.shape[axis] - 1)
        mirrored = torch.cat((zero, others.flip(axis)), axis)
    (a, b), (c, d) = column.unbind(-1), mirrored.unbind(-1)
    return torch.stack((a + c, b - d), -1) / 2
