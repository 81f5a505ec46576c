"""The chunked scan against a step-by-step one in float64: values and all gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pdebench.models.mixers import selective_scan as module
from pdebench.models.mixers.causal_convolution import causal_convolution
from pdebench.models.mixers.selective_scan import selective_scan


def sequential(u: torch.Tensor, dt: torch.Tensor, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """The recurrence as the paper writes it, one token at a time."""
    state = u.new_zeros(u.shape[0], u.shape[2], a.shape[1])
    outputs = []
    for t in range(u.shape[1]):
        decay = torch.exp(dt[:, t, :, None] * a)
        state = decay * state + dt[:, t, :, None] * b[:, t, None, :] * u[:, t, :, None]
        outputs.append((state * c[:, t, None, :]).sum(-1))
    return torch.stack(outputs, 1)


def inputs(batch: int, length: int, width: int = 5, states: int = 3, step: float = 0.1) -> list[torch.Tensor]:
    made = (
        torch.randn(batch, length, width),
        step * torch.rand(batch, length, width),
        -4 * torch.rand(width, states),
        torch.randn(batch, length, states),
        torch.randn(batch, length, states),
    )
    return [tensor.double().requires_grad_() for tensor in made]


@given(batch=st.integers(1, 5), length=st.sampled_from([1, 2, 15, 16, 17, 40]), step=st.sampled_from([1e-6, 0.1, 30.0]))
def test_equals_the_sequential_scan_with_all_gradients(batch: int, length: int, step: float) -> None:
    arguments = inputs(batch, length, step=step)
    ours, oracle = selective_scan(*arguments), sequential(*arguments)
    torch.testing.assert_close(ours, oracle)
    weights = torch.randn_like(oracle)
    for got, wanted in zip(
        torch.autograd.grad(ours, arguments, weights), torch.autograd.grad(oracle, arguments, weights), strict=True
    ):
        torch.testing.assert_close(got, wanted)


def test_tiles_of_the_batch_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = inputs(5, 20)
    whole = selective_scan(*arguments)
    monkeypatch.setattr(module, "TILE", 1)
    torch.testing.assert_close(selective_scan(*arguments), whole)


def test_float32_stays_close_to_float64() -> None:
    arguments = inputs(2, 300)
    exact = sequential(*arguments)
    single = selective_scan(*(tensor.float() for tensor in arguments))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, atol=1e-4, rtol=1e-4)


def test_half_precision_inputs_are_scanned_in_float32() -> None:
    u, dt, a, b, c = (tensor.detach().bfloat16() for tensor in inputs(1, 8))
    assert selective_scan(u, dt, a, b, c).dtype == torch.float32


def test_gradcheck() -> None:
    assert torch.autograd.gradcheck(selective_scan, inputs(2, 18, width=2, states=2))


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
