"""The arithmetic of an operator as PyTorch dispatches it, by the handles that count a forward pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.flop_counter import flop_registry

from pdebench.ops.operand import UNKNOWN, Handles, Operand
from pdebench.plan.counting.kinds import kind_of


def arithmetic(
    operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any, handles: Handles
) -> tuple[str, float]:
    """Of one call: the kind of its MACs, and their number.

    Where they are of several kinds, the one that most of them are of stands for all. What is pointwise has none:
    memory bounds it.

    Args:
        operator: an overload, such as `torch.ops.aten.mm.default`.
        args: what it was called with.
        kwargs: likewise.
        out: what it gave.
        handles: by the operators' names. Of an operator that is not among them PyTorch's own counter is asked, where
            another package may have put a formula for its operators.
    """
    found: defaultdict[str, float] = defaultdict(float)
    packet = operator._overloadpacket
    if handle := handles.get(packet._qualified_op_name):
        for name, macs in (handle(_inputs(operator, args, kwargs), _outputs(out)) or {}).items():
            found[kind_of(name)] += macs
        found.pop("pointwise", None)
    elif packet in flop_registry:
        found["linear"] = flop_registry[packet](*args, **kwargs, out_val=out) / 2
    return max(found, key=found.__getitem__, default="pointwise"), sum(found.values())


def _inputs(operator: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """All arguments in the order of the schema, as a trace has them: those that were left out with their defaults."""
    schema = operator._schema.arguments
    given = dict(zip((one.name for one in schema), args, strict=False)) | dict(kwargs)
    return [_read(given.get(one.name, one.default_value)) for one in schema]


def _outputs(out: Any) -> list[Any]:
    """One or several; lists of tensors are UNKNOWN, as in a trace."""
    return [UNKNOWN if isinstance(one, list) else _read(one) for one in (out if isinstance(out, tuple) else (out,))]


def _read(value: Any) -> Any:
    if isinstance(value, Tensor):
        return Operand(tuple(value.shape), value.type().rpartition(".")[2].removesuffix("Tensor"))
    return [_read(one) for one in value] if isinstance(value, list | tuple) else value
