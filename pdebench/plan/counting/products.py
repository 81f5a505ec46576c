"""Products of matrices, by their shapes: a MAC for each term of each sum, however operands are broadcast.

What is added to a product, a bias or the `beta` term, is not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pdebench.ops.operand import Handle, Handles, Macs, Operand, real_products


def _contraction(name: str = "matmul", first: int = 0) -> Handle:
    """Of a product that sums over the last dimension of its first factor, which stands at `first`."""

    def handle(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
        one, other = inputs[first : first + 2]
        terms = one.shape[-1] if one.shape else 1
        return {name: outputs[0].size * terms * real_products(one, other)}

    return handle


def _outer(first: int = 0) -> Handle:
    """Of vectors, which stand at `first`: one product each, and no sum."""

    def handle(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
        return {"matmul": outputs[0].size * real_products(*inputs[first : first + 2], summed=False)}

    return handle


def _summed_matrices(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """`addbmm` sums over the batch as well."""
    one, other = inputs[1:3]
    return {"matmul": outputs[0].size * one.shape[0] * one.shape[-1] * real_products(one, other)}


def _dots(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs | None:
    """`vecdot` along one dimension of two tensors that are broadcast."""
    one, other, dim = inputs[:3]
    if not isinstance(dim, int):
        return None
    rank = max(len(one.shape), len(other.shape))
    terms = max(operand.shape[dim % rank - rank] for operand in (one, other))
    return {"matmul": outputs[0].size * terms * real_products(one, other)}


def _tensordot(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs | None:
    """A dimension of 1 is broadcast: the other side is summed over first."""
    one, other, dims, others = inputs[:4]
    if not _all(dims, int) or not _all(others, int):
        return None
    terms = math.prod(min(one.shape[i], other.shape[j]) for i, j in zip(dims, others, strict=True))
    return {"matmul": outputs[0].size * terms * real_products(one, other)}


def _bilinear(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """x W y for each output: first x W, for each of y's channels, then y."""
    (one, other, weight), made = inputs[:3], outputs[0].size
    products = weight.shape[1] * weight.shape[2] * real_products(one, weight)
    return {"linear": made * (products + weight.shape[2] * real_products(weight, other))}


def _recurrent(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    """Each matrix of an LSTM, a GRU or an RNN once a token; their parameters are the last list of tensors."""
    tokens = math.prod(inputs[0].shape[:-1])
    *_, weights = (value for value in inputs if isinstance(value, list) and value and isinstance(value[0], Operand))
    return {"linear": tokens * sum(weight.size for weight in weights if len(weight.shape) == 2)}


def _all(values: Any, kind: type) -> bool:
    """Whether the trace tells a list of these."""
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _einsum(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs | None:
    """Pairs in the order of the path that PyTorch was given, or from left to right; a sum of one operand is none."""
    equation, operands, path = inputs[:3]
    if not _all(operands, Operand) or len(operands) < 2:
        return None
    terms, kept = _indices(equation.replace(" ", ""), operands)
    factors = list(zip(terms, operands, strict=True))  # the letters of each, and an operand for its type
    order = path or [0, 1] * (len(factors) - 1)
    macs = 0
    for pair in zip(order[::2], order[1::2], strict=True):
        later, sooner = factors.pop(max(pair)), factors.pop(min(pair))
        (one, of_one), (other, of_other) = sooner, later
        needed = kept.union(*(letters for letters, _ in factors))
        # an index that one of the two has alone, and nothing else needs, is summed over before they are multiplied
        sizes = {i: size for i, size in {**one, **other}.items() if i in needed or (i in one and i in other)}
        left = {i: size for i, size in sizes.items() if i in needed}
        macs += math.prod(sizes.values()) * real_products(of_one, of_other, summed=left != sizes)
        # what a pair gives is taken up again last; without a path, at once
        factors.insert(len(factors) if path else 0, (left, of_one if of_one.complex else of_other))
    return {"matmul": macs}


def _indices(equation: str, operands: Sequence[Operand]) -> tuple[list[dict[str, int]], set[str]]:
    """The sizes of each operand's indices by letter, and the letters of the result.

    The dimensions of an ellipsis are named by their places from the last. An index of size 1 is broadcast: left out.
    """
    left, arrow, right = equation.partition("->")
    terms = []
    for text, operand in zip(left.split(","), operands, strict=True):
        before, dots, after = text.partition("...")
        hidden = len(operand.shape) - len(before) - len(after)
        letters = [*before, *(f"...{i - hidden}" for i in range(hidden if dots else 0)), *after]
        terms.append({i: size for i, size in zip(letters, operand.shape, strict=True) if size != 1})
    dotted = {i for term in terms for i in term if i.startswith("...")}
    if arrow:
        return terms, set(right.replace("...", "")) | (dotted if "..." in right else set())
    single = {i for i in left if i.isalpha() and left.count(i) == 1}  # the rule of NumPy: what occurs once is kept
    return terms, single | dotted


HANDLES: Handles = {
    "aten::linear": _contraction("linear"),
    **dict.fromkeys(
        ("aten::matmul", "aten::mm", "aten::bmm", "aten::mv", "aten::dot", "aten::vdot", "aten::inner"), _contraction()
    ),
    **{
        f"aten::{name}{place}": _contraction(first=1)
        for name in ("addmm", "baddbmm", "addmv")
        for place in ("", "_")
    },
    **dict.fromkeys(("aten::addbmm", "aten::addbmm_"), _summed_matrices),
    **dict.fromkeys(("aten::outer", "aten::ger"), _outer()),
    **dict.fromkeys(("aten::addr", "aten::addr_"), _outer(first=1)),
    "aten::linalg_vecdot": _dots,
    "aten::tensordot": _tensordot,
    "aten::einsum": _einsum,
    "aten::bilinear": _bilinear,
    **dict.fromkeys(("aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu"), _recurrent),
}  # fmt: skip
