"""`python -m benchmarks.cubins`: what the compiler makes of the PDE operator's kernels, without a GPU.

Each is compiled to machine code for GPUs of a compute capability, with the tile that it is started with. Registers and
stack are what `cuobjdump -res-usage` reads off it, products on the matrix units what `nvdisasm` finds in it; both come
with Triton. What does not fit into registers goes to the stack.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from pdebench.models.mixers.pde import PDEOperator
from pdebench.models.options import PDEOptions
from pdebench.ops import filter_kernel, pde_kernel
from pdebench.ops.spectral_coverage import LEAST_CAPABILITY, SIDES
from pdebench.ops.spectral_launch import OPERANDS, WARPS, channels_of_tile, options_of_compiler, sizes_of_tile, terms

CAPABILITIES = (80, 90)
FREE = "GFNet's filter"
FORMS: dict[str, dict[str, Any]] = {  # what is compiled: the default, and what fills most registers
    "S=1": {},
    "S=4, tau by sample": {"states": 4, "selective": True},
    "S=1, zero padding": {"padding": "zero"},
    FREE: {},
}
PRECISIONS = (torch.bfloat16, torch.float32)
LINE = "{:<8} {:>5} {:<5} {:<20} {:>6} {:>9} {:>10} {:>12} {:>7} {:>9} {:>13}"


class Case(NamedTuple):
    """A kernel: `forward` or `backward`, side of the image in tokens, precision of tokens, a key of FORMS, target."""

    kernel: str
    side: int
    dtype: torch.dtype
    form: str
    capability: int


class Made(NamedTuple):
    """What came of it; `spilled` bytes a thread, `shared` bytes a program, products among all `instructions`."""

    channels: int
    registers: int
    spilled: int
    shared: int
    products: int
    instructions: int


def cases(sides: Sequence[int]) -> Iterator[Case]:
    """All that a kernel can be started with, of the forms above."""
    for capability in CAPABILITIES:
        for form, options in FORMS.items():
            for dtype in PRECISIONS:
                for side in sides:
                    torus = (2 if "padding" in options else 1) * side
                    if torus in SIDES[dtype] and capability // 10 >= LEAST_CAPABILITY[torus]:
                        for kernel in ("forward", "backward"):
                            yield Case(kernel, side, dtype, form, capability)


def compiled(case: Case) -> Made:
    """Compile a kernel and read off what it takes."""
    kernel = getattr(filter_kernel if case.form == FREE else pde_kernel, case.kernel)
    operator = PDEOperator(1, (case.side, case.side), PDEOptions.model_validate(FORMS[case.form]))
    backward = case.kernel == "backward"
    options, size = operator.options, case.dtype.itemsize
    channels = channels_of_tile(operator.domain * case.side, size, options.states, backward=backward)
    how = sizes_of_tile(case.side, channels, operator.domain, OPERANDS[case.dtype])
    if case.form != FREE:
        how |= terms(operator.pde_parameters(), operator.domain, selective=options.selective)
    if options.selective:
        how["images"] = 1  # which Triton takes for a constant
    tokens = "*bf16" if case.dtype == torch.bfloat16 else "*fp32"
    kinds = {
        name: "constexpr" if name in how
        else "i32" if name in ("batch", "images", "channels", "groups")
        else tokens if name in ("x", "y", "dy", "dx", "matrix")
        else "*fp32"
        for name in kernel.arg_names
    }  # fmt: skip
    # what Triton finds of tensors that PyTorch made, and of channels that are a multiple of 16
    aligned = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(kernel.arg_names)
        if kinds[name] != "constexpr" and name not in ("batch", "images", "groups")
    }
    made = triton.compile(
        ASTSource(kernel, kinds, how, aligned),
        target=GPUTarget("cuda", case.capability, 32),
        options=options_of_compiler(operator.domain * case.side, backward=backward),
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        usage = _output(triton.knobs.nvidia.cuobjdump.path, "-res-usage", file.name)
        code = _output(triton.knobs.nvidia.nvdisasm.path, "-c", file.name)
    taken = {name: int(number) for name, number in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", usage)}
    return Made(
        channels,
        taken["REG"],
        taken["STACK"] + taken["LOCAL"],
        made.metadata.shared,
        len(re.findall(r"\bH?G?MMA\b", code)),
        len(re.findall(r"^\s+/\*[0-9a-f]{4,}\*/", code, re.MULTILINE)),
    )


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line a kernel; 1 where one spills or has no product on the matrix units."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cubins", description=__doc__.split("\n")[0])
    parser.add_argument("sides", nargs="*", type=int, default=[8, 16, 32, 64], metavar="SIDE")
    options = parser.parse_args(arguments)
    print(f"triton {triton.__version__}, {WARPS} warps a program; spilled: bytes a thread; shared: bytes a program")
    heading = ("kernel", "side", "", "operator", "target", "channels", "registers", "spilled", "shared", "products")
    print(LINE.format(*heading, "instructions"))
    wanted = list(cases(options.sides))
    failed = False
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        for case, made in zip(wanted, pool.map(compiled, wanted), strict=True):
            failed |= made.spilled > 0 or not made.products
            name = OPERANDS[case.dtype]
            print(LINE.format(case.kernel, case.side, name, case.form, f"sm_{case.capability}", *made), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
