"""`python -m benchmarks.traffic`: bytes that the PDE operator moves, forward and backward, counted without a GPU.

Of the kernels every load and store that they make in Triton's interpreter, programs of one image each, which share
nothing: as asked for, and by the sectors of 32 bytes that each touches, which is what comes over from the cache where
it is not in the first level's. Of what ran before, and runs where the kernels do not, the tensors that each of
PyTorch's operators reads and writes, symbol included, for 65,536 tokens; a compiler fuses some of that. What must move
is the tokens and the result once, backward the tokens, the gradient and its result.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pdebench.models.mixers.pde import PDEOperator
from pdebench.models.options import PDEOptions
from pdebench.ops import spectral
from pdebench.ops.spectral_coverage import SIDES

TOKENS, CHANNELS = 65_536, 32
SECTOR = 32
ALLOWED = 1.5
PRECISIONS = {"bf16": torch.bfloat16, "fp32": torch.float32}
LINE = "{:<8} {:<5} {:<9} {:>12} {:>8} {:>8}"


def main(arguments: Sequence[str]) -> int:
    """Print what moves over what must move; 1 where the kernels move more than they are allowed."""
    if os.environ.get("TRITON_INTERPRET") != "1":
        command = [sys.executable, "-m", "benchmarks.traffic", *arguments]
        os.execve(sys.executable, command, {**os.environ, "TRITON_INTERPRET": "1"})
    parser = argparse.ArgumentParser(prog="python -m benchmarks.traffic", description=__doc__.split("\n")[0])
    parser.add_argument("sides", nargs="*", type=int, default=[8, 16, 32, 64], metavar="SIDE")
    options = parser.parse_args(arguments)
    print(f"moved over what must move; full K, S = 1, {CHANNELS} channels; allowed: {ALLOWED}")
    print(LINE.format("tokens", "", "", "asked for", "sectors", "before"))
    failed = False
    for side in options.sides:
        for name, dtype in PRECISIONS.items():
            before = _of_pytorch(side, dtype)
            covered = side in SIDES[dtype]
            asked, sectors = _of_kernels(side, dtype) if covered else ([0, 0], [0, 0])
            whole = side * side * CHANNELS * dtype.itemsize
            for place, (direction, least) in enumerate((("forward", 2), ("backward", 3))):
                ratio = asked[place] / (least * whole)
                failed |= ratio > ALLOWED
                shown = [f"{ratio:.2f}", f"{sectors[place] / (least * whole):.2f}"] if covered else ["", ""]
                known = before[place] / (least * TOKENS * CHANNELS * dtype.itemsize)
                print(LINE.format(f"{side}x{side}", name, direction, *shown, f"{known:.1f}"), flush=True)
    return int(failed)


def _operator(side: int) -> PDEOperator:
    torch.manual_seed(0)
    return PDEOperator(CHANNELS, (side, side), PDEOptions())


def _of_kernels(side: int, dtype: torch.dtype) -> tuple[list[int], list[int]]:
    """Bytes asked for and bytes of sectors touched, forward and backward, for one image."""
    from pdebench.ops import spectral_launch  # Triton, which is to be imported after it is told to interpret

    parameters = _operator(side).pde_parameters()
    x = torch.randn(1, side, side, CHANNELS).to(dtype)
    work: list[Callable[[], object]] = [
        lambda: spectral_launch.mix(x, parameters, None, 1),
        lambda: spectral_launch.gradients(x, x, parameters, None, 1),
    ]
    asked, sectors = [], []
    for one in work:
        with torch.no_grad(), _watched() as found:
            one()
        asked.append(found["asked"])
        sectors.append(found["sectors"] * SECTOR)
    return asked, sectors


@contextmanager
def _watched() -> Iterator[dict[str, int]]:
    """The interpreter with its loads and stores counted; the sum over the programs, PyTorch's, is not among them."""
    from triton.runtime.interpreter import interpreter_builder

    found = {"asked": 0, "sectors": 0}
    load, store = interpreter_builder.create_masked_load, interpreter_builder.create_masked_store

    def count(pointers: Any, mask: Any) -> None:
        places = np.unique(np.broadcast_to(pointers.data, mask.data.shape)[mask.data])
        found["asked"] += places.size * pointers.get_element_ty().primitive_bitwidth // 8
        found["sectors"] += np.unique(places // SECTOR).size

    def counted_load(pointers: Any, mask: Any, *how: Any) -> Any:
        count(pointers, mask)
        return load(pointers, mask, *how)

    def counted_store(pointers: Any, value: Any, mask: Any, *how: Any) -> Any:
        count(pointers, mask)
        return store(pointers, value, mask, *how)

    interpreter_builder.create_masked_load = counted_load
    interpreter_builder.create_masked_store = counted_store
    try:
        yield found
    finally:
        interpreter_builder.create_masked_load, interpreter_builder.create_masked_store = load, store


class _Moved(TorchDispatchMode):
    """Bytes of what each operator reads and writes; one that makes a view moves none, nor does new memory."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if func.is_view or name.startswith(("empty", "new_empty", "detach", "_unsafe_view")):
            return out
        given = args[1:] if name in ("copy_", "fill_", "zero_") else args
        self.total += sum(_bytes(t) for t in tree_leaves((given, kwargs, out)) if isinstance(t, Tensor))
        return out


def _bytes(tensor: Tensor) -> int:
    """Of a tensor, what is repeated once."""
    size = tensor.element_size()
    for length, stride in zip(tensor.shape, tensor.stride(), strict=True):
        size *= length if stride else 1
    return size


def _of_pytorch(side: int, dtype: torch.dtype) -> list[int]:
    """Bytes that PyTorch's operators move on the road that a GPU takes without the kernels, forward and backward."""
    by_device, reason = spectral.backend_of, spectral.not_covered  # type: ignore[attr-defined]

    def road(device: str, grid: tuple[int, ...], dtype: torch.dtype, *, by_sample: bool = False) -> str:
        return by_device("cuda", grid, dtype, by_sample=by_sample)

    operator = _operator(side)
    x = torch.randn(TOKENS // side**2, side, side, CHANNELS).to(dtype).permute(0, 3, 1, 2).requires_grad_()
    spectral.backend_of = road
    spectral.not_covered = lambda *_: "not asked for"  # type: ignore[attr-defined]
    try:
        operator(x)  # constants are kept
        with _Moved() as forward:
            y = operator(x)
        with _Moved() as backward:
            torch.autograd.grad(y, [x, *operator.parameters()], y.detach())
    finally:
        spectral.backend_of, spectral.not_covered = by_device, reason  # type: ignore[attr-defined]
    return [forward.total, backward.total]


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
