"""What a handle sees of an operation. Importing this imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

# What is given and what comes out, to MACs by name. A tensor is an `Operand`, a list a list, a constant itself; None is
# what was left out, and UNKNOWN a number that the trace does not tell.
Handle = Callable[[Sequence[Any], Sequence[Any]], "Mapping[str, float] | None"]
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

    A complex product that is added to nothing is 4 multiplications and 2 additions: 3.
    """
    return (1 + first.complex) * (1 + second.complex) - (first.complex and second.complex and not summed)
