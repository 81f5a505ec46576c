"""The spectral product as its definition has it, on a grid of any number of axes, differentiated by autograd.

The fast backends of two axes are held against it, and a grid of one or three axes is computed by it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def reference_product(x: Tensor, symbol: Tensor) -> Tensor:
    """Circular convolution of real `x` (B, D, *grid) with the kernel whose half spectrum is `symbol`.

    `symbol` has real and imaginary parts, (D, *grid[:-1], grid[-1] // 2 + 1, 2) or one for each sample, (B, D, ..., 2).
    """
    axes = tuple(range(2, x.dim()))
    spectrum = torch.fft.rfftn(x, dim=axes) * torch.view_as_complex(symbol.contiguous())
    return torch.fft.irfftn(spectrum, s=x.shape[2:], dim=axes)  # type: ignore[no-any-return]
