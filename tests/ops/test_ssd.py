"""State space duality in chunks against the recurrence in float64: values and all gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pdebench.ops import ssd as module
from pdebench.ops.ssd import ssd

NAMES = ("x", "dt", "a", "b", "c", "d")


def sequential(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """The recurrence as the paper writes it, one token at a time."""
    batch, length, heads, size = x.shape
    state = x.new_zeros(batch, heads, size, b.shape[-1])
    outputs = []
    for t in range(length):
        decay = torch.exp(dt[:, t] * a)
        driven = dt[:, t, :, None] * x[:, t]
        state = decay[:, :, None, None] * state + driven[..., None] * b[:, t, None, None, :]
        outputs.append((state * c[:, t, None, None, :]).sum(-1) + d[:, None] * x[:, t])
    return torch.stack(outputs, 1)


def inputs(batch: int, length: int, heads: int = 3, size: int = 4, states: int = 5, step: float = 0.1) -> list[Tensor]:
    """Float64 inputs; the numbers are those of float32."""
    made = (
        torch.randn(batch, length, heads, size),
        step * torch.rand(batch, length, heads),
        -1 - 15 * torch.rand(heads),
        torch.randn(batch, length, states),
        torch.randn(batch, length, states),
        torch.randn(heads),
    )
    return [tensor.double().requires_grad_() for tensor in made]


def single(arguments: list[Tensor]) -> list[Tensor]:
    return [tensor.detach().float().requires_grad_() for tensor in arguments]


def all_of(scan: Callable[..., Tensor], arguments: list[Tensor], weights: Tensor) -> list[Tensor]:
    """Values and every gradient."""
    y = scan(*arguments)
    return [y, *torch.autograd.grad(y, arguments, weights.to(y.dtype))]


def assert_same(got: list[Tensor], wanted: list[Tensor], share: float) -> None:
    """Every number to a share of the largest one of its tensor; where that is zero, to its share of 1e-9."""
    for name, ours, exact in zip(("y", *NAMES), got, wanted, strict=True):
        assert torch.isfinite(ours).all(), name
        worst = (ours - exact).abs().max() / max(1e-9, exact.abs().max())
        assert worst < share, f"{name}: {worst:.1e}"


@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 70),
    heads=st.integers(1, 3),
    size=st.integers(1, 4),
    states=st.integers(1, 5),
    chunk=st.sampled_from([1, 5, 16, 64]),
    tile=st.sampled_from([1, 100, 2**18]),
    step=st.sampled_from([1e-6, 0.1, 30.0]),
)
def test_equals_the_recurrence_with_all_gradients(
    batch: int, length: int, heads: int, size: int, states: int, chunk: int, tile: int, step: float
) -> None:
    arguments = inputs(batch, length, heads, size, states, step)
    weights = torch.randn(batch, length, heads, size)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "CHUNK", chunk)
        patched.setattr(module, "TILE", tile)
        got = all_of(ssd, arguments, weights)
    for name, ours, exact in zip(("y", *NAMES), got, all_of(sequential, arguments, weights), strict=True):
        torch.testing.assert_close(ours, exact, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("length", [1, 63, 64, 65, 128, 200])
def test_lengths_around_the_chunk(length: int) -> None:
    arguments, weights = inputs(2, length), torch.randn(2, length, 3, 4)
    for ours, exact in zip(all_of(ssd, arguments, weights), all_of(sequential, arguments, weights), strict=True):
        torch.testing.assert_close(ours, exact)


def test_gradcheck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)
    assert torch.autograd.gradcheck(ssd, inputs(2, 11, heads=2, size=2, states=2))


def test_a_strided_input_is_as_good_as_a_contiguous_one() -> None:
    """x, B and C are slices of one tensor in the mixer."""
    arguments, weights = inputs(2, 70), torch.randn(2, 70, 3, 4)
    x, dt, a, b, c, d = arguments
    one = torch.cat([x.detach().flatten(2), b.detach(), c.detach()], -1).requires_grad_()

    def sliced(one: Tensor) -> Tensor:
        u, b, c = one.split([12, 5, 5], -1)
        return ssd(u.unflatten(-1, (3, 4)), dt, a, b, c, d)

    grads = all_of(ssd, arguments, weights)
    y = sliced(one)
    (grad,) = torch.autograd.grad(y, one, weights.double())
    torch.testing.assert_close(y, grads[0])
    torch.testing.assert_close(grad, torch.cat([grads[1].flatten(2), grads[4], grads[5]], -1))


# ---- float32, long and extreme


@pytest.mark.parametrize("length", [4096, pytest.param(16_384, marks=pytest.mark.exhaustive)])
def test_thousands_of_tokens_in_float32(length: int) -> None:
    """Steps as a Mamba-2 is initialised with: some states remember a thousand tokens."""
    arguments = inputs(1, length, heads=2, size=2, states=2)
    with torch.no_grad():
        arguments[1].copy_(torch.logspace(-3, -1, length).unsqueeze(-1)[torch.randperm(length)])
    weights = torch.randn(1, length, 2, 2)
    assert_same(all_of(ssd, single(arguments), weights), all_of(sequential, arguments, weights), 1e-5)


@pytest.mark.parametrize("decay", [1e-3, 1.0, 1e2])
@pytest.mark.parametrize("steps", [(-8, 3), (-8, -6), (2, 3)])
def test_extreme_steps_in_float32(steps: tuple[int, int], decay: float) -> None:
    """Step sizes log-uniform between powers of ten, side by side in one chunk."""
    arguments, weights = inputs(2, 150), torch.randn(2, 150, 3, 4)
    with torch.no_grad():
        low, high = steps
        arguments[1].copy_((10 ** (low + (high - low) * torch.rand(2, 150, 3))).float())
        arguments[2].copy_(-decay * (1 + torch.rand(3)))
    assert_same(all_of(ssd, single(arguments), weights), all_of(sequential, arguments, weights), 1e-5)


def test_small_steps_after_a_huge_one_keep_their_digits() -> None:
    """A running sum in float32 is blind below 1e-3 after a step of -16,000: segments must not be its differences."""
    arguments, weights = inputs(1, 60, heads=1), torch.randn(1, 60, 1, 4)
    with torch.no_grad():
        arguments[1].copy_(1e-6 * (1 + torch.rand(1, 60, 1)))
        arguments[1][:, 3] = 1e3
        arguments[2].fill_(-16.0)
    got, wanted = all_of(ssd, single(arguments), weights), all_of(sequential, arguments, weights)
    torch.testing.assert_close(got[0][:, 4:].double(), wanted[0][:, 4:], rtol=1e-5, atol=1e-10)
    torch.testing.assert_close(got[2][:, 4:].double(), wanted[2][:, 4:], rtol=1e-4, atol=1e-4)
    assert_same(got, wanted, 1e-5)


def test_every_exponent_is_at_most_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positive ones overflow: within a chunk of steps of 1e3 they would reach e^1,000,000."""
    arguments, weights = single(inputs(1, 100, step=1e3)), torch.randn(1, 100, 3, 4)
    largest = []
    for name in ("exp", "exp_"):
        plain = getattr(Tensor, name)

        def watched(exponents: Tensor, plain: Callable[[Tensor], Tensor] = plain) -> Tensor:
            largest.append(exponents.max().item())
            return plain(exponents)

        monkeypatch.setattr(Tensor, name, watched)
    assert all(torch.isfinite(tensor).all() for tensor in all_of(ssd, arguments, weights))
    assert largest
    assert max(largest) <= 0


# ---- autocast, memory, compilation


def test_half_precision_is_scanned_in_float32_under_autocast_too() -> None:
    arguments, weights = inputs(2, 100), torch.randn(2, 100, 3, 4)
    half = [tensor.detach().bfloat16().requires_grad_() for tensor in arguments]
    rounded = [tensor.detach().double().requires_grad_() for tensor in half]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = all_of(ssd, half, weights)
    assert got[0].dtype == torch.float32
    wanted = all_of(sequential, rounded, weights)
    assert_same(got[:1] + wanted[1:], wanted, 1e-6)
    assert_same(got, wanted, 2**-8)  # the gradients are rounded to bfloat16 once, at the end


@pytest.mark.parametrize("length", [256, 1024])
def test_nothing_but_the_inputs_is_held_for_backward(length: int) -> None:
    arguments = single(inputs(2, length))
    held: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: held.append(tensor) or tensor, lambda tensor: tensor):
        ssd(*arguments)
    assert [tensor.data_ptr() for tensor in held] == [tensor.data_ptr() for tensor in arguments]


def test_the_operators_are_what_the_compiler_takes_them_for() -> None:
    arguments = single(inputs(2, 70))
    torch.library.opcheck(module._scan, tuple(arguments))
    torch.library.opcheck(module._scan_backward, (torch.randn(2, 70, 3, 4), *(tensor.detach() for tensor in arguments)))


def test_compiles_without_a_graph_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 8)
    arguments, weights = inputs(1, 19), torch.randn(1, 19, 3, 4)
    torch._dynamo.reset()
    compiled = all_of(torch.compile(ssd, backend="aot_eager", fullgraph=True), arguments, weights)
    for ours, exact in zip(compiled, all_of(ssd, arguments, weights), strict=True):
        torch.testing.assert_close(ours, exact)
