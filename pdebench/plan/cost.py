"""Multiply-accumulates of a model: its forward pass, traced by fvcore on the meta device, operation by operation.

1 MAC = 2 FLOPs. Counted, of one image's forward pass, by the formulas of `ops/macs.py`:

    linear      products of matrices: a MAC for each term of each sum, however operands are broadcast; einsum by pairs;
                recurrent layers a matrix a token. Biases are not counted.
    attention   its two products, masked or not
    conv        a MAC for each weight that an output, or transposed an input, is multiplied with; padding included
    fft         5/2 N log2 N real FLOPs a real transform of N points, 5/4 N log2 N MACs; a complex one twice that
    scan        the three products of the recurrence, 3 MACs a state and token: decay times state, input, read-out
    pointwise   1 MAC an element of a norm; 3 a product of two complex numbers (4 multiplications, 2 additions)

In products, convolutions and attention a complex multiply-accumulate is 4 real ones, one of a complex and a real number
2. With 1 MAC an element of a layer norm, DiT's published Gflops come out in 23 of their 24 cells (DiT-B/4 at 256 px is
printed as 5.56; every consistent count gives 5.57).

Not counted, but listed in `CountedCost.uncounted`, never dropped:

    all other pointwise operations, softmax, sums, pooling, interpolation, sorting; of a scan what forms its decays and
    its input from dt (products, exp, softplus), as pointwise as any
    what has no handle: functions in Python (`prim::PythonOp.NAME`), scripted ones (`prim::CallFunction.NAME`) and
    operators of other packages, unless their family brings one (`Family.handles`)
    what is formed from weights alone, once for a whole batch: `aten::matmul of weights alone`; the PDE symbol, S4D's
    kernel and Hyena's filter (a selective PDE's symbol is formed once for each sample)

Published counts of scans differ. Mamba's authors' and VMamba's counters have 9 FLOPs a state and token, 4.5 MACs
(state-spaces/mamba, issue 110): forming decay and input is in them. ZigMa's (CompVis/zigma, `model_zigma.py`) adds the
same 9, and 1 a channel and token for D, to fvcore's MACs of everything else: its figure has 9 where ours has 3.
`docs/costs.md` has what that makes of some models.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from pdebench.models.backbone import create_model
from pdebench.models.mixer_fault import blamed_on_mixer, check_shapes
from pdebench.models.registry import parse_name
from pdebench.ops.operand import Handle, Handles, Macs
from pdebench.plan.counted import CountedCost
from pdebench.plan.counting.graph import GraphNode, operations
from pdebench.plan.counting.table import HANDLES

if TYPE_CHECKING:
    from pdebench.models.backbone import Backbone

# What carries no arithmetic: views, copies, constructors, casts, comparisons and masks.
_FREE = {
    "__and__", "alias", "arange", "as_strided", "bitwise_and", "bitwise_not", "bitwise_or", "broadcast_tensors",
    "broadcast_to", "cat", "chunk", "clone", "complex", "conj", "constant_pad_nd", "contiguous", "copy_", "detach",
    "diagonal", "dropout", "embedding", "empty", "empty_like", "eq", "expand", "expand_as", "eye", "feature_dropout",
    "fft_fftfreq", "fft_fftshift", "fft_ifftshift", "fft_rfftfreq", "fill_", "flatten", "flip", "full", "full_like",
    "gather", "ge", "gt", "imag", "index", "index_select", "le", "lift_fresh", "logical_and", "logical_not",
    "logical_or", "lt", "mH", "mT", "masked_fill", "masked_fill_", "meshgrid", "movedim", "narrow", "ne", "new_empty",
    "new_full", "new_ones", "new_zeros", "nonzero", "ones", "ones_like", "pad", "permute", "pixel_shuffle",
    "pixel_unshuffle", "real", "repeat", "repeat_interleave", "reshape", "reshape_as", "resolve_conj", "resolve_neg",
    "roll", "select", "slice", "split", "split_with_sizes", "squeeze", "stack", "swapaxes", "swapdims", "t",
    "take_along_dim", "tile", "to", "transpose", "tril", "triu", "type_as", "unbind", "unflatten", "unfold",
    "unsafe_chunk", "unsafe_split", "unsqueeze", "unsqueeze_", "view", "view_as", "view_as_complex", "view_as_real",
    "where", "zero_", "zeros", "zeros_like",
    "prim::Constant", "prim::DictConstruct", "prim::GetAttr", "prim::ListConstruct", "prim::ListUnpack",
    "prim::NumToTensor", "prim::TupleConstruct", "prim::TupleIndex", "prim::TupleUnpack", "prim::device", "prim::dtype",
}  # fmt: skip
_DONE = "counted on PyTorch's meta device"  # as a sentence of what fails there says it
_OURS = "pdebench"  # the package whose functions in Python have handles here
_FREE_OF_OURS = {"prim::PythonOp.Reorder"}


def count(model: Backbone, depth: int | None = None, handles: Handles | None = None) -> CountedCost:
    """Count one image's forward pass of `model`, which should be on the meta device: nothing is computed there.

    Args:
        model: what to count.
        depth: the blocks to count, in place of those that the model has, which come again and again.
        handles: of operations that its family brings; see `Family.handles`.
    """
    device = next(model.parameters()).device
    image = torch.zeros(1, model.in_channels, *model.sides, device=device)
    arguments: tuple[Tensor, ...] = (image, torch.zeros(1, device=device))
    if model.num_classes is not None:
        arguments += (torch.zeros(1, dtype=torch.int64, device=device),)
    blocks = len(model.blocks)
    times = {f"blocks.{place}": len(range(place, depth or blocks, blocks)) for place in range(blocks)}
    return count_calls(model.eval().requires_grad_(False), arguments, handles, repeated=times)


def count_calls(
    module: nn.Module,
    arguments: tuple[Tensor, ...],
    handles: Handles | None = None,
    repeated: Mapping[str, int] | None = None,
) -> CountedCost:
    """Count `module(*arguments)`.

    Args:
        module: what to count.
        arguments: tensors alone; what does not depend on them is not counted.
        handles: of operations that have none here.
        repeated: names of modules within, and how often each stands for itself.
    """
    by_kind: defaultdict[str, int] = defaultdict(int)
    left: Counter[str] = Counter()
    for operation in operations(module, arguments):
        name = operation.name
        if name.removeprefix("aten::") in _FREE or (operation.package == _OURS and name in _FREE_OF_OURS):
            continue
        times = next((times for name, times in (repeated or {}).items() if name in operation.scopes), 1)
        macs = _macs(operation, _handle(operation, handles or {}))
        if macs is not None and operation.of_image:
            for kind, number in macs.items():
                by_kind[kind] += times * round(number)
        elif macs is not None:
            left[f"{name} of weights alone"] += times
        elif not operation.of_sizes:
            left[name] += times
    return CountedCost(dict(sorted(by_kind.items())), dict(sorted(left.items())))


def _handle(operation: GraphNode, handles: Handles) -> Handle | None:
    ours = operation.package in ("", _OURS)
    return handles.get(operation.name) or (HANDLES.get(operation.name) if ours else None)


def _macs(operation: GraphNode, handle: Handle | None) -> Macs | None:
    """What a handle says; None where there is none, or the trace does not tell it the shapes."""
    return None if handle is None or not operation.told else handle(operation.inputs, operation.outputs)


def count_by_name(name: str, **options: Any) -> tuple[CountedCost, int]:
    """Cost and number of parameters of `create_model(name, **options)`, allocating nothing.

    Raises:
        ModelError: there is no such model, or it is of another package whose mixer fails.
    """
    family, _, _ = parse_name(name)
    with blamed_on_mixer(family, _DONE):
        with torch.device("meta"):
            model = create_model(name, **options)
        check_shapes(model, family)
        return count(model, handles=family.handles), _parameters(model)


def count_one_block(name: str, **options: Any) -> tuple[CountedCost, int]:
    """What `count_by_name` gives, in a fraction of its time: only blocks that cost differently are built and traced.

    Raises:
        ModelError: as `count_by_name`.
    """
    family, size, _ = parse_name(name)
    depth = options.pop("depth", None) or family.size(size).depth
    with blamed_on_mixer(family, _DONE):
        with torch.device("meta"):
            model = create_model(name, depth=1, **options)
            if (cycle := min(depth, model.cycle)) > 1:
                model = create_model(name, depth=cycle, **options)
        check_shapes(model, family)
        blocks = enumerate(model.blocks)
        more = sum((len(range(place, depth, cycle)) - 1) * _parameters(block) for place, block in blocks)
        return count(model, depth, family.handles), _parameters(model) + more


def _parameters(module: torch.nn.Module) -> int:
    """How many numbers there are to learn: a complex parameter is two."""
    return sum(parameter.numel() * (1 + parameter.is_complex()) for parameter in module.parameters())
