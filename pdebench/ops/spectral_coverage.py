"""Which tokens the Triton kernels in Fourier space take. Importing this imports no Triton."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


_planned: tuple[str, int] | None = None


@contextmanager
def planned_for(device: str, capability: int) -> Iterator[None]:
    """Roads in Fourier space are those of a device that is not here: of what is traced on fake tensors, to be counted.

    Args:
        device: `cpu` or `cuda`.
        capability: the first digit of a GPU's compute capability, 0 of a CPU.
    """
    global _planned
    before, _planned = _planned, (device, capability)
    try:
        yield
    finally:
        _planned = before


def road_device(device: str) -> str:
    """The kind of device whose roads tokens on a `device` take."""
    return device if _planned is None else _planned[0]


def _constant(found: Found) -> Found:
    """As `torch.compiler.assume_constant_result`, which imports the compiler, .9 s in each eager cell."""
    found._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return found


def not_covered(device: str, grid: tuple[int, ...], dtype: torch.dtype, domain: int, boundary: str = "periodic") -> str:
    """Why the kernel does not take tokens of a grid, or nothing where it does."""
    device = road_device(device)
    if device != "cuda":
        return "not on a GPU"
    if boundary != "periodic":
        return "not with this boundary"
    if not _asked_for():
        return f"not run on a GPU yet, so only where {VARIABLE}=1 asks for it"
    if dtype not in SIDES:
        return f"not in {str(dtype).removeprefix('torch.')}"
    if len(grid) != 2 or grid[0] != grid[1] or domain * grid[0] not in SIDES[dtype] or grid[0] < min(SIDES[dtype]):
        *others, last = (str(side) for side in SIDES[dtype])
        tokens = " x ".join(f"{domain * side}" for side in grid)
        return f"not on {tokens} tokens, only on squares of {', '.join(others)} or {last}"
    least = least_capability(domain * grid[0])
    found = int(_capability()) if _planned is None else _planned[1]
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
