"""How the kernels of `pde_kernel.py` are started: what tile a program takes, and what it is given.

Importing this imports Triton.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
from torch import Tensor

from pdebench.ops import pde_kernel
from pdebench.ops.constants import kept
from pdebench.ops.pde_symbol import PDEParameters

LEAST_SIDE = 16  # of a tile: what the matrix units take
WARPS = 8
OPERANDS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def channels_of_tile(side: int, itemsize: int, states: int, *, backward: bool) -> int:
    """Channels of a program's tile, `side` tokens of the torus: as many as its registers hold without a spill.

    At 16 it is a sector of memory, 32 bytes. Larger tiles have a part of one, and leave it to the cache to bring the
    neighbours' part only once. `python -m benchmarks.kernels --compiled` shows that none spills.
    """
    if side <= 16:
        return 32 // itemsize
    if side <= 32:
        return 8 if not backward else 4 if states == 1 else 2
    return 2


@kept
def basis(torus: int, side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """R of `pde_kernel.py` for tokens 0 ... side - 1 of a torus, filled up with zeros to 16 rows and columns."""
    half = torus // 2
    rows, columns = max(torus, LEAST_SIDE), max(side, LEAST_SIDE)
    place = torch.arange(side, device=device)
    angles = (torch.arange(half, device=device)[:, None] * place % torus).double() * (2 * math.pi / torus)
    matrix = torch.zeros(rows, columns, dtype=torch.float64, device=device)
    matrix[:half, :side] = math.sqrt(2 / torus) * angles.cos()
    matrix[rows // 2 : rows // 2 + half, :side] = math.sqrt(2 / torus) * angles.sin()
    matrix[0, :side] = math.sqrt(1 / torus)
    matrix[rows // 2, :side] = math.sqrt(1 / torus) * (1 - 2 * (place % 2))
    return matrix.to(dtype)


def constants(
    side: int, channels: int, parameters: PDEParameters, domain: int, *, selective: bool, operands: str
) -> dict[str, Any]:
    """What a kernel is compiled for."""
    torus = domain * side
    return {
        "SIDE": side,
        "S": max(side, LEAST_SIDE),
        "N": max(torus, LEAST_SIDE),
        "C": channels,
        "STATES": parameters.readout.shape[1],
        "NYQUIST": torus // 2,
        "DOMAIN": domain,
        "LENGTHS": 0 if parameters.log_length is None else len(parameters.log_length),
        "SHEAR": parameters.shear is not None,
        "CONVECTION": parameters.velocity is not None,
        "REACTION": parameters.reaction is not None,
        "SELECTIVE": selective,
        "OPERANDS": operands,
    }


def mix(x: Tensor, parameters: PDEParameters, tau: Tensor | None, domain: int, operands: str | None = None) -> Tensor:
    """The operator on tokens `x` (B, h, h, D), contiguous; `tau` (B, D).

    `operands` is the precision of the products where it is not that of `x`.
    """
    y = torch.empty_like(x)
    grid, given, how = _arguments(x, parameters, tau, domain, operands, backward=False)
    _on(x, pde_kernel.forward, grid, x, y, *given, **how)
    return y


def gradients(
    x: Tensor, dy: Tensor, parameters: PDEParameters, tau: Tensor | None, domain: int, operands: str | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of `x`, of the parameters one after the other, flat, and of `tau`, empty where there is none."""
    present = [parameter for parameter in parameters if parameter is not None]
    partial = x.new_empty(len(x), sum(p.numel() for p in present), dtype=torch.float32)
    dx = torch.empty_like(x)
    dtau = x.new_empty(0 if tau is None else tau.shape, dtype=torch.float32)
    grid, (matrix, *given), how = _arguments(x, parameters, tau, domain, operands, backward=True)
    *given, channels, groups = given
    _on(x, pde_kernel.backward, grid, x, dy, dx, matrix, *given, partial, dtau, channels, groups, **how)
    return dx, partial.sum(0), dtau


def _arguments(
    x: Tensor, parameters: PDEParameters, tau: Tensor | None, domain: int, operands: str | None, *, backward: bool
) -> tuple[tuple[int], list[Any], dict[str, Any]]:
    batch, side, _, channels = x.shape
    tile = channels_of_tile(domain * side, x.element_size(), parameters.readout.shape[1], backward=backward)
    groups = -(-channels // tile)
    rounded = operands == "rounded"
    matrix = basis(domain * side, side, like=x.bfloat16() if rounded else x).to(x.dtype)
    tensors = [parameters.readout if tensor is None else tensor.contiguous() for tensor in (*parameters, tau)]
    how = constants(side, tile, parameters, domain, selective=tau is not None, operands=operands or OPERANDS[x.dtype])
    return (batch * groups,), [matrix, *tensors, channels, groups], {**how, "num_warps": WARPS, "num_stages": 1}


def _on(x: Tensor, kernel: Any, grid: tuple[int], *given: Any, **how: Any) -> None:
    if not x.numel():
        return
    if not x.is_cuda:  # Triton's interpreter
        kernel[grid](*given, **how)
        return
    with torch.cuda.device(x.device):
        kernel[grid](*given, **how)


def interpreted() -> bool:
    """Whether the kernels run in Triton's interpreter, on the CPU."""
    return not isinstance(pde_kernel.forward, triton.JITFunction)
