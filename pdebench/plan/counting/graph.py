"""The operations of a module's forward pass, traced by fvcore; on the meta device nothing is computed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from pdebench.ops.operand import UNKNOWN, Operand
from pdebench.plan.counting.convolutions import Recorded


class GraphNode:
    """One node of the trace.

    Attributes:
        name: `aten::matmul`, `package::operator`, `prim::PythonOp.Function` of an autograd function, or
            `prim::CallFunction.function` of a scripted one.
        package: where an autograd function comes from, else empty: those of two packages may share a name.
        scopes: names of the modules in whose calls it ran, from the outermost.
        of_image: whether it depends on the arguments; what does not is done once for a whole batch.
    """

    def __init__(self, node: Any, of_image: bool) -> None:
        self._node, self.of_image = node, of_image
        self.name: str = node.kind()
        self.package = ""
        if self.name == "prim::PythonOp":
            self.name += f".{node.pyname()}"
            self.package = node.s("module").partition(".")[0]
        elif self.name == "prim::CallFunction":
            self.name += f".{next(node.inputs()).node().s('name')}"
        self.scopes: list[str] = node.scopeName().split("/")

    @cached_property
    def inputs(self) -> list[Any]:
        """What it was given: see `ops/operand.py`."""
        return [_read(value) for value in self._node.inputs()]

    @cached_property
    def outputs(self) -> list[Any]:
        """What it gave; lists of tensors are UNKNOWN."""
        return [_read(value) for value in self._node.outputs()]

    @property
    def told(self) -> bool:
        """Whether the trace has the shapes of its tensors; not of what a scripted function gives."""
        values = [*self._node.inputs(), *self._node.outputs()]
        return not any(value.type().kind() == "TensorType" and value.type().sizes() is None for value in values)

    @property
    def of_sizes(self) -> bool:
        """Whether it gives no tensor, or works on nothing but such as the trace makes of sizes."""
        if not any("Tensor" in str(value.type()) for value in self._node.outputs()):
            return True
        tensors = [value for value in [*self.inputs, *self.outputs] if isinstance(value, Operand)]
        return bool(tensors) and all(tensor.counter for tensor in tensors)


def operations(module: nn.Module, arguments: tuple[Tensor, ...]) -> Iterator[GraphNode]:
    """What `module(*arguments)` does, one operation after another."""
    with warnings.catch_warnings(), Recorded():
        warnings.simplefilter("ignore")  # what a trace cannot hold on to is sizes, which do not change here
        from fvcore.nn.jit_analysis import _get_scoped_trace_graph

        names = {child: name for name, child in module.named_modules()}
        graph = _get_scoped_trace_graph(module, arguments, names)
    # the graph's inputs are the arguments, then all parameters and buffers
    of_image = {value.debugName() for value in list(graph.inputs())[: len(arguments)]}
    for node in graph.nodes():
        # of a function in Python the trace does not see lists of tensors: it may always depend on the image
        opaque = node.kind() in ("prim::PythonOp", "prim::CallFunction")
        depends = opaque or any(value.debugName() in of_image for value in node.inputs())
        if depends:
            of_image.update(value.debugName() for value in node.outputs())
        yield GraphNode(node, depends)


def _read(value: Any) -> Any:
    kind, node = value.type().kind(), value.node()
    if kind == "TensorType":
        sizes = value.type().sizes()
        return UNKNOWN if sizes is None else Operand(tuple(sizes), value.type().scalarType())
    if node.kind() == "prim::ListConstruct":
        return [_read(item) for item in node.inputs()]
    if kind == "NoneType":
        return None
    return value.toIValue() if node.kind() == "prim::Constant" else UNKNOWN
