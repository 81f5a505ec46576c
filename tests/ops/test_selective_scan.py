"""The chunked scan against a step-by-step one in float64: values and all gradients, at any length and step size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from pdebench.ops import selective_scan as module
from pdebench.ops.causal_convolution import causal_convolution
from pdebench.ops.selective_scan import CHUNK, selective_scan


def sequential(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """The recurrence as the paper writes it, one token at a time."""
    state = u.new_zeros(u.shape[0], u.shape[2], a.shape[1])
    outputs = []
    for u_t, dt_t, b_t, c_t in zip(*(tensor.unbind(1) for tensor in (u, dt, b, c)), strict=True):
        decay = torch.exp(dt_t[:, :, None] * a)
        state = decay * state + dt_t[:, :, None] * b_t[:, None, :] * u_t[:, :, None]
        outputs.append((state * c_t[:, None, :]).sum(-1))
    return torch.stack(outputs, 1)


def inputs(batch: int, length: int, width: int = 5, states: int = 3, step: float = 0.1) -> list[Tensor]:
    made = (
        torch.randn(batch, length, width),
        step * torch.rand(batch, length, width),
        -4 * torch.rand(width, states),
        torch.randn(batch, length, states),
        torch.randn(batch, length, states),
    )
    return [tensor.double().requires_grad_() for tensor in made]


def outcomes(scan: object, arguments: list[Tensor]) -> list[Tensor]:
    """The scan's values and the gradients of all that it is given, in float64, for one fixed weighting."""
    y = scan(*arguments)  # type: ignore[operator]
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return [part.detach().double() for part in (y, *torch.autograd.grad(y, arguments, weights))]


def single(arguments: list[Tensor]) -> list[Tensor]:
    return [tensor.detach().float().requires_grad_() for tensor in arguments]


@given(batch=st.integers(1, 5), length=st.sampled_from([1, 2, 15, 16, 17, 40]), step=st.sampled_from([1e-6, 0.1, 30.0]))
def test_equals_the_sequential_scan_with_all_gradients(batch: int, length: int, step: float) -> None:
    arguments = inputs(batch, length, step=step)
    for got, wanted in zip(outcomes(selective_scan, arguments), outcomes(sequential, arguments), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("length", [4096, pytest.param(16_384, marks=pytest.mark.exhaustive)])
def test_thousands_of_tokens_in_float32(length: int) -> None:
    exact = inputs(1, length, width=3, states=2, step=0.02)
    # the oracle sees what the scan sees: inputs that float32 holds
    exact = [tensor.detach().float().double().requires_grad_() for tensor in exact]
    for got, wanted in zip(outcomes(selective_scan, single(exact)), outcomes(sequential, exact), strict=True):
        assert (got - wanted).norm() < 1e-5 * wanted.norm()
        assert (got - wanted).abs().max() < 1e-4 * wanted.abs().max()


@pytest.mark.parametrize("step", [0.0, 1e-8, 1e-4, 1.0, 1e3])
@pytest.mark.parametrize("rate", [1e-6, 1.0, 1e6])
def test_extreme_steps_and_rates_in_float32(step: float, rate: float) -> None:
    """`step` is the size of dt and `rate` that of A: dt A goes from 1e-14 to 1e9, the decays from 1 to exactly 0."""
    u, dt, a, b, c = inputs(2, 50, step=step)
    exact = [tensor.detach().float().double().requires_grad_() for tensor in (u, dt, rate * a, b, c)]
    for got, wanted in zip(outcomes(selective_scan, single(exact)), outcomes(sequential, exact), strict=True):
        assert torch.isfinite(got).all()
        assert (got - wanted).norm() <= 2e-5 * wanted.norm()


def test_steps_of_every_size_in_one_sequence() -> None:
    u, dt, a, b, c = inputs(2, 100, step=1.0)
    sizes = torch.logspace(-8, 3, 100, dtype=torch.float64)[torch.randperm(100)]
    exact = [t.detach().float().double().requires_grad_() for t in (u, dt * sizes[:, None], a, b, c)]
    for got, wanted in zip(outcomes(selective_scan, single(exact)), outcomes(sequential, exact), strict=True):
        assert (got - wanted).norm() <= 2e-5 * wanted.norm()


def test_a_step_of_zero_keeps_the_state_and_a_rate_of_zero_sums() -> None:
    u, dt, a, b, c = inputs(1, 40)
    with torch.no_grad():
        ones = torch.ones_like(c)
        dt[:, 1:] = 0
        still = selective_scan(u, dt, a, b, ones)
        torch.testing.assert_close(still, still[:, :1].expand_as(still))
        summed = selective_scan(u, torch.ones_like(dt), torch.zeros_like(a), torch.ones_like(b), ones)
        torch.testing.assert_close(summed, a.shape[1] * u.cumsum(1))


def test_tiles_of_the_batch_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = inputs(5, 40)
    whole = outcomes(selective_scan, arguments)
    monkeypatch.setattr(module, "TILE", 2 * CHUNK * 5 * 3)  # two samples, two, and one
    for got, wanted in zip(outcomes(selective_scan, arguments), whole, strict=True):
        torch.testing.assert_close(got, wanted)


def test_half_precision_inputs_are_scanned_in_float32() -> None:
    halves = [tensor.detach().bfloat16() for tensor in inputs(1, 300)]
    y = selective_scan(*halves)
    assert y.dtype == torch.float32
    exact = sequential(*(tensor.double() for tensor in halves))
    assert (y - exact).norm() < 1e-5 * exact.norm()


def test_autocast_changes_nothing() -> None:
    arguments = single(inputs(2, 40))
    wanted = outcomes(selective_scan, arguments)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for got, expected in zip(outcomes(selective_scan, arguments), wanted, strict=True):
            assert torch.equal(got, expected)


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(selective_scan, inputs(2, 18, width=2, states=2), fast_mode=True)


def test_is_one_graph_to_the_compiler() -> None:
    arguments = inputs(2, 40)
    compiled = torch.compile(selective_scan, fullgraph=True, backend="aot_eager")
    for got, wanted in zip(outcomes(compiled, arguments), outcomes(selective_scan, arguments), strict=True):
        torch.testing.assert_close(got, wanted)


def test_the_operator_keeps_pytorchs_contract() -> None:
    u, dt, a, b, c = inputs(2, 20)
    rates = a.detach().t().contiguous().requires_grad_()
    torch.library.opcheck(torch.ops.pdebench.selective_scan.default, (u, dt, rates, b, c))


def bytes_for_backward(length: int, states: int, batch: int = 2, width: int = 8) -> int:
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        y = selective_scan(*single(inputs(batch, length, width, states)))
    assert y.requires_grad
    return sum(kept.values())


@pytest.mark.parametrize("states", [16, 64])
def test_what_backward_needs_is_linear_in_the_length_with_one_state_a_chunk(states: int) -> None:
    batch, width, length = 2, 8, 64 * CHUNK
    inputs_of_one = batch * (2 * width + 2 * states)
    starts_of_one = batch * width * states / CHUNK
    kept = bytes_for_backward(length, states) / 4
    assert kept == length * (inputs_of_one + starts_of_one) + width * states
    # twice the length, twice the bytes, but for A
    assert bytes_for_backward(2 * length, states) / 4 - width * states == 2 * (kept - width * states)
    assert kept < length * batch * width * states  # a state a token


@pytest.mark.parametrize("length", [1, 2, 4, 9])
def test_causal_convolution_is_a_depthwise_conv1d_that_sees_no_later_token(length: int) -> None:
    u = torch.randn(2, length, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(3, dtype=torch.float64, requires_grad=True)
    ours = causal_convolution(u, weight, bias)
    padded = torch.nn.functional.pad(u.transpose(1, 2), (3, 0))
    oracle = torch.nn.functional.conv1d(padded, weight.unsqueeze(1), bias, groups=3).transpose(1, 2)
    torch.testing.assert_close(ours, oracle)
    grads = torch.randn_like(oracle)
    for got, wanted in zip(
        torch.autograd.grad(ours, (u, weight, bias), grads),
        torch.autograd.grad(oracle, (u, weight, bias), grads),
        strict=True,
    ):
        torch.testing.assert_close(got, wanted)
