"""Gated linear attention in chunks against the recurrence in float64: values and all gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pdebench.ops import gated_linear_attention as module
from pdebench.ops.gated_linear_attention import gated_linear_attention

NAMES = ("y", "q", "k", "v", "g")


def sequential(q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> Tensor:
    """The recurrence as the paper writes it (arXiv 2312.06635, eq. 3), one token at a time."""
    state, states = q.new_zeros(()), []
    for decay, added in zip(
        g.exp().unsqueeze(-1).unbind(1), (k.unsqueeze(-1) * v.unsqueeze(-2)).unbind(1), strict=True
    ):
        state = decay * state + added
        states.append(state)
    return (q.unsqueeze(-2) @ torch.stack(states, 1)).squeeze(-2) / q.shape[3] ** 0.5


def inputs(batch: int, length: int, heads: int = 2, keys: int = 4, values: int = 3, decay: float = 0.1) -> list[Tensor]:
    """Float64 inputs whose numbers are those of float32; log-decays uniform in [-decay, 0]."""
    made = (
        torch.randn(batch, length, heads, keys),
        torch.randn(batch, length, heads, keys),
        torch.randn(batch, length, heads, values),
        -decay * torch.rand(batch, length, heads, keys),
    )
    return [tensor.double().requires_grad_() for tensor in made]


def single(arguments: list[Tensor]) -> list[Tensor]:
    return [tensor.detach().float().requires_grad_() for tensor in arguments]


def all_of(attend: Callable[..., Tensor], arguments: list[Tensor], weights: Tensor) -> list[Tensor]:
    """Values and every gradient."""
    y = attend(*arguments)
    return [y, *torch.autograd.grad(y, arguments, weights.to(y.dtype))]


def assert_same(got: list[Tensor], wanted: list[Tensor], share: float) -> None:
    """Every number to a share of the largest one of its tensor; where that is zero, to its share of 1e-9."""
    for name, ours, exact in zip(NAMES, got, wanted, strict=True):
        assert torch.isfinite(ours).all(), name
        worst = (ours - exact).abs().max() / max(1e-9, exact.abs().max())
        assert worst < share, f"{name}: {worst:.1e}"


def assert_close(got: list[Tensor], wanted: list[Tensor]) -> None:
    for name, ours, exact in zip(NAMES, got, wanted, strict=True):
        torch.testing.assert_close(ours, exact, msg=lambda text, name=name: f"{name}: {text}")


@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 70),
    heads=st.integers(1, 3),
    keys=st.integers(1, 4),
    values=st.integers(1, 4),
    chunk=st.sampled_from([1, 2, 8, 32]),
    tile=st.sampled_from([1, 100, 2**17]),
    decay=st.sampled_from([0.0, 0.1, 10.0]),
)
def test_equals_the_recurrence_with_all_gradients(
    batch: int, length: int, heads: int, keys: int, values: int, chunk: int, tile: int, decay: float
) -> None:
    arguments = inputs(batch, length, heads, keys, values, decay)
    weights = torch.randn(batch, length, heads, values)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "CHUNK", chunk)
        patched.setattr(module, "TILE", tile)
        got = all_of(gated_linear_attention, arguments, weights)
    assert_close(got, all_of(sequential, arguments, weights))


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 64, 100])
def test_lengths_around_the_chunk(length: int) -> None:
    arguments, weights = inputs(2, length), torch.randn(2, length, 2, 3)
    assert_close(all_of(gated_linear_attention, arguments, weights), all_of(sequential, arguments, weights))


def test_gradcheck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 4)
    monkeypatch.setattr(module, "TILE", 1)
    assert torch.autograd.gradcheck(gated_linear_attention, inputs(2, 11, heads=2, keys=2, values=2, decay=2.0))


def test_parts_of_one_tensor_are_as_good_as_tensors_of_their_own() -> None:
    """q, k and v are slices of one tensor in the mixer; the inputs are left as they are."""
    arguments, weights = inputs(2, 70, heads=1), torch.randn(2, 70, 1, 3)
    q, k, v, g = arguments
    one = torch.cat([q.detach(), k.detach(), v.detach()], -1).requires_grad_()
    before = one.detach().clone()

    def sliced(one: Tensor) -> Tensor:
        return gated_linear_attention(*one.split([4, 4, 3], -1), g)

    expected = all_of(gated_linear_attention, arguments, weights)
    y, grad = all_of(sliced, [one], weights)
    assert torch.equal(one, before)
    torch.testing.assert_close(y, expected[0])
    torch.testing.assert_close(grad, torch.cat(expected[1:4], -1))


# ---- float32, long and extreme


@pytest.mark.exhaustive
def test_sixteen_thousand_tokens_in_float32() -> None:
    """Decays as DiG is initialised with, beside channels that remember ten thousand tokens."""
    length = 16_384
    arguments, weights = inputs(1, length, heads=1, keys=4, values=2), torch.randn(1, length, 1, 2)
    with torch.no_grad():
        arguments[3].copy_(arguments[3].float() * torch.tensor([1e-3, 1e-2, 1.0, 10.0]))
    got = all_of(gated_linear_attention, single(arguments), weights)
    assert_same(got, all_of(sequential, arguments, weights), 2e-6)


@pytest.mark.parametrize("decays", [(0.0,), (-1e3,), (0.0, -1e3), (0.0, -1e-6, -0.1, -20.0, -90.0, -1e3, -1e30)])
def test_any_log_decay_that_is_not_positive(decays: tuple[float, ...]) -> None:
    """Side by side in one chunk, in every channel another."""
    arguments, weights = inputs(2, 150), torch.randn(2, 150, 2, 3)
    with torch.no_grad():
        chosen = torch.tensor(decays)[torch.randint(len(decays), arguments[3].shape)]
        arguments[3].copy_(chosen)
    wanted = all_of(sequential, arguments, weights)
    assert_close(all_of(gated_linear_attention, arguments, weights), wanted)
    assert_same(all_of(gated_linear_attention, single(arguments), weights), wanted, 2e-6)


def test_forgetting_everything_is_exact() -> None:
    """Even a log-decay of minus infinity: what comes after it is what it would be without what came before."""
    arguments = single(inputs(1, 80))
    with torch.no_grad():
        arguments[3][:, 40] = -torch.inf
    y = gated_linear_attention(*arguments)
    late = [tensor[:, 40:] for tensor in arguments]
    torch.testing.assert_close(y[:, 40:], gated_linear_attention(*late))
    grads = torch.autograd.grad(y[:, 40:].sum(), arguments)
    assert all(torch.isfinite(grad).all() for grad in grads)
    assert not any(grad[:, :40].any() for grad in grads)


def test_small_decays_after_a_huge_one_keep_their_digits() -> None:
    """A running sum in float32 is blind below 1e-4 after -2,000: decays must not come from its differences."""
    arguments, weights = inputs(1, 32, heads=1), torch.randn(1, 32, 1, 3)
    with torch.no_grad():
        arguments[3].copy_(-1e-5 * (1 + torch.rand(1, 32, 1, 4)))
        arguments[3][:, 3] = -2e3
    got, wanted = all_of(gated_linear_attention, single(arguments), weights), all_of(sequential, arguments, weights)
    assert_same(got, wanted, 1e-6)
    torch.testing.assert_close(got[4][:, 4:].double(), wanted[4][:, 4:], rtol=1e-5, atol=1e-5)


def test_no_exponent_is_positive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken apart into two exponentials, the decays of a chunk at -1e3 a token would need e^16,000."""
    arguments, weights = single(inputs(1, 100, decay=1e3)), torch.randn(1, 100, 2, 3)
    plain, largest = Tensor.exp, []

    def watched(exponents: Tensor) -> Tensor:
        largest.append(exponents.max().item())
        return plain(exponents)

    monkeypatch.setattr(Tensor, "exp", watched)
    assert all(torch.isfinite(tensor).all() for tensor in all_of(gated_linear_attention, arguments, weights))
    assert len(largest) == 4  # of each token and of each chunk, in each direction
    assert max(largest) <= 0


# ---- autocast, memory, compilation


def test_half_precision_is_computed_in_float32_under_autocast_too() -> None:
    arguments, weights = inputs(2, 100), torch.randn(2, 100, 2, 3)
    half = [tensor.detach().bfloat16().requires_grad_() for tensor in arguments[:3]]
    half.append(arguments[3].detach().float().requires_grad_())  # as the mixer has it
    rounded = [tensor.detach().double().requires_grad_() for tensor in half]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = all_of(gated_linear_attention, half, weights)
    assert [tensor.dtype for tensor in got] == [torch.float32, *[torch.bfloat16] * 3, torch.float32]
    wanted = all_of(sequential, rounded, weights)
    assert_same([got[0], *wanted[1:4], got[4]], wanted, 1e-5)
    assert_same(got, wanted, 2**-8)  # the gradients of q, k and v are rounded to bfloat16 once, at the end


def test_backward_keeps_the_inputs_and_one_state_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TILE", 32 * 2 * 4 * 4)  # four chunks

    def held(length: int) -> tuple[list[int], int]:
        arguments, kept = single(inputs(2, length)), []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda x: x):
            gated_linear_attention(*arguments)
        *given, states = kept
        assert [tensor.data_ptr() for tensor in given] == [tensor.data_ptr() for tensor in arguments]
        return list(states.shape), sum(tensor.numel() for tensor in kept)

    short, long = held(256), held(1024)
    assert short[0] == [2, 2, 2, 4, 3]
    assert long[1] == 4 * short[1]


def test_a_model_without_memory_has_its_shape() -> None:
    q, k, v, g = (tensor.to("meta") for tensor in single(inputs(2, 70)))
    assert gated_linear_attention(q, k, v, g).shape == (2, 70, 2, 3)


def test_compiles_without_a_graph_break() -> None:
    arguments, weights = inputs(1, 70), torch.randn(1, 70, 2, 3)
    torch._dynamo.reset()
    compiled = torch.compile(gated_linear_attention, backend="aot_eager", fullgraph=True)
    assert_close(all_of(compiled, arguments, weights), all_of(gated_linear_attention, arguments, weights))


def test_the_operators_are_what_they_say_to_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes, strides and precisions of the fake operators, and no input changed or returned."""
    monkeypatch.setattr(module, "TILE", 2**9)
    torch.library.opcheck(torch.ops.pdebench.gated_linear_attention.default, inputs(2, 70))
