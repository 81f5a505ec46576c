"""WaveFormer's mixer against the matrix exponential of the damped wave equation as a system of first order."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from pdebench.models.mixers.base import MixerContext
from pdebench.models.mixers.wave import DampedWave
from pdebench.models.options import NoOptions
from pdebench.ops.wave import WaveProduct, propagators

WIDTH = 8


def laplacian(points: int) -> np.ndarray:
    """Of a torus of side 1, by Fourier."""
    frequencies = 2 * np.pi * points * np.fft.fftfreq(points)
    return np.fft.ifft(-(frequencies**2)[:, None] * np.fft.fft(np.eye(points), axis=0), axis=0).real


def solution(h: int, w: int, speed: float, damping: float) -> Tensor:
    """(N, 2 N): what u and u_t at t = 0 make of u at t = 1."""
    waves = speed**2 * (np.kron(laplacian(h), np.eye(w)) + np.kron(np.eye(h), laplacian(w)))
    still, one = np.zeros_like(waves), np.eye(h * w)
    system = np.block([[still, one], [waves, -damping * one]])
    return torch.from_numpy(scipy.linalg.expm(system)[: h * w])


# damping that oscillates, that does not, and that at some frequency is exactly between (2 pi c = alpha / 2)
CASES = [(0.3, 0.1), (0.05, 5.0), (0.001, 40.0), (0.1, 0.4 * math.pi), (0.1, 0.4 * math.pi + 1e-7), (1.0, 1e-3)]


@pytest.mark.parametrize(("speed", "damping"), CASES)
@pytest.mark.parametrize(("h", "w"), [(4, 4), (3, 5), (1, 6)])
def test_equals_the_matrix_exponential_with_all_gradients(h: int, w: int, speed: float, damping: float) -> None:
    c, alpha = (torch.full((2,), value, dtype=torch.float64, requires_grad=True) for value in (speed, damping))
    u, v = (torch.randn(3, 2, h, w, dtype=torch.float64, requires_grad=True) for _ in "uv")
    y = WaveProduct.apply(u, v, *propagators(c, alpha, h, w))
    matrix = solution(h, w, speed, damping)
    fields = torch.cat((u.flatten(2), v.flatten(2)), -1)
    expected = (fields @ matrix.t()).view_as(u)
    torch.testing.assert_close(y, expected)
    weights = torch.randn_like(y)
    found = torch.autograd.grad(y, (u, v, c, alpha), weights)
    for got, wanted in zip(found, torch.autograd.grad(expected, (u, v), weights), strict=False):
        torch.testing.assert_close(got, wanted)
    # what speed and damping are worth, by differences of the oracle
    for got, step in zip(found[2:], ((1e-5, 0.0), (0.0, 1e-5)), strict=True):
        more, less = (solution(h, w, speed + s * step[0], damping + s * step[1]) for s in (1, -1))
        change = (fields @ (more - less).t()).view_as(u) / 2e-5
        torch.testing.assert_close(got.sum(), (change * weights).sum(), rtol=1e-4, atol=1e-5)


@given(log_speed=st.floats(-14, 6), log_damping=st.floats(-14, 6))
def test_no_damping_or_speed_makes_what_is_no_number(log_speed: float, log_damping: float) -> None:
    parameters = [torch.tensor([value], requires_grad=True) for value in (log_speed, log_damping)]
    p, q = propagators(*(parameter.exp() for parameter in parameters), 16, 16)
    assert p.isfinite().all()
    assert q.isfinite().all()
    assert p.abs().max() < 1.01  # energy never grows
    for gradient in torch.autograd.grad(p.sum() + q.sum(), parameters):
        assert gradient.isfinite().all()


def mixer(h: int, w: int) -> DampedWave:
    built = DampedWave(MixerContext(WIDTH, 1, (h, w), 0, 1), NoOptions()).double()
    built.initialise()
    with torch.no_grad():
        built.log_speed.add_(torch.randn(WIDTH))
        built.log_damping.add_(2 + torch.randn(WIDTH))
    return built


def test_the_mixer_is_its_parts_in_order() -> None:
    h, w = 3, 4
    built = mixer(h, w)
    x = torch.randn(2, h * w, WIDTH, dtype=torch.float64)
    image = x.transpose(1, 2).view(2, WIDTH, h, w)
    image = F.conv2d(image, built.convolution.weight, built.convolution.bias, padding=1, groups=WIDTH)
    u, v, z = built.in_proj(image.flatten(2).transpose(1, 2)).chunk(3, -1)
    moved = torch.stack([
        torch.cat((u[..., d], v[..., d]), -1)
        @ solution(h, w, built.log_speed[d].exp().item(), built.log_damping[d].exp().item()).t()
        for d in range(WIDTH)
    ], -1)  # fmt: skip
    expected = built.out_proj(F.layer_norm(moved, (WIDTH,), built.norm.weight, built.norm.bias) * F.silu(z))
    torch.testing.assert_close(built(x, None), expected)


def test_the_same_weights_are_the_same_waves_on_a_finer_grid() -> None:
    built = mixer(8, 8)
    places = torch.arange(16, dtype=torch.float64) / 16
    y, x = torch.meshgrid(places, places, indexing="ij")
    waves = [torch.cos(2 * math.pi * (m * y + n * x) + shift) for m, n, shift in [(1, 0, 0.3), (2, -1, 1), (0, 3, 2)]]
    fine = torch.einsum("khw,kd->dhw", torch.stack(waves), torch.randn(3, WIDTH).double())[None]
    coarse = fine[..., ::2, ::2]
    moved = WaveProduct.apply(fine, fine, *built.propagators(16, 16))
    torch.testing.assert_close(moved[..., ::2, ::2], WaveProduct.apply(coarse, coarse, *built.propagators(8, 8)))


def test_waves_commute_with_translations_and_mirrors() -> None:
    p, q = (symbol.detach() for symbol in mixer(4, 6).propagators(4, 6))
    u, v = (torch.randn(1, WIDTH, 4, 6, dtype=torch.float64) for _ in "uv")
    y = WaveProduct.apply(u, v, p, q)
    rolled = WaveProduct.apply(u.roll((1, -2), (2, 3)), v.roll((1, -2), (2, 3)), p, q)
    torch.testing.assert_close(rolled, y.roll((1, -2), (2, 3)))
    for axis in (2, 3):
        torch.testing.assert_close(WaveProduct.apply(u.flip(axis), v.flip(axis), p, q), y.flip(axis))


def test_a_fresh_wave_covers_a_token_and_hardly_loses_any() -> None:
    built = DampedWave(MixerContext(16, 1, (8, 8), 0, 1), NoOptions())
    built.initialise()
    assert built.log_speed.exp().tolist() == pytest.approx([1 / 8] * 16)
    p, _ = built.propagators(8, 8)
    # the fastest wave along an axis turns by pi radians in a token's time
    assert p[0, 0, 4].item() == pytest.approx(-math.exp(-0.05), rel=1e-3)


def test_compiles_without_a_graph_break() -> None:
    built, x = mixer(4, 4), torch.randn(2, 16, WIDTH, dtype=torch.float64)
    compiled = torch.compile(built, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x, None), built(x, None))
