"""How the kernels of `pde_kernel.py` and `filter_kernel.py` are started: a program's tile, and what it is given.

Importing this imports Triton.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from pdebench.ops import filter_kernel, pde_kernel
from pdebench.ops.constants import kept
from pdebench.ops.pde_symbol import PDEParameters

PROGRAMS = 1024  # several for each of a GPU's some hundred multiprocessors
LEAST_SIDE = 16  # of a tile: what the matrix units take
WARPS = 8
OPERANDS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


def channels_of_tile(side: int, itemsize: int, states: int, *, backward: bool) -> int:
    """Channels of a program's tile: as many as its registers hold without a spill.

    Of `side` tokens of the torus. At 16 it is a sector of memory, 32 bytes. Larger
    tiles have a part of one, and leave it to the cache to bring the neighbours' part only once.
    `python -m benchmarks.cubins` shows that none spills.
    """
    if side <= 16:
        return 32 // itemsize
    if side <= 32:
        return 8 if not backward else 4 if itemsize == 2 and states == 1 else 2
    return 1 if backward else 2


def options_of_compiler(side: int, *, backward: bool) -> dict[str, int]:
    """How a kernel of `side` tokens of the torus is compiled."""
    options = {"num_warps": WARPS, "num_stages": 1}
    # All registers that a thread can have: left alone the compiler goes for two programs side by side, and spills. At
    # 64 it takes them all anyway, and spills where it is told to.
    return {**options, "maxnreg": 255} if backward and side < 64 else options


@kept
def basis(torus: int, side: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """R of `spectral_tile.py` for tokens 0 ... side - 1 of a torus, filled up with zeros to 16 rows and columns."""
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


def sizes_of_tile(side: int, channels: int, domain: int, operands: str) -> dict[str, Any]:
    """What any kernel is compiled for, for `side` tokens of an image on a torus of `domain` images."""
    torus = domain * side
    return {
        "SIDE": side,
        "S": max(side, LEAST_SIDE),
        "N": max(torus, LEAST_SIDE),
        "C": channels,
        "NYQUIST": torus // 2,
        "OPERANDS": operands,
    }


def terms(parameters: PDEParameters, domain: int, *, selective: bool) -> dict[str, Any]:
    """What a kernel of the PDE is compiled for besides."""
    return {
        "STATES": parameters.readout.shape[1],
        "DOMAIN": domain,
        "LENGTHS": 0 if parameters.log_length is None else len(parameters.log_length),
        "SHEAR": parameters.shear is not None,
        "CONVECTION": parameters.velocity is not None,
        "REACTION": parameters.reaction is not None,
        "SELECTIVE": selective,
    }


class _Plan(NamedTuple):
    """The programs of a launch: groups of channels times blocks of images."""

    blocks: int
    groups: int
    given: list[Any]  # from the matrix to tau
    sizes: tuple[int, ...]
    how: dict[str, Any]

    def start(self, kernel: Any, tokens: Sequence[Tensor], results: Sequence[Tensor] = ()) -> None:
        """Run a kernel; off a GPU in Triton's interpreter."""
        first = tokens[0]
        if not first.numel():
            return
        with torch.cuda.device(first.device) if first.is_cuda else nullcontext():
            kernel[(self.blocks * self.groups,)](*tokens, *self.given, *results, *self.sizes, **self.how)


def _plan(
    x: Tensor,
    tensors: Sequence[Tensor],
    operands: str | None,
    *,
    backward: bool,
    states: int = 1,
    domain: int = 1,
    shared: bool = True,
    **terms: Any,
) -> _Plan:
    """The programs for tokens `x`, of a symbol that the images of a batch have in common or not."""
    batch, side, _, channels = x.shape
    torus = domain * side
    tile = channels_of_tile(torus, x.element_size(), states, backward=backward)
    groups = -(-channels // tile)
    images = max(1, batch * groups // PROGRAMS) if shared else 1
    matrix = basis(torus, side, like=x.bfloat16() if operands == "rounded" else x).to(x.dtype)
    return _Plan(
        -(-batch // images),
        groups,
        [matrix, *tensors],
        (batch, images, channels, groups),
        sizes_of_tile(side, tile, domain, operands or OPERANDS[x.dtype])
        | terms
        | options_of_compiler(torus, backward=backward),
    )


def _pde_plan(
    x: Tensor, parameters: PDEParameters, tau: Tensor | None, domain: int, operands: str | None, *, backward: bool
) -> _Plan:
    tensors = [parameters.readout if tensor is None else tensor.contiguous() for tensor in (*parameters, tau)]
    return _plan(
        x, tensors, operands, backward=backward, states=parameters.readout.shape[1], domain=domain, shared=tau is None,
        **terms(parameters, domain, selective=tau is not None),
    )  # fmt: skip


def mix(x: Tensor, parameters: PDEParameters, tau: Tensor | None, domain: int, operands: str | None = None) -> Tensor:
    """The operator on tokens `x` (B, h, h, D), contiguous; `tau` (B, D).

    `operands` is the precision of the products where it is not that of `x`.
    """
    y = torch.empty_like(x)
    _pde_plan(x, parameters, tau, domain, operands, backward=False).start(pde_kernel.forward, (x, y))
    return y


def gradients(
    x: Tensor, dy: Tensor, parameters: PDEParameters, tau: Tensor | None, domain: int, operands: str | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of `x`, of the parameters one after the other, flat, and of `tau`, empty where there is none."""
    plan = _pde_plan(x, parameters, tau, domain, operands, backward=True)
    count = sum(parameter.numel() for parameter in parameters if parameter is not None)
    partial = x.new_empty(plan.blocks, count, dtype=torch.float32)
    dx = torch.empty_like(x)
    dtau = x.new_empty(0 if tau is None else tau.shape, dtype=torch.float32)
    plan.start(pde_kernel.backward, (x, dy, dx), (partial, dtau))
    return dx, partial.sum(0), dtau


def convolve(x: Tensor, symbol: Tensor, operands: str | None = None) -> Tensor:
    """The convolution of tokens `x` (B, h, h, D), contiguous, by `symbol` (D, h, h // 2 + 1, 2)."""
    y = torch.empty_like(x)
    _plan(x, [symbol.contiguous()], operands, backward=False).start(filter_kernel.forward, (x, y))
    return y


def convolve_gradients(x: Tensor, dy: Tensor, symbol: Tensor, operands: str | None = None) -> tuple[Tensor, Tensor]:
    """The gradients of `x` and of `symbol`."""
    plan = _plan(x, [symbol.contiguous()], operands, backward=True)
    partial = x.new_empty(plan.blocks, *symbol.shape, dtype=torch.float32)
    dx = torch.empty_like(x)
    plan.start(filter_kernel.backward, (x, dy, dx), (partial,))
    return dx, partial.sum(0)


def interpreted() -> bool:
    """Whether the kernels run in Triton's interpreter, on the CPU."""
    return not isinstance(pde_kernel.forward, triton.JITFunction)
