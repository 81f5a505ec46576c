"""Convolution with a real kernel given by its symbol, with the gradient that such a convolution has.

Autograd differentiates `irfftn(rfftn(x) G)` through transforms that it need not make. All backends here use that the
adjoint of a real circular convolution is again one, with `conj(G)`, so backward costs what forward costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pdebench.ops import macs
from pdebench.ops.filter_mixing import filter_mixing
from pdebench.ops.half_spectrum import HalfSpectrumProduct
from pdebench.ops.matrices import MatrixProduct
from pdebench.ops.operand import Handles, Macs
from pdebench.ops.packed import PackedProduct
from pdebench.ops.spectral_coverage import KERNEL, not_covered

# The largest side of a grid whose product goes by matrices, by device and precision, where no kernel takes it; 0
# elsewhere. On a CPU measured with `python -m benchmarks --only roads`. On a GPU, an H200: in fp32 matrices took 1.5 to
# 2.8 times what transforms
# take. In bf16 they are more kernels, and 1.1 to 1.2 times as slow where the GPU waits for its host. They are kept
# there because a block kept it busy for 5.1 ms by matrices (64 x 64) and 6.5 ms by transforms (128 x 128, as many
# tokens): two grids, so a hint and no measurement of the one against the other.
BY_MATRICES = {
    ("cpu", torch.float64): 8,
    ("cpu", torch.float32): 8,
    ("cpu", torch.bfloat16): 8,
    ("cuda", torch.bfloat16): 64,
}
BACKENDS = {
    "matrices": MatrixProduct,  # of grids of two axes
    "packed complex fft2": PackedProduct,
    "half spectra (rfft2)": HalfSpectrumProduct,
}


def _macs(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """By convention those of real transforms, whatever backend computes the product."""
    batch, channels, *grid = inputs[0].shape
    return {name: batch * channels * number for name, number in macs.spectral_product(*grid).items()}


HANDLES: Handles = {f"prim::PythonOp.{backend.__name__}": _macs for backend in BACKENDS.values()}


def backend_of(device: str, grid: tuple[int, ...], dtype: torch.dtype, *, by_sample: bool = False) -> str:
    """The name in BACKENDS of the one that a grid of tokens in a precision takes.

    On a GPU a symbol that the samples share takes the Triton kernel, where that takes the grid.
    """
    if not by_sample and not not_covered(device, grid, dtype, 1):
        return KERNEL
    if not by_sample and len(grid) == 2 and max(grid) <= BY_MATRICES.get((device, dtype), 0):
        return "matrices"
    return "half spectra (rfft2)" if by_sample or device == "cuda" else "packed complex fft2"


def backends_here(grid: tuple[int, ...], *, by_sample: bool = False) -> str:
    """What a mixer's `implementation` says of a grid on this machine's GPU, or on its CPU where it has none."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    bf16, fp32 = (backend_of(device, grid, dtype, by_sample=by_sample) for dtype in (torch.bfloat16, torch.float32))
    return told(bf16, fp32, grid)


def told(bf16: str, fp32: str, grid: tuple[int, ...]) -> str:
    """The backends of a grid in words, by precision where they differ."""
    roads = fp32 if bf16 == fp32 else f"{bf16} in bf16, {fp32} in fp32"
    return roads if len(grid) == 2 else roads.replace("fft2", "fftn")


def spectral_product(x: Tensor, symbol: Tensor) -> Tensor:
    """Circular convolution of real `x` (B, D, *grid) with the kernel whose half spectrum is `symbol`.

    `symbol` has real and imaginary parts, (D, *grid[:-1], grid[-1] // 2 + 1, 2) or one for each sample, (B, D, ..., 2).
    It must be the transform of a real kernel: `G(-k) = conj G(k)`. `x` may lie channels last, which saves a change of
    layout. Transforms run in float32 at least (FFTs have no bf16), matrices in the precision of `x`.
    """
    name = backend_of(x.device.type, tuple(x.shape[2:]), x.dtype, by_sample=symbol.dim() > x.dim())
    if name == KERNEL:
        return filter_mixing(x.permute(0, 2, 3, 1), symbol).permute(0, 3, 1, 2)
    if name != "matrices":
        x = x.to(torch.promote_types(x.dtype, torch.float32))
    return BACKENDS[name].apply(x, symbol)  # type: ignore[no-any-return]
