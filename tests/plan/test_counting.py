"""The MACs of products against PyTorch's own counter and against loops written out, for shapes of every kind."""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from pdebench.plan.cost import CountedCost, count_calls


class Call(nn.Module):
    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *arguments: Tensor) -> Any:
        return self.function(*arguments)


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def cost(function: Callable[..., Any], *arguments: Tensor) -> CountedCost:
    return count_calls(Call(function), arguments)


def by_pytorch(function: Callable[..., Any], *arguments: Tensor) -> float:
    with FlopCounterMode(display=False) as counter:
        function(*arguments)
    return counter.get_total_flops() / 2


sizes = st.integers(1, 5)
shapes = st.lists(sizes, max_size=3)


@st.composite
def broadcast(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Two shapes that are broadcast to one: dimensions of 1, and fewer of them, on either side."""
    whole = draw(shapes)
    sides = []
    for _ in range(2):
        shape = [1 if draw(st.booleans()) else size for size in whole]
        sides.append(shape[draw(st.integers(0, len(shape))) :])
    return sides[0], sides[1]


@given(batches=broadcast(), n=sizes, k=sizes, m=sizes, vectors=st.sampled_from(["", "left", "right", "both"]))
def test_matmul_however_it_is_broadcast(batches: Any, n: int, k: int, m: int, vectors: str) -> None:
    left = [k] if vectors in ("left", "both") else [*batches[0], n, k]
    right = [k] if vectors in ("right", "both") else [*batches[1], k, m]
    arguments = meta(*left), meta(*right)
    found = cost(torch.matmul, *arguments)
    made = torch.matmul(*arguments)
    assert found.macs == made.numel() * k
    assert not found.uncounted
    if made.dim() > 0 and not vectors:  # it has no count of dot products, nor of a matrix and a vector
        assert found.macs == by_pytorch(torch.matmul, *arguments)


@given(shape=shapes, inner=sizes, outer=sizes, bias=st.booleans())
def test_linear(shape: list[int], inner: int, outer: int, bias: bool) -> None:
    arguments = (meta(*shape, inner), meta(outer, inner), *([meta(outer)] if bias else []))
    found = cost(F.linear, *arguments)
    assert found.by_kind == {"linear": math.prod(shape) * inner * outer}
    assert found.macs == by_pytorch(F.linear, *arguments)


@given(n=sizes, k=sizes, m=sizes, batch=sizes)
def test_products_with_something_added(n: int, k: int, m: int, batch: int) -> None:
    one, other, added = meta(batch, n, k), meta(batch, k, m), meta(n, m)
    for function, arguments in ((torch.baddbmm, (added, one, other)), (torch.bmm, (one, other))):
        assert cost(function, *arguments).macs == by_pytorch(function, *arguments) == batch * n * k * m
    assert cost(torch.addbmm, added, one, other).macs == batch * n * k * m
    for function, arguments in ((torch.addmm, (added, one[0], other[0])), (torch.mm, (one[0], other[0]))):
        assert cost(function, *arguments).macs == by_pytorch(function, *arguments) == n * k * m
    assert cost(lambda a, b, c: a.clone().addmm_(b, c), added, one[0], other[0]).by_kind == {"matmul": n * k * m}
    assert cost(lambda b, c: torch.mm(b, c, out=b.new_empty(n, m)), one[0], other[0]).macs == n * k * m


@given(batch=shapes, n=sizes, m=sizes)
def test_products_of_every_sample_by_vmap(batch: list[int], n: int, m: int) -> None:
    def mapped(x: Tensor, weight: Tensor) -> Tensor:
        return torch.vmap(lambda one: one @ weight)(x)

    assert cost(mapped, meta(3, *batch, n, m), meta(m, n)).macs == 3 * math.prod(batch) * n * m * n


def written_out(equation: str, *operands: Tensor) -> int:
    """MACs of an einsum of two operands: turns of the loops over all its indices, what one has alone summed before."""
    (one, other), result = equation.partition("->")[0].split(","), equation.partition("->")[2]
    length = {i: size for text, operand in zip((one, other), operands, strict=True)
              for i, size in zip(text, operand.shape, strict=True)}  # fmt: skip
    needed = [i for i in length if i in result or (i in one and i in other)]
    return sum(1 for _ in itertools.product(*(range(length[i]) for i in needed)))


@st.composite
def einsums(draw: st.DrawFn, operands: int) -> tuple[str, list[list[int]]]:
    letters = string.ascii_letters[: draw(st.integers(1, 5))]
    length = {letter: draw(sizes) for letter in letters}
    texts = [
        "".join(draw(st.lists(st.sampled_from(letters), unique=True, min_size=1, max_size=4))) for _ in range(operands)
    ]
    result = "".join(draw(st.lists(st.sampled_from(sorted(set("".join(texts)))), unique=True)))
    return f"{','.join(texts)}->{result}", [[length[i] for i in text] for text in texts]


@given(asked=einsums(2))
def test_einsum_of_two(asked: tuple[str, list[list[int]]]) -> None:
    equation, shapes = asked
    operands = [meta(*shape) for shape in shapes]
    found = cost(lambda *given: torch.einsum(equation, *given), *operands)
    assert found.macs == written_out(equation, *operands)
    assert not found.uncounted


@given(asked=st.integers(2, 4).flatmap(einsums))
def test_einsum_of_several_by_pytorchs_own_counter(asked: tuple[str, list[list[int]]]) -> None:
    equation, shapes = asked
    operands = [meta(*shape) for shape in shapes]

    def function(*given: Tensor) -> Tensor:
        return torch.einsum(equation, *given)

    elementwise = Elementwise()
    with elementwise:
        function(*operands)
    assert cost(function, *operands).macs == by_pytorch(function, *operands) + elementwise.products


class Elementwise(TorchDispatchMode):
    """Counts the elements of `mul`, which an einsum comes to where a pair of operands sums over nothing."""

    products = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.products += out.numel() if func.overloadpacket is torch.ops.aten.mul else 0
        return out


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("...ij,...jk", [(2, 3, 4, 5), (3, 5, 6)], 2 * 3 * 4 * 5 * 6),
        ("b...d,de->b...e", [(2, 3, 4, 5), (5, 6)], 2 * 3 * 4 * 5 * 6),
        ("bij,bjk->bik", [(1, 4, 5), (3, 5, 6)], 3 * 4 * 5 * 6),  # a batch of 1 is broadcast
        ("bij,bjk", [(1, 4, 5), (3, 5, 6)], 4 * 5 * 6),  # unless it is summed over
        ("ij,jk", [(4, 1), (5, 6)], 4 * 6),  # a sum of 1 is broadcast: the other is summed first
        ("i,j->ij", [(4,), (5,)], 4 * 5),
        ("ii,ij->j", [(4, 4), (4, 5)], 4 * 5),
        ("hk,bdkw,wv->bdhv", [(8, 8), (2, 3, 8, 7), (7, 7)], 2 * 3 * (8 * 8 * 7 + 8 * 7 * 7)),
        ("i,ij,jk,k->", [(3,), (3, 4), (4, 5), (5,)], 3 * 4 + 4 * 5 + 5),
    ],
)
def test_einsums_by_hand(equation: str, shapes: list[tuple[int, ...]], macs: int) -> None:
    assert cost(lambda *given: torch.einsum(equation, *given), *(meta(*shape) for shape in shapes)).macs == macs


def test_an_einsum_follows_the_path_that_pytorch_was_given() -> None:
    operands = meta(3), meta(3, 4), meta(4, 5), meta(5)

    def function(*given: Tensor) -> Tensor:
        return torch._VF.einsum("i,ij,jk,k->", given, path=[2, 3, 1, 2, 0, 1])  # type: ignore[attr-defined]

    assert cost(function, *operands).macs == by_pytorch(function, *operands) == 4 * 5 + 3 * 4 + 3


def test_an_einsum_of_one_operand_is_a_sum_and_listed() -> None:
    found = cost(lambda x: torch.einsum("ij->i", x), meta(3, 4))
    assert (found.macs, found.uncounted) == (0, {"aten::einsum": 1})


@given(kept=shapes, summed=shapes, other=shapes)
def test_tensordot(kept: list[int], summed: list[int], other: list[int]) -> None:
    def function(x: Tensor, y: Tensor) -> Tensor:
        return torch.tensordot(x, y, len(summed))

    arguments = meta(*kept, *summed), meta(*summed, *other)
    found = cost(function, *arguments).macs
    assert found == math.prod([*kept, *summed, *other])
    if summed and math.prod([*kept, *other]) > 1:  # else it is pointwise to PyTorch, and its counter has none
        assert found == by_pytorch(function, *arguments)


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (torch.matmul, [(2, 3, 4), (4, 5)]),
        (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (2, 4, 5)]),
        (F.linear, [(3, 4), (5, 4)]),
        (torch.dot, [(3,), (3,)]),
        (torch.addbmm, [(3, 5), (2, 3, 4), (2, 4, 5)]),
        (lambda x, y: torch.einsum("ij,jk,kl->il", x, y, y), [(2, 3), (3, 3)]),
        (lambda x, y: torch.tensordot(x, y, 1), [(2, 3), (3, 4)]),
        (lambda x, y: F.conv2d(x, y, padding=1), [(2, 3, 8, 8), (4, 3, 3, 3)]),
        (lambda x, y: F.conv2d(x, y, padding="same"), [(2, 3, 8, 8), (4, 3, 3, 3)]),
    ],
)
def test_a_complex_product_is_four_real_ones(function: Callable[..., Any], shapes: list[tuple[int, ...]]) -> None:
    real, complex_ = (
        cost(function, *(meta(*shape, dtype=dtype) for shape in shapes)) for dtype in (torch.float32, torch.complex64)
    )
    assert complex_.macs == 4 * real.macs > 0
    assert complex_.uncounted == real.uncounted == {}


@pytest.mark.parametrize("function", [torch.outer, lambda x, y: torch.einsum("i,j->ij", x, y)])
def test_without_a_sum_a_complex_product_is_three(function: Callable[..., Any]) -> None:
    """4 multiplications and 2 additions."""
    assert cost(function, meta(3), meta(4)).macs == 3 * 4
    assert cost(function, *(meta(n, dtype=torch.complex64) for n in (3, 4))).macs == 3 * 3 * 4


def test_of_elementwise_products_those_of_complex_numbers_are_counted() -> None:
    x, z = meta(3, 4), meta(3, 4, dtype=torch.complex64)
    assert cost(lambda a, b: a * b, z, z[0]).by_kind == {"complex product": 3 * 3 * 4}
    for a, b in ((x, x), (x, z), (z, x)):
        assert cost(lambda a, b: a * b, a, b) == CountedCost({}, {"aten::mul": 1})


@st.composite
def convolutions(draw: st.DrawFn) -> dict[str, Any]:
    n, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3]))
    return {
        "n": n,
        "transposed": draw(st.booleans()),
        "sides": [draw(st.integers(6, 9)) for _ in range(n)],
        "kernel": [draw(st.integers(1, 3)) for _ in range(n)],
        "channels": (groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))),
        "groups": groups,
        "stride": draw(st.integers(1, 2)),
        "padding": draw(st.integers(0, 2)),
        "dilation": draw(st.integers(1, 2)),
        "batch": draw(st.sampled_from([None, 1, 2])),
    }


@given(asked=convolutions())
def test_convolutions_by_pytorchs_own_counter(asked: dict[str, Any]) -> None:
    n, groups, (inputs, outputs) = asked["n"], asked["groups"], asked["channels"]
    how = {key: asked[key] for key in ("stride", "padding", "dilation", "groups")}
    shape = [*([] if asked["batch"] is None else [asked["batch"]]), inputs, *asked["sides"]]
    weight = [inputs, outputs // groups] if asked["transposed"] else [outputs, inputs // groups]
    arguments = meta(*shape), meta(*weight, *asked["kernel"]), meta(outputs)
    plain = getattr(F, f"conv_transpose{n}d" if asked["transposed"] else f"conv{n}d")

    def function(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return plain(x, weight, bias=bias, **how)  # type: ignore[no-any-return]

    found = cost(function, *arguments)
    assert found.by_kind == {"conv": by_pytorch(function, *arguments)}
    assert not found.uncounted


@given(asked=convolutions(), mode=st.sampled_from(["same", "valid"]))
def test_convolutions_padded_by_a_word(asked: dict[str, Any], mode: str) -> None:
    n, groups, (inputs, outputs) = asked["n"], asked["groups"], asked["channels"]
    shape = [*([] if asked["batch"] is None else [asked["batch"]]), inputs, *asked["sides"]]
    arguments = meta(*shape), meta(outputs, inputs // groups, *asked["kernel"])

    def function(x: Tensor, weight: Tensor) -> Tensor:
        return getattr(F, f"conv{n}d")(x, weight, padding=mode, dilation=asked["dilation"], groups=groups)  # type: ignore[no-any-return]

    assert cost(function, *arguments).by_kind == {"conv": by_pytorch(function, *arguments)}


def test_a_convolution_within_a_function_in_python_can_be_traced() -> None:
    class Smoothed(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            return F.conv1d(x, weight)

    found = cost(lambda x, weight: Smoothed.apply(x, weight) @ weight[0, 0], meta(2, 3, 5), meta(8, 3, 3))
    assert found.uncounted == {"prim::PythonOp.Smoothed": 1}


def test_what_follows_a_scripted_function_is_listed_where_its_shapes_are_lost() -> None:
    @torch.jit.script
    def doubled(x: Tensor) -> Tensor:
        return x + x

    found = cost(lambda x: doubled(x) @ x, meta(3, 3))
    assert found.uncounted.keys() | found.by_kind.keys() >= {"prim::CallFunction.doubled"}
    assert found.macs == 27 or "aten::matmul" in found.uncounted


def test_work_that_is_written_into_a_part_of_a_tensor_is_seen() -> None:
    def steps(x: Tensor, weight: Tensor) -> Tensor:
        y = torch.empty(4, 3, 5, device="meta")
        for i in range(4):
            y[i] = x[i] @ weight
        return y

    assert cost(steps, meta(4, 3, 3), meta(3, 5)).by_kind == {"matmul": 4 * 3 * 3 * 5}


@pytest.mark.parametrize(
    ("function", "complex_"),
    [
        (torch.fft.rfft2, False),
        (torch.fft.fft2, True),
        (torch.fft.ifft, True),
        (lambda z: torch.fft.irfft2(z, s=(4, 6)), True),
    ],
)
def test_transforms_of_every_sample_by_vmap(function: Callable[..., Any], complex_: bool) -> None:
    x = meta(3, 5, 4, 6, dtype=torch.complex64 if complex_ else torch.float32)
    assert cost(torch.vmap(function), x).by_kind == cost(function, x).by_kind != {}


@given(shape=st.lists(st.integers(2, 9), min_size=1, max_size=4), data=st.data())
def test_a_transform_of_several_dimensions_is_one_of_each_in_turn(shape: list[int], data: st.DataObject) -> None:
    """N log2 N of a product of lengths is the sum of theirs, each as often as there are others."""
    dims = data.draw(st.lists(st.integers(0, len(shape) - 1), unique=True, min_size=1))
    asked = [data.draw(st.integers(2, 9)) for _ in dims]
    lengths = dict(zip(dims, asked, strict=True))
    whole = [lengths.get(i, size) for i, size in enumerate(shape)]
    points = math.prod(whole)
    expected = 2.5 * points * sum(math.log2(length) for length in asked)
    x, z = meta(*shape), meta(*shape, dtype=torch.complex64)
    half = meta(*(size // 2 + 1 if i == dims[-1] else size for i, size in enumerate(whole)), dtype=torch.complex64)
    for function, argument, share in (
        (torch.fft.fftn, z, 1),
        (torch.fft.ifftn, z, 1),
        (torch.fft.fftn, x, 0.5),
        (torch.fft.rfftn, x, 0.5),
        (torch.fft.irfftn, half, 0.5),
        (torch.fft.hfftn, half, 0.5),
        (torch.fft.ihfftn, x, 0.5),
    ):
        found = cost(lambda given, function=function: function(given, s=asked, dim=dims), argument)
        assert found.by_kind["fft"] == pytest.approx(expected * share, abs=1)
        assert not found.uncounted
