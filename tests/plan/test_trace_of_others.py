"""What operators of other packages cost in a traced training step: what their family's handles say, as in a count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from made_up import NAME, install
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from pdebench.ops.operand import Handles, Macs, backward
from pdebench.plan.cost import count_by_name
from pdebench.plan.trace import Operation, trace_step

BATCH, ELEMENTS, BLOCKS = 3, 128 * 8 * 8, 4  # of the made-up model: channels of 8 x 8 tokens
STATES = 5


@torch.library.custom_op("made_up::decay", mutates_args=())
def decay(u: Tensor, rate: float = 0.5, states: int = STATES) -> Tensor:
    return u * rate


@torch.library.custom_op("made_up::decay_backward", mutates_args=())
def decay_backward(grad: Tensor, u: Tensor, rate: float, states: int) -> Tensor:
    return grad * rate


decay.register_fake(lambda u, rate=0.5, states=STATES: torch.empty_like(u))
decay_backward.register_fake(lambda grad, u, rate, states: torch.empty_like(u))


def save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    u, *ctx.options = inputs
    ctx.save_for_backward(u)


def differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    return decay_backward(grad, *ctx.saved_tensors, *ctx.options), None, None


decay.register_autograd(differentiate, setup_context=save)


def scanned(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs:
    return {"scan": 3 * outputs[0].size * inputs[2]}


class Outer(torch.autograd.Function):
    """A product in a function in Python."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        return u @ u

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def traced(
    monkeypatch: pytest.MonkeyPatch, mix: Callable[[Tensor], Tensor], handles: Handles
) -> tuple[Counter[Operation], Counter[Operation]]:
    """Operations forward and backward of a model whose mixers do `mix`."""
    install(monkeypatch, lambda self: None, lambda self, u: mix(u), handles=handles)
    step = trace_step(NAME, batch_size=BATCH, depth=BLOCKS)
    return step.forward, step.backward


def named(operations: Counter[Operation], name: str) -> tuple[str, float]:
    """The kind of the operations of a name, and the FLOPs of all of them."""
    ((kind, flops),) = {(one.kind, one.flops * calls) for one, calls in operations.items() if one.name == name}
    return kind, flops


def test_an_operator_is_predicted_from_the_macs_that_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    forward, _ = traced(monkeypatch, decay, {"made_up::decay": scanned})
    counted, _ = count_by_name(NAME)
    assert counted.by_kind["scan"] == 3 * ELEMENTS * STATES * BLOCKS
    assert named(forward, "made_up::decay") == ("scan", 2 * BATCH * counted.by_kind["scan"])


def test_a_handle_sees_what_the_operator_was_given_and_its_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    forward, _ = traced(monkeypatch, lambda u: decay(u, states=7), {"made_up::decay": scanned})
    assert named(forward, "made_up::decay") == ("scan", 6 * BATCH * ELEMENTS * 7 * BLOCKS)


def test_an_operator_of_the_backward_pass_has_a_handle_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    once = {"made_up::decay": scanned}
    _, without = traced(monkeypatch, decay, once)
    assert named(without, "made_up::decay_backward") == ("pointwise", 0)
    forward, twice = traced(monkeypatch, decay, {**once, "made_up::decay_backward": backward(scanned)})
    assert named(twice, "made_up::decay_backward") == ("scan", 2 * named(forward, "made_up::decay")[1])


@pytest.mark.parametrize(
    ("macs", "expected"),
    [
        ({}, ("pointwise", 0)),
        (None, ("pointwise", 0)),
        ({"norm": 100}, ("pointwise", 0)),  # bound by memory
        ({"complex product": 100, "fft": 7}, ("fft", 14)),
        ({"fft": 7, "matmul": 11}, ("linear", 36)),  # at the rate of most of it
    ],
)
def test_an_operation_has_one_kind(
    macs: Macs | None, expected: tuple[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, _ = traced(monkeypatch, decay, {"made_up::decay": lambda inputs, outputs: macs})
    kind, flops = named(forward, "made_up::decay")
    assert (kind, flops / BLOCKS) == expected


def test_a_formula_that_pytorch_was_told_serves_where_there_is_no_handle(monkeypatch: pytest.MonkeyPatch) -> None:
    registry: dict[Any, Any] = {}
    monkeypatch.setattr("pdebench.plan.counting.dispatched.flop_registry", registry)
    monkeypatch.setattr("torch.utils.flop_counter.flop_registry", registry)
    register_flop_formula(torch.ops.made_up.decay)(lambda *_, out_shape=None, **__: 12)
    forward, _ = traced(monkeypatch, decay, {})
    assert named(forward, "made_up::decay") == ("linear", 12 * BLOCKS)


def test_a_function_in_python_is_what_it_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its handle is for the counter, to which it is one operation."""
    said = {"prim::PythonOp.Outer": lambda inputs, outputs: {"scan": 1e9}}
    forward, _ = traced(monkeypatch, Outer.apply, said)
    assert not [one for one in forward if one.kind == "scan"]
    products = [one for one in forward if one.name == "bmm"]
    assert [one.flops for one in products] == [2 * BATCH * ELEMENTS * 8]
