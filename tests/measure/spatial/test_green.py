"""Responses measured through the network against the operator's closed form, and the learned physics from outside."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from pdebench.measure.spatial.jacobian import mixer_row, random_directions, visit_mixers
from pdebench.measure.spatial.physics import (
    disagreement,
    expected_moments,
    green_function,
    learned_physics,
    measured_moments,
    terms,
)
from pdebench.models.backbone import Backbone, create_model
from pdebench.models.mixer_context import MixerContext
from pdebench.models.mixers.base import Mixer
from pdebench.models.mixers.pde import PDEMixer, PDEOperator
from pdebench.models.options import PDEOptions

SIDE = 8


def operator(seed: int = 0, **options: object) -> PDEOperator:
    """A float64 operator of lengths from 2 to 3 tokens, which a grid of 8 x 8 resolves, every parameter random."""
    torch.manual_seed(seed)
    built = PDEOperator(6, (SIDE, SIDE), PDEOptions(**options)).double()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        if built.log_length is not None:
            built.log_length.copy_(
                torch.empty_like(built.log_length).uniform_(math.log(2 / SIDE), math.log(2.5 / SIDE))
            )
        if built.shear is not None:
            built.shear.uniform_(-1 / SIDE, 1 / SIDE)
    return built


def gaussian(built: PDEOperator, channel: int) -> Tensor:
    """The closed form on the torus: a Gaussian of mean v and covariance 2 K, over all its images; D at the source."""
    k_yy, k_xx, k_yx = (k[channel, 0] for k in built.diffusion_tensor() if k is not None)
    covariance = 2 * torch.stack([torch.stack([k_yy, k_yx]), torch.stack([k_yx, k_xx])])
    axis = torch.arange(SIDE, dtype=torch.float64) / SIDE
    place = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    assert built.velocity is not None
    total = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    for image in itertools.product(range(-6, 7), repeat=2):
        d = place + torch.tensor(image) - built.velocity[:, channel, 0]
        total += torch.exp(-0.5 * torch.einsum("hwa,ab,hwb->hw", d, torch.linalg.inv(covariance), d))
    density = total / (2 * math.pi * torch.linalg.det(covariance).sqrt() * SIDE**2)
    response = built.readout[channel, 0] * built.bounded_reaction()[channel, 0].exp() * density
    response[0, 0] += built.skip[channel]
    return response.detach()


def test_the_measured_green_function_is_the_wrapped_gaussian() -> None:
    built = operator()
    measured = green_function(built, (SIDE, SIDE))
    for channel in range(built.channels):
        torch.testing.assert_close(measured[channel], gaussian(built, channel), rtol=0, atol=1e-7)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
@pytest.mark.parametrize("states", [1, 3])
def test_rows_measured_through_the_network_agree_with_the_operators_symbol(
    dtype: torch.dtype, tolerance: float, states: int
) -> None:
    model = create_model("PDE-SSM-DiT-XXS/2", input_size=16, depth=2, width=32, num_classes=None, states=states).to(
        dtype
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    seen = []

    def compare(layer: int, mixer: Mixer, x: Tensor, c: Tensor) -> None:
        assert isinstance(mixer, PDEMixer)
        w = random_directions(len(x), 32, x, seed=layer)
        row = mixer_row(mixer, x, c, model.grid, w)
        kernel = torch.fft.irfft2(mixer.operator.symbol(SIDE, SIDE), s=(SIDE, SIDE))  # G(d), (D, h, w)
        place = (SIDE // 2 - torch.arange(SIDE)) % SIDE  # d = n0 - m
        response = kernel[:, place][:, :, place]
        expected = torch.einsum("bo,oi,ihw,ij->bhwj", w, mixer.out_proj.weight, response, mixer.in_proj.weight)
        assert (row - expected).norm() < tolerance * expected.norm()
        seen.append(layer)

    visit_mixers(
        model.eval(), torch.randn(3, 4, 16, 16, dtype=dtype), torch.tensor([1.0, 500, 999], dtype=dtype), compare
    )
    assert seen == [0, 1]


def test_moments_of_the_measured_response_are_the_learned_physics() -> None:
    built = operator(seed=1)
    found = measured_moments(green_function(built, (SIDE, SIDE)), built.skip)
    assert found.resolved.all()
    k_yy, k_xx, k_yx = built.diffusion_tensor()
    assert built.velocity is not None
    assert k_yx is not None
    torch.testing.assert_close(found.displacement, built.velocity[..., 0].detach(), atol=1e-9, rtol=0)
    covariance = 2 * torch.stack([k_yy, k_xx, k_yx])[..., 0].detach()
    torch.testing.assert_close(found.covariance, covariance, atol=1e-9, rtol=0)
    decay = built.bounded_reaction()[:, 0].exp()
    torch.testing.assert_close(found.mass / built.readout[:, 0].detach(), decay.detach())


@pytest.mark.parametrize(
    "options",
    [
        {"states": 3},
        {"diffusion": "isotropic"},
        {"diffusion": "diagonal", "reaction": False},
        {"diffusion": "off"},
        {"convection": False},
    ],
)
def test_moments_agree_whatever_terms_there_are(options: dict[str, object]) -> None:
    built = operator(seed=2, **options)
    found = measured_moments(green_function(built, (SIDE, SIDE)), built.skip)
    errors = disagreement(found, expected_moments(terms(built), built.readout), (SIDE, SIDE))
    assert found.resolved.any()
    assert errors[found.resolved].max() < 1e-6


def test_a_wrong_equation_is_noticed() -> None:
    built = operator(seed=3)
    learned = terms(built)
    found = measured_moments(green_function(built, (SIDE, SIDE)), built.skip)
    moved = learned._replace(drift=learned.drift + 0.5 / SIDE)  # half a token
    assert disagreement(found, expected_moments(moved, built.readout), (SIDE, SIDE)).min() > 0.4
    wider = learned._replace(diffusion=learned.diffusion * 1.1)
    assert disagreement(found, expected_moments(wider, built.readout), (SIDE, SIDE)).min() > 0.1


def mixer_of(**options: object) -> PDEMixer:
    built = PDEMixer(MixerContext(16, 1, (SIDE, SIDE), 0, 1), PDEOptions(**options))
    built.initialise()
    return built.eval()


def test_a_selective_operator_is_checked_at_its_own_tau() -> None:
    mixer, c = mixer_of(selective=True), torch.randn(2, 16)
    assert mixer.log_tau is not None
    torch.nn.init.normal_(mixer.log_tau.weight, std=0.3)
    found = learned_physics(mixer, torch.randn(2, SIDE * SIDE, 16), c)
    plain = mixer_of()
    plain.load_state_dict(mixer.state_dict(), strict=False)
    still = learned_physics(plain, torch.randn(2, SIDE * SIDE, 16), c)
    assert found.error is not None
    assert found.error < 1e-2
    assert found.length != still.length


def test_zero_padding_leaves_nothing_to_check_and_says_so() -> None:
    found = learned_physics(mixer_of(padding="zero"), torch.randn(1, SIDE * SIDE, 16), torch.randn(1, 16))
    assert found.error is None
    assert found.resolved == 0
    assert found.median_length > 0


@pytest.mark.parametrize(
    ("padding", "length", "drift", "share"),
    [
        ("zero", 0.1, 0.5, 0.0),
        ("zero", 0.5, 0.0, 0.0104),
        ("zero", 1.0, 0.0, 0.1169),
        ("zero", 0.1, 1.0, 0.0367),
        ("periodic", 0.001, 0.25, 0.25),
        ("periodic", 0.1, 0.0, 0.1532),
        ("periodic", 20.0, 0.0, 1.0),
    ],
)
def test_what_comes_back_over_an_edge_is_told(padding: str, length: float, drift: float, share: float) -> None:
    """As `test_pde_operator.py` measures it, but for tokens that fill the image instead of standing on points of it."""
    mixer = mixer_of(padding=padding)
    with torch.no_grad():
        mixer.operator.log_length.fill_(math.log(length))  # type: ignore[union-attr]
        mixer.operator.velocity.copy_(torch.tensor([0.0, -drift])[:, None, None].expand(2, 16, 1))  # type: ignore[union-attr]
    found = learned_physics(mixer, torch.randn(1, SIDE * SIDE, 16), torch.randn(1, 16))
    assert found.wrapped == pytest.approx(share, abs=1e-3)


def test_visiting_leaves_the_model_as_it_was() -> None:
    model: Backbone = create_model("None-DiT-XXS/4", input_size=16, num_classes=None).eval()
    x, t = torch.randn(1, 4, 16, 16), torch.zeros(1)
    visit_mixers(model, x, t, lambda layer, mixer, u, c: None)
    assert not any(block.mixer._forward_pre_hooks for block in model.blocks)
