"""Convolution with a real kernel given by its symbol, with the gradient that such a convolution has.

Autograd differentiates `irfft2(rfft2(x) G)` through transforms that it need not make. All roads here use that the
adjoint of a real circular convolution is again one, with `conj(G)`, so backward costs what forward costs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pdebench.models.mixers.half_spectrum import HalfSpectrumProduct
from pdebench.models.mixers.matrices import MatrixProduct
from pdebench.models.mixers.packed import PackedProduct

# The largest side of a grid whose product goes by matrices, by device. CPU: measured, `python -m benchmarks --only
# roads`. CUDA: not measured; by arithmetic, bf16 products on tensor cores cost less than reading the grid, up to here.
BY_MATRICES = {"cpu": 8, "cuda": 64}
ROADS = {"matrices": MatrixProduct, "packed complex fft2": PackedProduct, "half spectra (rfft2)": HalfSpectrumProduct}


def road(device: str, grid: tuple[int, int], *, by_sample: bool = False) -> str:
    """The name in ROADS of the road that a grid (h, w) takes, as a mixer's `implementation` says it."""
    if not by_sample and max(grid) <= BY_MATRICES.get(device, 0):
        return "matrices"
    return "half spectra (rfft2)" if by_sample or device == "cuda" else "packed complex fft2"


def road_here(grid: tuple[int, int], *, by_sample: bool = False) -> str:
    """The road on this machine's GPU, or on its CPU where there is none."""
    return road("cuda" if torch.cuda.is_available() else "cpu", grid, by_sample=by_sample)


def spectral_product(x: Tensor, symbol: Tensor) -> Tensor:
    """Circular convolution of real `x` (B, D, h, w) with the kernel whose half spectrum is `symbol`.

    `symbol` is complex, (D, h, w // 2 + 1) or, one for each sample, (B, D, h, w // 2 + 1), and must be the transform
    of a real kernel: `G(-k) = conj G(k)`. `x` may lie channels last, which saves a change of layout. Transforms run in
    float32 at least (FFTs have no bf16), matrices in the precision of `x`.
    """
    h, w = x.shape[-2:]
    name = road(x.device.type, (h, w), by_sample=symbol.dim() == 4)
    if name != "matrices":
        x = x.to(torch.promote_types(x.dtype, torch.float32))
    return ROADS[name].apply(x, symbol)  # type: ignore[no-any-return]
