"""What a handle sees of an operation. Importing this imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pdebench.ops.macs import COMPLEX_PRODUCT

Macs = Mapping[str, float]  # by name
# What is given and what comes out, to MACs. A tensor is an `Operand`, a list a list, a constant itself; None is what
# was left out, and UNKNOWN a number that the trace does not tell.
Handle = Callable[[Sequence[Any], Sequence[Any]], "Macs | None"]
Handles = Mapping[str, Handle]

UNKNOWN = object()


class Operand(NamedTuple):
    """A tensor: its shape, and the name of its type as TorchScript has it, e.g. `Float` or `ComplexFloat`."""

    shape: tuple[int, ...]
    dtype: str = "Float"

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def complex(self) -> bool:
        """Whether each of them is two numbers."""
        return self.dtype.startswith("Complex")

    @property
    def counter(self) -> bool:
        """Whether it is a single whole number: what the trace makes of a size."""
        return not self.shape and self.dtype in ("Long", "Int", "Bool")


def real_products(first: Operand, second: Operand, *, summed: bool = True) -> int:
    """Real multiply-accumulates in one of these: 4 of complex numbers, 2 of a complex and a real one.

    A complex product that is added to nothing is one less.
    """
    if first.complex and second.complex and not summed:
        return COMPLEX_PRODUCT
    return (1 + first.complex) * (1 + second.complex)


def backward(handle: Handle) -> Handle:
    """The handle of an operator's backward pass: twice what forward costs, a product for each factor's gradient.

    Such an operator is given the output's gradient and then what forward was given. What it forms again of forward is
    not counted.
    """

    def twice(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs | None:
        gradient, *given = inputs
        macs = handle(given, [gradient])
        return None if macs is None else {name: 2 * number for name, number in macs.items()}

    return twice
