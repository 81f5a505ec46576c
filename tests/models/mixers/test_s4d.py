"""S4D by FFT against its recurrence in float64, one token at a time and both ways: values and all gradients."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pdebench.models.mixers.base import MixerContext
from pdebench.models.mixers.s4d import S4D, LongConvolution, Powers, S4DMixer
from pdebench.models.options import NoOptions
from pdebench.plan.cost import count_by_name


def recurrence(operator: S4D, u: Tensor) -> Tensor:
    """The state space of each channel of `u` (B, D, L), run forward, then back from the token after."""
    a = -operator.log_decay.exp() + 1j * operator.frequency
    decay = torch.exp(operator.log_dt.exp()[:, None] * a)
    drive = (decay - 1) / a
    outputs = []
    tokens = u.unbind(-1)
    for direction, order in enumerate((tokens, tokens[::-1])):
        c = operator.readout[:, direction, :, 0] + 1j * operator.readout[:, direction, :, 1]
        state = u.new_zeros(*u.shape[:2], a.shape[1], dtype=torch.complex128)
        seen = []
        for token in order:
            if direction == 1:
                seen.append(2 * (c * state).sum(-1).real)
            state = decay * state + drive * token[..., None]
            if direction == 0:
                seen.append(2 * (c * state).sum(-1).real)
        outputs.append(torch.stack(seen if direction == 0 else seen[::-1], -1))
    return outputs[0] + outputs[1] + operator.skip[:, None] * u


def operator(channels: int = 3, states: int = 2, dt: float | None = None) -> S4D:
    """A float64 operator with every parameter moved away from its initial value, its step sizes near `dt`."""
    built = S4D(channels, states).double()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        if dt is not None:
            built.log_dt.copy_(math.log(dt) + 0.1 * torch.randn(channels))
    return built


def gradients(y: Tensor, u: Tensor, built: S4D, weights: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(y, (u, *built.parameters()), weights)


@given(
    length=st.sampled_from([1, 2, 3, 4, 5, 16, 17, 40]),
    batch=st.integers(1, 3),
    dt=st.sampled_from([1e-6, 1e-3, 0.1, 30.0]),
    seed=st.integers(0, 99),
)
def test_equals_the_recurrence_with_all_gradients(length: int, batch: int, dt: float, seed: int) -> None:
    torch.manual_seed(seed)
    built = operator(dt=dt)
    u = torch.randn(batch, 3, length, dtype=torch.float64, requires_grad=True)
    ours, oracle = built(u), recurrence(built, u)
    torch.testing.assert_close(ours, oracle)
    weights = torch.randn_like(oracle)
    for got, wanted in zip(gradients(ours, u, built, weights), gradients(oracle, u, built, weights), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("length", [4096, pytest.param(16_384, marks=pytest.mark.exhaustive)])
def test_thousands_of_tokens_with_all_gradients(length: int) -> None:
    built = operator(channels=1, dt=1.6 / length)  # remembers most of them
    u = torch.randn(1, 1, length, dtype=torch.float64, requires_grad=True)
    oracle = recurrence(built, u)
    weights = torch.randn_like(oracle) / length**0.5
    wanted = gradients(oracle, u, built, weights)
    ours = built(u)
    torch.testing.assert_close(ours, oracle, rtol=1e-7, atol=1e-9)
    for got, expected in zip(gradients(ours, u, built, weights), wanted, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9)
    single, exact = built.float(), oracle.detach()
    assert (single(u.float()) - exact).norm() < 1e-4 * exact.norm()


def test_float32_at_its_initialisation_stays_close_to_float64() -> None:
    built = S4D(64)
    u = torch.randn(1, 64, 4096)
    single = built(u)
    exact = built.double()(u.double())
    assert single.dtype == torch.float32
    assert ((single - exact).norm(dim=-1) / exact.norm(dim=-1)).max() < 1e-4


@pytest.mark.parametrize("log_dt", [-1e4, -30.0, -12.0, 4.0, 30.0, 1e4])
@pytest.mark.parametrize("log_decay", [-1e4, 0.0, 1e4])
def test_nothing_overflows_at_extreme_steps_and_decays(log_dt: float, log_decay: float) -> None:
    built = S4D(2, 3)
    with torch.no_grad():
        built.log_dt.fill_(log_dt)
        built.log_decay.fill_(log_decay)
    u = torch.randn(2, 2, 1000, requires_grad=True)
    y = built(u)
    assert torch.isfinite(y).all()
    for grad in torch.autograd.grad(y, (u, *built.parameters()), torch.randn_like(y)):
        assert torch.isfinite(grad).all()


def test_no_state_grows_whatever_its_parameters() -> None:
    built = S4D(64, 1)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(5 * torch.randn_like(parameter))
        built.skip.zero_()
        kernel = built.kernel(5000)
        first = torch.view_as_complex(built.readout).norm(dim=1) * 2 * built.log_dt.clamp(max=5).exp()[:, None]
    assert (kernel.abs() <= 1.001 * first).all()  # |(exp(z) - 1) / A| <= dt for every Re z <= 0


def test_gradchecks() -> None:
    gain = torch.randn(2, 2, 3, dtype=torch.complex128, requires_grad=True)
    z = torch.complex(-torch.rand(2, 3).double(), torch.randn(2, 3).double()).requires_grad_()
    for length in (1, 2, 6, 9):
        assert torch.autograd.gradcheck(lambda g, z, n=length: Powers.apply(g, z, n), (gain, z))
    u = torch.randn(2, 2, 5, dtype=torch.float64, requires_grad=True)
    kernel = torch.randn(2, 10, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(LongConvolution.apply, (u, kernel))


def test_the_convolution_does_not_wrap_around() -> None:
    kernel = torch.zeros(1, 12)
    kernel[0, 5] = 1  # five tokens later
    kernel[0, -2] = 10  # two tokens earlier
    u = torch.arange(1.0, 7.0).view(1, 1, 6)
    torch.testing.assert_close(LongConvolution.apply(u, kernel), torch.tensor([[[30.0, 40, 50, 60, 0, 1]]]))


def test_initialisation_and_parameters_are_s4d_lins() -> None:
    mixer = S4DMixer(MixerContext(256, 4, (4, 4), 0, 1), NoOptions())
    built = mixer.operator
    assert torch.equal(built.frequency[5], math.pi * torch.arange(32))
    torch.testing.assert_close(-built.log_decay.exp(), torch.full((256, 32), -0.5))
    dt = built.log_dt.exp()
    assert 1e-3 <= dt.min() < 1.2e-3
    assert 0.08 < dt.max() <= 1e-1
    assert torch.view_as_complex(built.readout).abs().square().mean().item() == pytest.approx(1, rel=0.03)
    assert built.skip.eq(1).all()
    assert sum(p.numel() for p in mixer.parameters()) == 2 * (256**2 + 256) + 256 * (2 + 6 * 32)


def test_states_are_summed_without_a_vandermonde_matrix() -> None:
    """4,096 lags of 32 states would be 131,072 complex numbers a channel; what is kept for backward is 64 + 64 lags."""
    kept: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        S4D(2).kernel(4096)
    assert max(kept) == 2 * 32 * 64


def test_in_eval_mode_the_kernel_is_formed_once_until_a_parameter_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    built = S4D(3, 2)
    formed: list[int] = []
    form = built.kernel
    monkeypatch.setattr(built, "kernel", lambda length: (formed.append(length), form(length))[1])
    u = torch.randn(1, 3, 9)
    for _ in range(2):
        built(u)  # in training mode each time
    assert formed == [9, 9]
    built.eval()
    with torch.no_grad():
        first = built(u)
        assert torch.equal(built(u), first)
        built(u[..., :4])
        assert formed == [9, 9, 9, 4]
        built.skip.add_(1)
        torch.testing.assert_close(built(u), first + u)
    assert formed == [9, 9, 9, 4, 9]
    assert built(u).requires_grad


def test_does_not_commute_with_translations() -> None:
    mixer = S4DMixer(MixerContext(16, 1, (5, 8), 0, 1), NoOptions())

    def roll(tokens: Tensor) -> Tensor:
        return tokens.unflatten(1, (5, 8)).roll((2, -3), (1, 2)).flatten(1, 2)

    x, c = torch.randn(3, 40, 16), torch.zeros(3, 16)
    with torch.no_grad():
        got, rolled = mixer(roll(x), c), roll(mixer(x, c))
    assert (got - rolled).abs().max() > 1e-2 * rolled.abs().max()


def test_tokens_see_both_ways() -> None:
    mixer = S4DMixer(MixerContext(16, 1, (4, 4), 0, 1), NoOptions())
    x = torch.zeros(1, 16, 16, requires_grad=True)
    (grad,) = torch.autograd.grad(mixer(x, torch.zeros(1, 16))[0, 7].sum(), x)
    assert (grad[0].abs().amax(-1) > 1e-6).all()


def test_kernel_and_transforms_are_float32_under_autocast() -> None:
    built = S4D(16)
    u = torch.randn(2, 16, 50, requires_grad=True)
    exact = built(u)
    exact_gradients = gradients(exact, u, built, torch.ones_like(exact))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = built(u)
        got = gradients(y, u, built, torch.ones_like(y))
    assert torch.equal(y, exact)
    for ours, wanted in zip(got, exact_gradients, strict=True):
        assert torch.equal(ours, wanted)


def test_the_counter_sees_two_transforms_of_twice_the_tokens_and_lists_the_kernel() -> None:
    cost, _ = count_by_name("S4D-DiT-XXS/4", input_size=32)
    depth, width, points = 4, 128, 2 * 64
    assert cost.by_kind["fft"] == depth * width * 2 * (5 / 4 * points * math.log2(points))
    assert cost.by_kind["complex product"] == depth * width * 3 * 65
    assert cost.uncounted["prim::PythonOp.Powers"] == depth
