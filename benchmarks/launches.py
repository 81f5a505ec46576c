"""`python -m benchmarks.launches`: the kernels that a compiled layer of a family has a GPU launch, without a GPU.

PyTorch's compiler writes its code for CUDA in Triton before it has any of it compiled. Here it is told that the CPU is
such a device and stopped when the code is written, and the launches in the code are counted; the passes themselves run
as they are. It uses what the compiler has inside, seen to work with PyTorch 2.11 and 2.14, so it is no part of
`python -m benchmarks`.
"""

from __future__ import annotations

import argparse
import os
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from functorch.compile import make_boxed_func
from torch import Tensor
from torch._inductor import config
from torch._inductor.compile_fx import compile_fx, compile_fx_inner
from torch._inductor.graph import GraphLowering
from torch._inductor.scheduler import ForeachKernelSchedulerNode
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from pdebench.models.backbone import create_model
from pdebench.models.mixers import pde
from pdebench.models.registry import FAMILIES
from pdebench.ops import spectral
from pdebench.ops.precision import autocast
from pdebench.ops.spectral_coverage import LAUNCHES_BACKWARD, VARIABLE, not_covered

LAUNCH = re.compile(r"\.run\(|extern_kernels\.\w+\(|torch\.ops\.(\w+)\.(\w+)\.(\w+)\(")


# operators of ours that are more than one kernel
SEVERAL = {"pde_mixing_backward": LAUNCHES_BACKWARD, "filter_mixing_backward": LAUNCHES_BACKWARD}


class _Written(Exception):
    """The code, in place of what would be made of it."""


class _Hopper:
    """What Triton asks of a driver when code is written."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Print, for each family, the launches of its second layer: a model of two layers less one of one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.launches", description=__doc__.split("\n")[0])
    parser.add_argument("families", nargs="*", default=["DiT", "PDE-SSM-DiT", "GFNet-DiT"], metavar="FAMILY")
    parser.add_argument(
        "--road",
        choices=sorted(spectral.BACKENDS),
        help="of products in Fourier space, in place of one kernel and of a GPU's own road",
    )
    parser.add_argument(
        "--combined",
        action="store_true",
        help="with kernels that the compiler may combine side by side (combo_kernels)",
    )
    options = parser.parse_args(arguments)
    for family in options.families:
        if family not in FAMILIES:
            parser.error(f"unknown family '{family}'; known: {', '.join(FAMILIES)}")
    warnings.simplefilter("ignore")  # the compiler's, on complex numbers
    driver.set_active(_Hopper())  # type: ignore[no-untyped-call]
    config.cpu_backend = "triton"
    config.fx_graph_cache = False
    if options.combined:
        _combine()
    GraphLowering._compile_to_module = _stop  # type: ignore[method-assign, assignment]
    by_device = spectral.backend_of

    os.environ.setdefault(VARIABLE, "1")

    def road(device: str, grid: tuple[int, ...], dtype: torch.dtype, *, by_sample: bool = False) -> str:
        return options.road or by_device("cuda", grid, dtype, by_sample=by_sample)

    def reason(device: str, grid: tuple[int, ...], dtype: torch.dtype, domain: int) -> str:
        return "another road is asked for" if options.road else not_covered("cuda", grid, dtype, domain)

    spectral.backend_of = road
    pde.not_covered = reason  # type: ignore[attr-defined]
    torch.cuda.get_device_capability = lambda *_: (9, 0)  # type: ignore[assignment]
    print(f"launches of a compiled layer, bf16, 16 x 16 tokens, torch {torch.__version__}: forward, backward")
    failed = False
    for family in options.families:
        try:
            one, two = (launches(family, depth) for depth in (1, 2))
        except Exception as error:  # whatever the compiler raises
            failed = True
            print(f"{family:<12} {type(error).__name__}: {str(error).splitlines()[0]}")
            continue
        print(f"{family:<12} {two[0] - one[0]:>4} {two[1] - one[1]:>4}")
    return int(failed)


def launches(family: str, depth: int) -> list[int]:
    """Launches of the forward and of the backward pass of a model of XXS's width and `depth` layers.

    Raises:
        RuntimeError: the compiler made more of it, or less, than a graph for either pass.
    """
    torch.compiler.reset()
    model = create_model(f"{family}-XXS/2", input_size=32, in_channels=3, num_classes=None, depth=depth)
    found: list[int] = []

    def write(graph: torch.fx.GraphModule, inputs: Sequence[Tensor], **how: Any) -> Callable[..., Any]:
        run = make_boxed_func(torch.fx.GraphModule(graph, graph.graph.__deepcopy__({})).forward)
        try:
            compile_fx_inner(graph, inputs, **how)  # type: ignore[arg-type]
        except Exception as error:
            found.append(sum(map(_launches, LAUNCH.finditer(_code(error)))))
        return run  # type: ignore[no-any-return]

    def backend(graph: torch.fx.GraphModule, inputs: Sequence[Tensor]) -> Any:
        return compile_fx(graph, inputs, inner_compile=write)  # type: ignore[arg-type]

    compiled = torch.compile(model, backend=backend)
    with autocast("bf16", torch.device("cpu")):
        loss = compiled(torch.randn(2, 3, 32, 32), torch.rand(2)).square().mean()
    loss.backward()
    if len(found) != 2:
        raise RuntimeError(f"{len(found)} graphs were compiled, not one for the forward and one for the backward pass")
    return found


def _combine() -> None:
    """Let the compiler put kernels that depend on none of each other into one; on its own it leaves those of a CPU."""
    config.combo_kernels = True
    config.combo_kernels_autotune = 0  # which would run them
    config.combo_kernel_max_num_nodes = 64
    ForeachKernelSchedulerNode.set_group_algorithm_for_combo_kernels(
        lambda scheduler: [list(level) for level in scheduler._topological_sort_nodes()]
    )


def _launches(call: re.Match[str]) -> int:
    """The launches of a call in the code: an operator that makes a view launches nothing."""
    namespace, operator, overload = call.groups()
    if namespace is None:
        return 1
    is_view = getattr(getattr(getattr(torch.ops, namespace), operator), overload).is_view
    return 0 if is_view else SEVERAL.get(operator, 1)


def _stop(graph: GraphLowering) -> None:
    code, _ = graph.codegen()
    raise _Written(code.value)


def _code(error: BaseException | None) -> str:
    """What runs of the code that an error carries, or that error again."""
    cause = error
    while cause is not None and not isinstance(cause, _Written):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        assert error is not None
        raise error
    code = str(cause)
    return code[code.index("def call") :]


if __name__ == "__main__":
    raise SystemExit(main())
