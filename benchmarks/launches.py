"""`python -m benchmarks.launches`: the kernels that a compiled layer of a family has a GPU launch, without a GPU.

PyTorch's compiler writes its code for CUDA in Triton before it has any of it compiled. Here it is told that the CPU is
such a device and stopped when the code is written, and the launches in the code are counted; the passes themselves run
as they are. It is told what `train.compile: compile` tells it on a GPU. It uses what the compiler has inside, seen to
work with PyTorch 2.11 and 2.14, so it is no part of `python -m benchmarks`.
"""

from __future__ import annotations

import argparse
import os
import re
import warnings
from collections import Counter
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
from pdebench.train.compiled import options_on_a_gpu

LAUNCH = re.compile(r"(\w+)\.run\(|extern_kernels\.(\w+)\(|torch\.ops\.(\w+)\.(\w+)\.(\w+)\(")
# by the first that fits a kernel's name, what it does: forward, and backward where that is something else
PARTS = (
    (r"addmm$|^mm$|^bmm$", "product of a linear layer", "product of a linear layer, for its weight or its input"),
    (r"pdebench::", "token mixer", "token mixer"),
    (r"attention", "token mixer", "token mixer"),
    (r"for_fused", "several in one: casts for autocast, small pointwise kernels", "several in one: casts of gradients"),
    (r"(poi|red|per)_fused__to_copy(_view)?$", "cast of a weight or a bias", "cast of a weight's gradient"),
    (r"gelu.*sum", "", "gradient of a bias"),
    (r"gelu", "GELU", "GELU"),
    (r"native_layer_norm.*sum|cat.*sum", "", "gradient of adaLN's parts: sums over the tokens"),
    (r"native_layer_norm", "norm, adaLN and residual", "norm, adaLN and residual"),
    (r"sum", "", "gradient of a bias"),
)

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
        "--apart",
        action="store_true",
        help="without kernels that the compiler puts side by side into one: each is launched by itself",
    )
    parser.add_argument("--list", action="store_true", help="print each kernel and what it does")
    options = parser.parse_args(arguments)
    for family in options.families:
        if family not in FAMILIES:
            parser.error(f"unknown family '{family}'; known: {', '.join(FAMILIES)}")
    warnings.simplefilter("ignore")  # the compiler's, on complex numbers
    driver.set_active(_Hopper())  # type: ignore[no-untyped-call]
    config.cpu_backend = "triton"
    config.fx_graph_cache = False
    if not options.apart:
        _combine()
    GraphLowering._compile_to_module = _stop  # type: ignore[method-assign, assignment]
    by_device = spectral.backend_of
    os.environ.setdefault(VARIABLE, "1")

    def road(device: str, grid: tuple[int, ...], dtype: torch.dtype, *, by_sample: bool = False) -> str:
        return options.road or by_device("cuda", grid, dtype, by_sample=by_sample)

    def reason(device: str, grid: tuple[int, ...], dtype: torch.dtype, domain: int, boundary: str = "periodic") -> str:
        return "another road is asked for" if options.road else not_covered("cuda", grid, dtype, domain, boundary)

    spectral.backend_of = road
    pde.not_covered = reason  # type: ignore[attr-defined]
    torch.cuda.get_device_capability = lambda *_: (9, 0)  # type: ignore[assignment]
    how = "apart" if options.apart else "as train.compile has them"
    print(f"launches of a compiled layer, bf16, 16 x 16 tokens, kernels {how}, torch {torch.__version__}")
    failed = False
    for family in options.families:
        try:
            one, two = (launches(family, depth) for depth in (1, 2))
        except Exception as error:  # whatever the compiler raises
            failed = True
            print(f"{family:<12} {type(error).__name__}: {str(error).splitlines()[0]}")
            continue
        counts = [later.total() - earlier.total() for earlier, later in zip(one, two, strict=True)]
        print(f"{family:<12} {counts[0]:>3} forward {counts[1]:>3} backward {sum(counts):>3} in all", flush=True)
        if options.list:
            _print_list(one, two)
    return int(failed)


def _print_list(one: Sequence[Counter[str]], two: Sequence[Counter[str]]) -> None:
    """What two layers have and one has not, with its count: below 0 where a second layer changes what is fused."""
    for way, earlier, later in zip(("forward", "backward"), one, two, strict=True):
        difference = Counter(later)
        difference.subtract(earlier)
        for name, count in sorted(difference.items(), key=lambda item: (-item[1], item[0])):
            if count:
                words = next((words for part, *words in PARTS if re.search(part, name)), ("", ""))
                print(f"  {way:<9}{count:>3}  {words[way == 'backward'] or 'pointwise':<66} {name}")


def launches(family: str, depth: int) -> list[Counter[str]]:
    """The kernels of the forward and of the backward pass of a model of XXS's width and `depth` layers, by name.

    Raises:
        RuntimeError: the compiler made more of it, or less, than a graph for either pass.
    """
    torch.compiler.reset()
    model = create_model(f"{family}-XXS/2", input_size=32, in_channels=3, num_classes=None, depth=depth)
    found: list[Counter[str]] = []

    def write(graph: torch.fx.GraphModule, inputs: Sequence[Tensor], **how: Any) -> Callable[..., Any]:
        run = make_boxed_func(torch.fx.GraphModule(graph, graph.graph.__deepcopy__({})).forward)
        try:
            compile_fx_inner(graph, inputs, **how)  # type: ignore[arg-type]
        except Exception as error:
            counted: Counter[str] = Counter()
            for call in LAUNCH.finditer(_code(error)):
                name, count = _launched(call)
                counted[name] += count
            found.append(+counted)
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
    """Tell the compiler what it is told on a GPU, and have it do so on a CPU too, whose kernels it leaves apart."""
    for option, value in options_on_a_gpu("compile").items():
        setattr(config, option, value)
    config.combo_kernels_autotune = 0  # which would run them
    most = config.combo_kernel_max_num_nodes
    ForeachKernelSchedulerNode.set_group_algorithm_for_combo_kernels(
        lambda scheduler: [
            list(level)[first : first + most]
            for level in scheduler._topological_sort_nodes()
            for first in range(0, len(level), most)
        ]
    )


def _launched(call: re.Match[str]) -> tuple[str, int]:
    """A call in the code, and its launches: an operator that makes a view has none."""
    triton, library, namespace, operator, overload = call.groups()
    if operator is None:
        return re.sub(r"_\d+$", "", triton or library), 1
    is_view = getattr(getattr(getattr(torch.ops, namespace), operator), overload).is_view
    return f"{namespace}::{operator}", 0 if is_view else SEVERAL.get(operator, 1)


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
