"""What one training step does, operation by operation: arithmetic, bytes moved, and the memory that it takes.

The step runs forward and backward on fake tensors: they have shapes, a device and a precision, but no memory, so that
XL/2 at 512 px takes a second on a laptop. Every operation that PyTorch would start is seen with its arguments. A model
of two blocks is run and its last block stands for all further ones; where blocks of different cost take turns, of two
turns, of which the last stands for all further ones.

What is seen is what runs eagerly: nothing is fused, and every operation reads its arguments from memory and writes its
result there. Not seen is what an operation takes for itself while it runs: tiles of the scans, workspaces of libraries.

Arithmetic is 2 FLOPs a MAC, by the handles that the counter of a forward pass asks too (`counting/table.py`). Where the
two differ, it is because operators are seen as they are dispatched:

    functions in Python     ours and other packages', are the operators that they call: a spectral product is the
                            transforms, or the products of matrices, of its backend
    transforms              are counted call by call: AFNO's way back on a CPU is two, one for each axis
    pointwise operations    have no FLOPs, norms and complex products neither: memory bounds them
    what weights alone make is there, once a batch
    constants               of sizes alone are none of a step's, which finds them as the step before left them
    backward                is twice forward for a scan or a convolution (`ops/operand.py`) and five products for
                            attention (`ops/macs.py`); of other operators it is what autograd calls
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pdebench.models.backbone import Backbone, create_model
from pdebench.models.mixer_fault import blamed_on_mixer
from pdebench.models.registry import parse_name
from pdebench.ops.constants import kept_in_a_trace
from pdebench.ops.operand import Handles
from pdebench.ops.spectral_coverage import KERNEL, planned_for
from pdebench.plan.counting.dispatched import arithmetic
from pdebench.plan.counting.table import HANDLES
from pdebench.plan.step import Operation, Operations, TrainingStep
from pdebench.tasks.registry import TASKS

BUILT = 2  # blocks of the model that is run, or turns of blocks that differ
# AdamW reads weight, gradient and two moments and writes all but the gradient; the average reads two and writes one;
# the norm of the gradient reads it, and clipping reads and writes it.
OPTIMISER_PASSES = 7 + 3 + 1 + 2


def trace_step(
    name: str,
    *,
    batch_size: int,
    precision: str = "fp32",
    task: str = "generation",
    device: str = "cpu",
    capability: int = 0,
    **build: Any,
) -> TrainingStep:
    """The training step of `create_model(name, **build)` on a batch.

    Args:
        name: FAMILY-SIZE/PATCH.
        batch_size: images in the step.
        precision: `fp32` or `bf16` (autocast).
        task: what is learned; no label is hidden.
        device: whose roads in Fourier space are taken, `cpu` or `cuda`; there is one kernel where those of a GPU are
            asked for and take the grid.
        capability: the first digit of a GPU's compute capability.
        **build: as `create_model` takes it.

    Raises:
        ModelError: there is no such model, or it is of another package whose mixer fails.
    """
    family, size, _ = parse_name(name)
    depth = build.pop("depth", None) or family.size(size).depth
    learner = TASKS[task].looked_at()
    traced = blamed_on_mixer(family, "traced, forward and backward, on PyTorch's fake tensors")
    with traced, planned_for(device, capability), FakeTensorMode():
        model = create_model(name, depth=min(depth, BUILT), **build)
        if (cycle := model.cycle) > 1:
            model = create_model(name, depth=min(depth, BUILT * cycle + depth % cycle), **build)
        watch = _Watch(family.handles)
        last = model.train().blocks[-cycle:]
        _mark(model, last[0], watch)
        images = torch.empty(batch_size, model.in_channels, *model.sides)
        labels = learner.made_up_labels(images, model.num_classes)
        draws = learner.draw(images.shape, torch.Generator(), labelled=False)
        with kept_in_a_trace(watch.uncounted), watch:
            with _autocast(precision):
                loss = learner.loss(model, images, labels, draws)
            held = watch.live
            watch.enter("backward tail")
            loss.backward()  # type: ignore[no-untyped-call]
    more = (depth - len(model.blocks)) // cycle
    gradients = _bytes(last, trained=True)
    parameters = _bytes(model) + more * _bytes(last)
    trained = _bytes(model, trained=True) + more * gradients
    kept = watch.at["final"] - watch.at["last block"]  # by one block, or turn, for backward
    # A block's backward frees what it kept and leaves its gradients, so that with more blocks the peak moves up by the
    # one where backward begins, and by the other where it ends.
    early = max(watch.peaks[phase] for phase in watch.peaks if phase != "backward rest")
    said = model.mixer_implementation
    working = max(early + more * kept, watch.peaks["backward rest"] + more * gradients)
    return TrainingStep(
        forward=_all(watch, more, ("forward", "forward block", "forward tail"), "forward block"),
        backward=_all(watch, more, ("backward tail", "backward block", "backward rest"), "backward block"),
        optimiser=Counter({Operation("pointwise", "AdamW, average, norm", 0.0, OPTIMISER_PASSES * trained): 1}),
        gradient_bytes=trained,
        parameter_bytes=2 * parameters + 2 * trained,
        held_bytes=held + more * kept,
        working_bytes=working,
        road=said if said.startswith(_ROADS) else None,
    )


_ROADS = (KERNEL, "matrices", "packed complex", "half spectra")  # what names of `spectral.BACKENDS` begin with


def _bytes(module: nn.Module, *, trained: bool = False) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad or not trained)


def _all(watch: _Watch, more: int, phases: tuple[str, ...], repeated: str) -> Operations:
    found: Operations = Counter()
    for phase in phases:
        for operation, count in watch.operations[phase].items():
            found[operation] += count * (1 + more if phase == repeated else 1)
    return found


def _autocast(precision: str) -> AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else nullcontext()


def _mark(model: Backbone, last: nn.Module, watch: _Watch) -> None:
    """Let `watch` know where the last block, or the last turn's first, begins and ends, forward and backward."""

    def begins(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        watch.enter("forward block")
        watch.at["last block"] = watch.live
        if inputs[0].requires_grad:
            inputs[0].register_hook(lambda grad: watch.enter("backward rest"))

    def ended(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        watch.enter("forward tail")
        watch.at["final"] = watch.live
        inputs[0].register_hook(lambda grad: watch.enter("backward block"))

    last.register_forward_pre_hook(begins)
    model.final_layer.register_forward_pre_hook(ended)


class _Watch(TorchDispatchMode):
    """Sees every operation; keeps count of them and of the bytes that are alive, by phase of the step."""

    def __init__(self, handles: Handles | None = None) -> None:
        super().__init__()
        self._handles = {**HANDLES, **(handles or {})}
        self.live = 0
        self.phase = "forward"
        self.at: dict[str, int] = {}
        self.peaks: Counter[str] = Counter()
        self.operations: dict[str, Operations] = {
            f"{way} {part}".strip(): Counter()
            for way, parts in (("forward", ("", "block", "tail")), ("backward", ("tail", "block", "rest")))
            for part in parts
        }
        self._held: dict[int, weakref.ref[Any]] = {}
        self._counts = True

    def enter(self, phase: str) -> None:
        """What comes from here on belongs to another phase."""
        self.phase = phase
        self.peaks[phase] = max(self.peaks[phase], self.live)

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """What is done here is none of the step's."""
        self._counts = False
        try:
            yield
        finally:
            self._counts = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not self._counts:
            return out
        inputs, outputs = list(_tensors((args, kwargs))), list(_tensors(out))
        for tensor in inputs:
            self._hold(tensor, ours=False)  # what was there before the step is not the step's
        for tensor in outputs:
            self._hold(tensor, ours=True)
        self.peaks[self.phase] = max(self.peaks[self.phase], self.live)
        if operation := _operation(func, args, kwargs, inputs, outputs, out, self._handles):
            self.operations[self.phase][operation] += 1
        return out

    def _hold(self, tensor: Tensor, *, ours: bool) -> None:
        """Count a storage that was not seen before, until it is let go of: its address may then be another's."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._held:
            size = storage.nbytes() if ours else 0
            self.live += size
            self._held[key] = weakref.ref(storage, lambda _: self._free(key, size))

    def _free(self, key: int, size: int) -> None:
        del self._held[key]
        self.live -= size


def _tensors(value: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def _storage(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _moved(tensor: Tensor) -> int:
    """Bytes that reading a tensor moves: an expanded one is no larger than what it is expanded from."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def _operation(
    func: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    inputs: list[Tensor],
    outputs: list[Tensor],
    out: Any,
    handles: Handles,
) -> Operation | None:
    """What an operation does, or None for a view, which does nothing."""
    name = func._overloadpacket._qualified_op_name
    there = {_storage(tensor) for tensor in inputs}
    if not func._schema.is_mutable and all(_storage(tensor) in there for tensor in outputs):
        return None
    if name.startswith(("aten::empty", "aten::new_empty")):
        return None
    traffic = sum(map(_moved, inputs)) + sum(map(_moved, outputs))
    if name in _TRANSFORMS:
        traffic *= len(args[1])  # a pass over all of it for each dimension
    kind, macs = arithmetic(func, args, kwargs, out, handles)
    return Operation(kind, _shown(name), 2.0 * macs, traffic)


_TRANSFORMS = ("aten::_fft_r2c", "aten::_fft_c2r", "aten::_fft_c2c")


def _shown(name: str) -> str:
    """An operator's name; ours has one for both directions, under which a device may have a rate."""
    if name.startswith("pdebench::"):
        return name.removeprefix("pdebench::").removesuffix("_backward")
    return name.removeprefix("aten::")
