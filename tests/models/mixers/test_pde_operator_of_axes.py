"""The PDE operator on sequences, images and clips, each against something computed another way."""

from __future__ import annotations

import math
from functools import reduce
from itertools import product

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdebench.models.mixer_context import MixerContext
from pdebench.models.mixers.pde import PDEMixer, PDEOperator
from pdebench.models.options import PDEOptions
from pdebench.ops.spectral import backend_of

GRIDS = [(7,), (6,), (3, 4), (3, 4, 5), (4, 3, 4), (2, 4, 2)]
FORMS = ("full", "diagonal", "isotropic", "off")
DOUBLE = torch.float64


def operator(grid: tuple[int, ...], channels: int = 2, seed: int = 0, **options: object) -> PDEOperator:
    """A float64 operator with every parameter moved away from its initial value."""
    torch.manual_seed(seed)
    built = PDEOperator(channels, grid, PDEOptions(**options)).double()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return built


def derivative(n: int, order: int) -> np.ndarray:
    """The dense first or second derivative of n periodic points on a unit interval (Trefethen 2000, ch. 3)."""
    k = 2j * np.pi * np.fft.fftfreq(n, 1 / n)
    if n % 2 == 0 and order % 2:
        k[n // 2] = 0
    return np.fft.ifft(k[:, None] ** order * np.fft.fft(np.eye(n), axis=0), axis=0).real


def along(grid: tuple[int, ...], orders: dict[int, int]) -> np.ndarray:
    """Derivatives along some axes of a flattened grid, of the orders given."""
    return reduce(np.kron, [derivative(n, orders[a]) if a in orders else np.eye(n) for a, n in enumerate(grid)])


def tensor(op: PDEOperator, axes: int, channel: int, state: int) -> np.ndarray:
    """K = L L^T of the parameters, by its definition."""
    lengths = op.log_length[:, channel, state].exp().tolist()
    factor = np.diag(lengths if len(lengths) == axes else lengths * axes)
    if op.shear is not None:
        below = [(row, column) for row in range(axes) for column in range(row)]
        for place, value in zip(
            below, op.shear.reshape(-1, *op.readout.shape)[:, channel, state].tolist(), strict=True
        ):
            factor[place] = value
    return factor @ factor.T / 2


def generator(op: PDEOperator, grid: tuple[int, ...], channel: int, state: int) -> np.ndarray:
    """L = div(K grad) - v . grad + r on the flattened grid."""
    size = math.prod(grid)
    found = np.zeros((size, size))
    if op.log_length is not None:
        k = tensor(op, len(grid), channel, state)
        for a, b in product(range(len(grid)), repeat=2):
            found += k[a, b] * along(grid, {a: 2} if a == b else {a: 1, b: 1})
    if op.velocity is not None:
        for a, v in enumerate(op.velocity[:, channel, state].tolist()):
            found -= v * along(grid, {a: 1})
    if op.reaction is not None:
        found += op.bounded_reaction()[channel, state].item() * np.eye(size)
    return found


def below_nyquist(x: torch.Tensor, axes: int) -> torch.Tensor:
    """`x` without what it has at the Nyquist frequencies of even sides."""
    for axis in range(-axes, 0):
        n = x.shape[axis]
        if n % 2 == 0:
            spectrum = torch.fft.fft(x, dim=axis)
            spectrum.select(axis, n // 2).zero_()
            x = torch.fft.ifft(spectrum, dim=axis).real
    return x


def refined(x: torch.Tensor, axes: int) -> torch.Tensor:
    """Periodic values at twice as many points along each axis, by trigonometry with the least oscillation."""
    for axis in range(-axes, 0):
        n = x.shape[axis]
        spectrum = torch.fft.fft(x, dim=axis)
        wide = torch.zeros(*x.shape[:axis], 2 * n, *x.shape[axis:][1:], dtype=spectrum.dtype)
        for m in range(n):
            wave = m if 2 * m <= n else m - n
            for place in {wave, -wave} if 2 * m == n else {wave}:
                share = 0.5 if 2 * m == n else 1
                wide.select(axis, place % (2 * n)).add_(2 * share * spectrum.select(axis, m))
        x = torch.fft.ifft(wide, dim=axis).real
    return x


def expected(op: PDEOperator, x: torch.Tensor, tau: float, fine: int) -> np.ndarray:
    """The solution of every state on a grid `fine` times as fine, by dense matrix exponentials, at the tokens."""
    grid = tuple(x.shape[1:])
    finer = refined(x, len(grid)) if fine == 2 else x
    found = []
    for channel, values in enumerate(finer.numpy()):
        total = op.skip[channel].item() * x[channel].numpy()
        for state in range(op.options.states):
            propagator = scipy.linalg.expm(tau * generator(op, values.shape, channel, state))
            evolved = (propagator @ values.flatten()).reshape(values.shape)
            total = total + op.readout[channel, state].item() * evolved[tuple(slice(None, None, fine) for _ in grid)]
        found.append(total)
    return np.stack(found)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("states", [1, 3])
def test_below_the_nyquist_frequency_it_is_the_matrix_exponential(
    grid: tuple[int, ...], form: str, states: int
) -> None:
    op = operator(grid, diffusion=form, states=states)
    x = below_nyquist(torch.randn(1, 2, *grid, dtype=DOUBLE), len(grid))
    tau = torch.full((1, 2), 0.7, dtype=DOUBLE)
    with torch.no_grad():
        np.testing.assert_allclose(op(x)[0].numpy(), expected(op, x[0], 1.0, 1), atol=1e-10)
        np.testing.assert_allclose(op(x, tau)[0].numpy(), expected(op, x[0], 0.7, 1), atol=1e-10)


@pytest.mark.parametrize("grid", [(5,), (6,), (3, 4), (2, 3, 4), (3, 2, 3)], ids=str)
@pytest.mark.parametrize("off", [None, "convection", "reaction"])
def test_at_it_too_it_is_the_solution_for_the_interpolant_of_the_tokens(grid: tuple[int, ...], off: str | None) -> None:
    op = operator(grid, channels=1, **({off: False} if off else {}))
    x = torch.randn(1, 1, *grid, dtype=DOUBLE)
    with torch.no_grad():
        np.testing.assert_allclose(op(x)[0].numpy(), expected(op, x[0], 1.0, 2), atol=1e-10)


@given(grid=st.sampled_from(GRIDS), form=st.sampled_from(FORMS), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_symbol_is_of_a_real_kernel(grid: tuple[int, ...], form: str, seed: int) -> None:
    op = operator(grid, diffusion=form, states=2, seed=seed)
    x = torch.randn(2, 2, *grid, dtype=DOUBLE)
    axes, half = tuple(range(2, x.dim())), op.symbol(*grid).detach()
    places = np.meshgrid(*(np.arange(n) for n in grid), indexing="ij")
    own, mirror = np.array(places), np.array([-p % n for p, n in zip(places, grid, strict=True)])
    held = own[-1] <= grid[-1] // 2
    at = torch.from_numpy(np.where(held, own, mirror))
    whole = half[(slice(None), *at)]
    whole = torch.where(torch.from_numpy(held), whole, whole.conj())
    y = torch.fft.ifftn(torch.fft.fftn(x, dim=axes) * whole, dim=axes)
    torch.testing.assert_close(y.imag, torch.zeros_like(y.imag), atol=1e-12, rtol=0)
    torch.testing.assert_close(op(x), y.real, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("grid", [(7,), (5, 3), (3, 5, 7)], ids=str)
def test_solving_twice_is_solving_for_the_sum(grid: tuple[int, ...]) -> None:
    op = operator(grid)
    with torch.no_grad():
        op.readout.fill_(1)
        op.skip.zero_()
    x = torch.randn(2, 2, *grid, dtype=DOUBLE)
    first, second = torch.rand(2, 2, 2, dtype=DOUBLE) + 0.2
    torch.testing.assert_close(op(op(x, first), second), op(x, first + second))


def drifting(grid: tuple[int, ...], moves: tuple[int, ...]) -> PDEOperator:
    """Convection alone, by whole tokens along each axis."""
    op = PDEOperator(1, grid, PDEOptions(diffusion="off", reaction=False)).double()
    with torch.no_grad():
        op.velocity.copy_(torch.tensor([m / n for m, n in zip(moves, grid, strict=True)], dtype=DOUBLE).view(-1, 1, 1))
        op.readout.fill_(1)
        op.skip.zero_()
    return op


@given(data=st.data(), grid=st.sampled_from([(6,), (4, 5), (4, 6, 5), (3, 4, 4)]))
@settings(max_examples=25, deadline=None)
def test_drift_by_whole_tokens_is_a_roll(data: st.DataObject, grid: tuple[int, ...]) -> None:
    moves = data.draw(st.tuples(*(st.integers(-n, n) for n in grid)))
    x = torch.randn(2, 1, *grid, dtype=DOUBLE)
    with torch.no_grad():
        torch.testing.assert_close(drifting(grid, moves)(x), x.roll(moves, tuple(range(2, x.dim()))))


def test_a_sprite_that_moves_steadily_over_a_torus_is_predicted_frame_by_frame() -> None:
    """Known answer: clip[t] is the sprite moved by t v, so a drift of v in the plane takes each frame to the next."""
    frames, h, w, velocity = 6, 8, 9, (1, -2)
    sprite = torch.zeros(h, w, dtype=DOUBLE)
    sprite[2:5, 3:6] = torch.randn(3, 3, dtype=DOUBLE)
    clip = torch.stack([sprite.roll((t * velocity[0], t * velocity[1]), (0, 1)) for t in range(frames)])
    with torch.no_grad():
        next_frames = drifting((frames, h, w), (0, *velocity))(clip[None, None])[0, 0]
    torch.testing.assert_close(next_frames[:-1], clip[1:])
    # and the drift through time alone is the clip a frame later
    with torch.no_grad():
        later = drifting((frames, h, w), (1, 0, 0))(clip[None, None])[0, 0]
    torch.testing.assert_close(later[1:], clip[:-1])


@pytest.mark.parametrize("padding", ["periodic", "zero"])
def test_the_same_weights_are_the_same_operator_on_a_finer_grid(padding: str) -> None:
    """Of what the coarse grid resolves; with zero padding only of a clip that leaves its edges dark."""
    coarse, op = (3, 5, 5), operator((3, 5, 5), padding=padding)
    fine = tuple(2 * n for n in coarse)
    x = below_nyquist(torch.randn(1, 2, *coarse, dtype=DOUBLE), 3)
    with torch.no_grad():
        if padding == "zero":
            assert op(x).shape == x.shape
            assert op(refined(x, 3)).shape == (1, 2, *fine)
        else:
            torch.testing.assert_close(op(refined(x, 3))[..., ::2, ::2, ::2], op(x))


def test_zero_padding_brings_nothing_back_over_the_edges_of_a_clip() -> None:
    grid = (4, 4, 4)
    op = PDEOperator(1, grid, PDEOptions(diffusion="off", reaction=False, padding="zero")).double()
    x = torch.zeros(1, 1, *grid, dtype=DOUBLE)
    x[..., 3, 3, 3] = 1
    with torch.no_grad():
        op.velocity.fill_(0.5)
        op.readout.fill_(1)
        op.skip.zero_()
        assert op(x).abs().max() < 1e-12
        x[..., 3, 3, 3], x[..., 0, 0, 0] = 0, 1
        torch.testing.assert_close(op(x)[0, 0, 2, 2, 2], torch.ones((), dtype=DOUBLE))


@pytest.mark.parametrize("grid", [(5,), (4, 3), (2, 3, 4), (3, 4, 2)], ids=str)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("selective", [False, True])
def test_gradients(grid: tuple[int, ...], form: str, selective: bool) -> None:
    op = operator(grid, states=2, diffusion=form)
    x = torch.randn(3, 2, *grid, dtype=DOUBLE, requires_grad=True)
    tau = (torch.rand(3, 2, dtype=DOUBLE) + 0.5).requires_grad_() if selective else None
    given = [x, *op.parameters(), *([tau] if tau is not None else [])]
    assert torch.autograd.gradcheck(lambda *_: op(x, tau), given, fast_mode=True)


@pytest.mark.parametrize("form", ["full", "diagonal"])
def test_a_compiled_symbol_of_a_clip_is_the_symbol(form: str) -> None:
    op = operator((2, 3, 4), diffusion=form, states=2)

    def outcome(symbol: object) -> list[torch.Tensor]:
        found = torch.view_as_real(symbol(2, 3, 4))
        weights = torch.linspace(-1, 1, found.numel(), dtype=DOUBLE).view(found.shape)
        grads = torch.autograd.grad((found * weights).sum(), list(op.parameters()), allow_unused=True)
        return [found, *(grad for grad in grads if grad is not None)]

    compiled = torch.compile(op.symbol, backend="aot_eager", fullgraph=True, dynamic=False)
    for ours, eager in zip(outcome(compiled), outcome(op.symbol), strict=True):
        torch.testing.assert_close(ours, eager)


def test_a_step_of_half_a_token_or_more_decays_to_exact_zeros_without_a_nan() -> None:
    op = PDEOperator(1, (4, 8, 8), PDEOptions())
    with torch.no_grad():
        op.log_length.fill_(100.0)
    x = torch.randn(2, 1, 4, 8, 8, requires_grad=True)
    y = op(x)
    grads = torch.autograd.grad(y.square().sum(), [x, *op.parameters()])
    assert all(tensor.isfinite().all() for tensor in (y, *grads))
    assert not op.symbol(4, 8, 8)[0, 1:, 1:, 1:].sub(op.skip[0]).abs().any()


def test_initial_drifts_have_the_lengths_of_diffusion_and_all_directions() -> None:
    torch.manual_seed(0)
    op = PDEOperator(400, (4, 16, 16), PDEOptions())
    torch.testing.assert_close(op.velocity.norm(dim=0), op.log_length[0].exp())
    directions = op.velocity / op.velocity.norm(dim=0)
    assert directions.mean((1, 2)).abs().max() < 0.1
    torch.testing.assert_close(directions.square().mean((1, 2)), torch.full((3,), 1 / 3), atol=0.05, rtol=0)


def test_a_mixer_says_what_runs_on_a_clip() -> None:
    mixer = PDEMixer(MixerContext(8, 1, (4, 8, 8), 0, 1), PDEOptions())
    if not torch.cuda.is_available():
        assert mixer.implementation == "packed complex fftn"
    assert backend_of("cuda", (4, 8, 8), torch.bfloat16) == "half spectra (rfft2)"  # no kernel, no matrices
