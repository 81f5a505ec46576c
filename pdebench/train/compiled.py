"""How `train.compile` has a model run: through torch.compile, on a GPU in few launches and, if asked, from CUDA graphs.

**Launches.** On a GPU the compiler is let put pointwise kernels that do not depend on each other into one
(`combo_kernels`): most of them cast weights for autocast, and gradients back, a launch each that does next to nothing.
Every family has them, so it favours none (`python -m benchmarks.launches` counts them). Reductions stay apart, whose
registers a common kernel would share out among them.

**CUDA graphs.** `compile-graphs` (PyTorch's "reduce-overhead") and `compile-max` record the launches of a pass once and
hand them to the GPU as one. What a recorded pass puts out lies in memory of the graphs, and is overwritten when the
model is called again:

    the answer          is copied, so that it is a tensor as any other: solvers hold several
    gradients           are overwritten with what autograd kept, so micro-batches add up in copies (`outlive_the_pass`)
    the next pass       is told from a second call in the same one by `begin_pass`
    constants           that an operator keeps are formed outside of the graphs' memory (`ops/constants.py`)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn

MODES = {"compile": "default", "compile-graphs": "reduce-overhead", "compile-max": "max-autotune"}
FEWER_LAUNCHES = {"combo_kernels": True, "combo_kernels_pointwise_only": True}


def compile_in_place(model: nn.Module, mode: str, device: torch.device) -> None:
    """From now on the model is called as `train.compile` says; its weights and their names stay."""
    if mode == "eager":
        return
    if device.type == "cuda":
        model.compile(options=options_on_a_gpu(mode))
    else:
        model.compile(mode=MODES[mode])
    if graphed(mode, device):
        model._compiled_call_impl = _copied(model._compiled_call_impl)  # type: ignore[assignment, arg-type]


def graphed(mode: str, device: torch.device) -> bool:
    """Whether a model that is compiled so runs from CUDA graphs."""
    return mode in ("compile-graphs", "compile-max") and device.type == "cuda"


def begin_pass(mode: str, device: torch.device) -> None:
    """What earlier passes put out is no longer wanted, though none may have gone backward."""
    if graphed(mode, device):
        torch.compiler.cudagraph_mark_step_begin()


def outlive_the_pass(parameters: Iterable[nn.Parameter]) -> None:
    """Have gradients stay when the model is called again."""
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = parameter.grad.clone()


def graphs_bytes(segments: Sequence[Mapping[str, Any]]) -> int:
    """Bytes of the GPU's memory that graphs hold, of the segments of `torch.cuda.memory_snapshot()`.

    Each has the pool that it belongs to; (0, 0) is that of everything else.
    """
    return sum(segment["total_size"] for segment in segments if tuple(segment["segment_pool_id"]) != (0, 0))


def options_on_a_gpu(mode: str) -> dict[str, Any]:
    """What the compiler is told on a GPU: its mode, and to launch less where its version can."""
    from torch._inductor import list_mode_options, list_options  # not above: it imports the compiler

    known = set(list_options())
    fewer = FEWER_LAUNCHES if known.issuperset(FEWER_LAUNCHES) else {}
    return {**list_mode_options(MODES[mode]), **fewer}


def _copied(call: Callable[..., Tensor]) -> Callable[..., Tensor]:
    @wraps(call)
    def copied(*inputs: Any, **named: Any) -> Tensor:
        return call(*inputs, **named).clone()

    return copied
