"""The exact properties of the PDE-SSM operator, each against something computed another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from moved_operators import operator

from pdebench.models.mixers.pde import PDEOperator
from pdebench.models.options import PDEOptions
from pdebench.ops.pde_symbol import MAX_REACTION

SIDES = st.integers(3, 7)
FORMS = ("full", "diagonal", "isotropic", "off")


def differentiation(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Dense first- and second-derivative matrices of n points on a periodic unit interval (Trefethen 2000, ch. 3)."""
    k = 2j * np.pi * np.fft.fftfreq(n, 1 / n)
    first = k.copy()
    if n % 2 == 0:
        first[n // 2] = 0
    transform = np.fft.fft(np.eye(n), axis=0)
    inverse = np.fft.ifft(np.eye(n), axis=0)
    return (inverse * first @ transform).real, (inverse * k**2 @ transform).real


def dense_generator(op: PDEOperator, h: int, w: int, channel: int, state: int) -> np.ndarray:
    """L = div(K grad) - v . grad + r on the flattened h x w grid."""
    (dy, dyy), (dx, dxx) = differentiation(h), differentiation(w)
    eye_h, eye_w = np.eye(h), np.eye(w)
    generator = np.zeros((h * w, h * w))
    if op.log_length is not None:
        k_yy, k_xx, k_yx = (0 if k is None else k[channel, state].item() for k in op.diffusion_tensor())
        generator += k_yy * np.kron(dyy, eye_w) + k_xx * np.kron(eye_h, dxx) + 2 * k_yx * np.kron(dy, dx)
    if op.velocity is not None:
        v_y, v_x = op.velocity[:, channel, state].tolist()
        generator -= v_y * np.kron(dy, eye_w) + v_x * np.kron(eye_h, dx)
    if op.reaction is not None:
        generator += op.bounded_reaction()[channel, state].item() * np.eye(h * w)
    return generator


def interpolation(n: int) -> np.ndarray:
    """(2 n, n): n periodic values at twice as many points, by trigonometry with the least oscillation (ibid.)."""
    apart = np.pi * (np.arange(2 * n)[:, None] / (2 * n) - np.arange(n) / n)
    under = np.tan(apart) if n % 2 == 0 else np.sin(apart)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.sin(n * apart) / (n * under)
    found[::2] = np.eye(n)
    return found


def solved(op: PDEOperator, x: torch.Tensor, tau: float = 1.0) -> np.ndarray:
    """The PDE of every state solved for the interpolant of `x` (D, h, w) by matrix exponentials, at the points of `x`.

    On a grid that is twice as fine, which resolves the interpolant's every frequency with its sign.
    """
    (h, w), found = x.shape[1:], []
    up_y, up_x = interpolation(h), interpolation(w)
    for channel, tokens in enumerate(x.numpy()):
        total = op.skip[channel].item() * tokens
        fine = up_y @ tokens @ up_x.T
        for state in range(op.options.states):
            propagator = scipy.linalg.expm(tau * dense_generator(op, 2 * h, 2 * w, channel, state))
            evolved = (propagator @ fine.flatten()).reshape(fine.shape)
            total = total + op.readout[channel, state].item() * evolved[::2, ::2]
        found.append(total)
    return np.stack(found)


@given(h=SIDES, w=SIDES, states=st.sampled_from([1, 3]), diffusion=st.sampled_from(FORMS), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_is_the_solution_for_the_interpolant_of_the_tokens(
    h: int, w: int, states: int, diffusion: str, seed: int
) -> None:
    op = operator(h, w, states=states, diffusion=diffusion, seed=seed)
    x = torch.randn(1, 2, h, w, dtype=torch.float64)
    np.testing.assert_allclose(op(x)[0].detach().numpy(), solved(op, x[0]), atol=1e-10)


@given(h=SIDES, w=SIDES, tau=st.floats(0.1, 3))
@settings(max_examples=40)
def test_selective_tau_scales_time(h: int, w: int, tau: float) -> None:
    op = operator(h, w, states=2)
    x = torch.randn(1, 2, h, w, dtype=torch.float64)
    y = op(x, torch.full((1, 2), tau, dtype=torch.float64))
    np.testing.assert_allclose(y[0].detach().numpy(), solved(op, x[0], tau), atol=1e-10)


@given(h=SIDES, w=SIDES, diffusion=st.sampled_from(FORMS), seed=st.integers(0, 99))
def test_below_the_nyquist_frequency_it_is_the_matrix_exponential(h: int, w: int, diffusion: str, seed: int) -> None:
    op = operator(h, w, diffusion=diffusion, seed=seed)
    x = below_nyquist(torch.randn(1, 2, h, w, dtype=torch.float64))
    with torch.no_grad():
        y = op(x)
    for channel in range(2):
        flat = x[0, channel].flatten().numpy()
        propagator = scipy.linalg.expm(dense_generator(op, h, w, channel, 0))
        expected = op.skip[channel].item() * flat + op.readout[channel, 0].item() * (propagator @ flat)
        np.testing.assert_allclose(y[0, channel].flatten().numpy(), expected, atol=1e-10)


def below_nyquist(x: torch.Tensor) -> torch.Tensor:
    """`x` (..., h, w) without what it has at the Nyquist frequencies of even sides."""
    h, w = x.shape[-2:]
    spectrum = torch.fft.rfft2(x)
    if h % 2 == 0:
        spectrum[..., h // 2, :] = 0
    if w % 2 == 0:
        spectrum[..., w // 2] = 0
    return torch.fft.irfft2(spectrum, s=(h, w))


@given(h=st.integers(2, 9), w=st.integers(2, 9), diffusion=st.sampled_from(FORMS), seed=st.integers(0, 99))
def test_real_in_real_out(h: int, w: int, diffusion: str, seed: int) -> None:
    op = operator(h, w, diffusion=diffusion, states=2, seed=seed)
    half = op.symbol(h, w).detach()
    rows, columns = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    mirrored = half[:, -rows % h, (-columns % w).clamp(max=w // 2)].conj()
    full = torch.where(columns <= w // 2, half[:, rows, columns.clamp(max=w // 2)], mirrored)
    x = torch.randn(3, 2, h, w, dtype=torch.float64)
    complex_road = torch.fft.ifft2(torch.fft.fft2(x) * full)
    assert complex_road.imag.abs().max() < 1e-12
    torch.testing.assert_close(op(x), complex_road.real, atol=1e-12, rtol=1e-12)


@given(t1=st.floats(0.05, 2), t2=st.floats(0.05, 2), diffusion=st.sampled_from(FORMS))
def test_semigroup(t1: float, t2: float, diffusion: str) -> None:
    op = operator(6, 5, diffusion=diffusion)
    with torch.no_grad():
        op.skip.zero_()
        op.readout.fill_(1)

    def symbol(tau: float) -> torch.Tensor:  # below the Nyquist frequency, row 3
        return op.symbol(6, 5, tau=torch.full((1, 2), tau, dtype=torch.float64))[..., [0, 1, 2, 4, 5], :]

    torch.testing.assert_close(symbol(t1 + t2), symbol(t1) * symbol(t2), atol=1e-12, rtol=1e-10)


def only(h: int, w: int, **terms: object) -> PDEOperator:
    """One channel, one state, D = 0, c = 1, and just the terms named."""
    switched_off = {"diffusion": "off", "convection": False, "reaction": False}
    op = PDEOperator(1, (h, w), PDEOptions(**(switched_off | terms))).double()
    with torch.no_grad():
        op.skip.zero_()
        op.readout.fill_(1)
    return op


@pytest.mark.parametrize(("h", "w"), [(5, 7), (9, 9), (8, 8), (6, 5), (16, 16)])
def test_pure_convection_by_whole_tokens_is_a_roll_of_anything(h: int, w: int) -> None:
    op = only(h, w, convection=True)
    x = torch.randn(2, 1, h, w, dtype=torch.float64)
    for down, right in [(1, 0), (0, 2), (-2, 3)]:
        with torch.no_grad():
            op.velocity.copy_(torch.tensor([down / h, right / w], dtype=torch.float64).view(2, 1, 1))
        torch.testing.assert_close(op(x), x.roll((down, right), (2, 3)), atol=1e-12, rtol=0)


def test_by_half_a_token_twice_the_finest_wave_of_an_even_grid_is_gone_and_no_other() -> None:
    """A quarter of white noise on 16 x 16 tokens in amplitude: half a token on, that wave is zero at every token."""
    op, x = only(16, 16, convection=True), torch.randn(200, 1, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        op.velocity.copy_(torch.tensor([0.5 / 16, 0]).view(2, 1, 1))
        lost = op(op(x)) - x.roll(1, 2)
        assert lost.square().mean().sqrt().item() == pytest.approx(0.25, rel=0.05)
        x = below_nyquist(x)
        torch.testing.assert_close(op(op(x)), x.roll(1, 2), atol=1e-12, rtol=0)


def test_pure_diffusion_of_a_point_is_the_periodised_gaussian() -> None:
    n = 33
    op = only(n, n, diffusion="full")
    with torch.no_grad():
        op.log_length.copy_(torch.tensor([0.10, 0.16]).log().view(2, 1, 1))
        op.shear.fill_(0.05)
        point = torch.zeros(1, 1, n, n, dtype=torch.float64)
        point[..., 0, 0] = 1
        measured = op(point)[0, 0]
    k_yy, k_xx, k_yx = (k.item() for k in op.diffusion_tensor())
    covariance = 2 * np.array([[k_yy, k_yx], [k_yx, k_xx]])  # of the heat kernel after tau = 1
    inverse, determinant = np.linalg.inv(covariance), np.linalg.det(covariance)
    wraps = np.arange(-4, 5)
    y = (np.arange(n) / n)[:, None, None, None] + wraps[None, None, :, None]
    x = (np.arange(n) / n)[None, :, None, None] + wraps[None, None, None, :]
    quadratic = inverse[0, 0] * y**2 + 2 * inverse[0, 1] * y * x + inverse[1, 1] * x**2
    density = np.exp(-quadratic / 2).sum((2, 3)) / (2 * math.pi * math.sqrt(determinant))
    np.testing.assert_allclose(measured.numpy(), density / n**2, atol=1e-9)


@given(h=SIDES, w=SIDES, diffusion=st.sampled_from(FORMS))
def test_without_reaction_the_mean_is_conserved(h: int, w: int, diffusion: str) -> None:
    op = operator(h, w, diffusion=diffusion, reaction=False)
    with torch.no_grad():
        op.skip.zero_()
        op.readout.fill_(1)
    x = torch.randn(1, 2, h, w, dtype=torch.float64)
    torch.testing.assert_close(op(x).mean((2, 3)), x.mean((2, 3)))


@given(
    spread=st.sampled_from([1.0, 10.0, 100.0, 1e4]),
    seed=st.integers(0, 99),
    single=st.booleans(),
    form=st.sampled_from(FORMS),
)
def test_never_grows_without_bound(spread: float, seed: int, single: bool, form: str) -> None:
    op = operator(8, 7, spread=spread, seed=seed, diffusion=form)
    with torch.no_grad():
        op.skip.zero_()
        op.readout.fill_(1)
    op = op.float() if single else op
    gain = op.symbol(8, 7).abs()
    bound = op.bounded_reaction().clamp(min=0).exp()[..., None]
    assert torch.isfinite(gain).all()
    assert (gain <= bound * (1 + 1e-5)).all()
    assert op.bounded_reaction().max() <= MAX_REACTION


def test_an_exponent_beyond_float_range_is_exactly_zero_and_has_no_nan_gradient() -> None:
    for form in ("full", "diagonal", "isotropic"):
        op = PDEOperator(1, (8, 8), PDEOptions(diffusion=form))
        with torch.no_grad():
            op.log_length.fill_(3.0)
            op.skip.zero_()
        symbol = op.symbol(8, 8)
        assert (symbol[:, 1:, 1:] == 0).all()
        op(torch.randn(1, 1, 8, 8, requires_grad=True)).square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in op.parameters())


def test_off_terms_have_no_parameters() -> None:
    def count(**options: object) -> int:
        return sum(p.numel() for p in PDEOperator(1, (8, 8), PDEOptions(**options)).parameters())

    assert count() == 3 + 2 + 1 + 1 + 1  # K, v, r, c, D
    assert count(diffusion="diagonal") == count() - 1
    assert count(diffusion="isotropic") == count() - 2
    assert count(diffusion="off") == count() - 3
    assert count(convection=False) == count() - 2
    assert count(reaction=False) == count() - 1
    assert count(states=4) == 4 * (count() - 1) + 1


def test_same_weights_are_the_same_operator_on_a_finer_grid() -> None:
    op = operator(16, 16, channels=3, states=2)
    x, finer = torch.randn(1, 3, 16, 16, dtype=torch.float64), torch.tensor(interpolation(16))
    torch.testing.assert_close(op(x), op(finer @ x @ finer.T)[..., ::2, ::2], atol=1e-10, rtol=0)


def test_zero_padding_does_not_wrap_around() -> None:
    corner = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    corner[..., 0, 0] = 1
    opposite = {}
    for padding in ("periodic", "zero"):
        op = only(16, 16, diffusion="isotropic", padding=padding)
        with torch.no_grad():
            op.log_length.fill_(math.log(0.1))
            opposite[padding] = op(corner)[0, 0, -1, -1].item()
            inside = op(corner)[0, 0, 1, 1].item()
    assert opposite["periodic"] > 0.5 * inside
    assert abs(opposite["zero"]) < 1e-6 * inside


def comes_back(drift: float, length: float, n: int = 16) -> float:
    """Share of a token's mass, the mean over all tokens, that a padded operator brings back over an edge.

    What it leaves inside the image less what the whole plane would; drift down and diffusive length in sides.
    """
    op = only(n, n, diffusion="isotropic", convection=True, padding="zero")
    with torch.no_grad():
        op.log_length.fill_(math.log(length))
        op.velocity.copy_(torch.tensor([drift, 0.0]).view(2, 1, 1))
        inside = op(torch.ones(1, 1, n, n, dtype=torch.float64)).mean().item()
    apart = (np.arange(n)[:, None] - np.arange(n)) / n
    along, across = (
        np.exp(-(((apart - v) / length) ** 2) / 2) / (n * length * math.sqrt(2 * math.pi)) for v in (drift, 0)
    )
    return inside - along.sum(1).mean() * across.sum(1).mean()


def test_with_zero_padding_little_comes_back_below_half_a_side_and_some_of_diffusion_always() -> None:
    for drift in (0, 0.25, 0.5):
        assert abs(comes_back(drift, 0.1)) < 1e-5
        assert abs(comes_back(drift, 0.2)) < 5e-4
    assert comes_back(0, 1) == pytest.approx(0.117, abs=0.001)
    assert comes_back(0.75, 0.3) == pytest.approx(0.026, abs=0.001)
    assert comes_back(1, 0.1) == pytest.approx(0.036, abs=0.001)


@pytest.mark.parametrize("tau", [None, 1.0, 3.0])
def test_with_zero_padding_no_drift_is_longer_than_a_side(tau: float | None) -> None:
    """By two sides 85% would be back; by 1.2 a fifth."""
    assert comes_back(2, 0.1) < 0.08
    op, x = only(8, 8, convection=True, padding="zero"), torch.randn(1, 1, 8, 8, dtype=torch.float64)
    taus = None if tau is None else torch.full((1, 1), tau, dtype=torch.float64)
    outputs = []
    for drift in ((1.0, -1.0), (1.2, -7.0)):
        with torch.no_grad():
            op.velocity.copy_(torch.tensor(drift, dtype=torch.float64).view(2, 1, 1))
            outputs.append(op(x, taus))
    assert torch.equal(*outputs)
    periodic = only(8, 8, convection=True)
    with torch.no_grad():
        periodic.velocity.fill_(1.5)
    torch.testing.assert_close(periodic(x), x.roll((4, 4), (2, 3)))  # a torus has no edge to be kept inside of
