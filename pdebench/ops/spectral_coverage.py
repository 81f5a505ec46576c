"""Which tokens the Triton kernels in Fourier space take. Importing this imports no Triton."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch

Found = TypeVar("Found", bound=Callable[..., Any])

KERNEL = "one Triton kernel"
# What the interpreter and the compiler show is no run on a device, so that nobody gets the kernels unasked.
VARIABLE = "PDEBENCH_SPECTRAL_KERNELS"
LAUNCHES_BACKWARD = 2  # the kernel, and the sum over its programs of what they found of the symbol's gradient
# sides of the torus in tokens, by precision. In fp32 a tile of 64 x 64 spills from the registers, whatever its width.
SIDES = {
    torch.bfloat16: (8, 16, 32, 64),
    torch.float16: (8, 16, 32, 64),
    torch.float32: (8, 16, 32),
}


def _constant(found: Found) -> Found:
    """As `torch.compiler.assume_constant_result`, which imports the compiler, .9 s in each eager cell."""
    found._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return found


def not_covered(device: str, grid: tuple[int, ...], dtype: torch.dtype, domain: int) -> str:
    """Why the kernel does not take tokens of a grid, or nothing where it does."""
    if device != "cuda":
        return "not on a GPU"
    if not _asked_for():
        return f"not run on a GPU yet, so only where {VARIABLE}=1 asks for it"
    if dtype not in SIDES:
        return f"not in {str(dtype).removeprefix('torch.')}"
    if len(grid) != 2 or grid[0] != grid[1] or domain * grid[0] not in SIDES[dtype] or grid[0] < min(SIDES[dtype]):
        *others, last = (str(side) for side in SIDES[dtype])
        tokens = " x ".join(str(domain * side) for side in grid)
        return f"not on {tokens} tokens, only on squares of {', '.join(others)} or {last}"
    least = least_capability(domain * grid[0])
    found = int(_capability())
    if found < 0:
        return "Triton is not installed"
    return f"the device's compute capability is below {least}.0" if found < least else ""


@_constant
def _asked_for() -> bool:
    return os.environ.get(VARIABLE) == "1"


def least_capability(side: int) -> int:
    """The least compute capability of a device that takes a torus of `side` tokens a side.

    8 has products of bf16 and tf32. At 64 the products of 9 take a factor from shared memory, where before it fills the
    registers, and the backward kernel spills.
    """
    return 9 if side == 64 else 8


@_constant
def _capability() -> int:
    """Of this machine's device; -1 where there is no Triton."""
    return -1 if importlib.util.find_spec("triton") is None else torch.cuda.get_device_capability()[0]
