"""What is known of a mixer in space without measuring it, measured."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pdebench.measure.spatial.equivariance import shift_error
from pdebench.measure.spatial.frequency import frequency_response
from pdebench.measure.spatial.impulse import leading_response
from pdebench.measure.spatial.jacobian import mixer_row, random_directions
from pdebench.measure.spatial.receptive_field import energy_map, receptive_field
from pdebench.models.mixer_context import MixerContext
from pdebench.models.mixers.base import Mixer
from pdebench.models.mixers.gfnet import GlobalFilter, hermitian
from pdebench.models.mixers.none import PerToken
from pdebench.models.mixers.pde import PDEMixer
from pdebench.models.options import PDEOptions
from pdebench.models.registry import FAMILIES

SIDE, WIDTH = 8, 64
CENTRE = SIDE // 2


def mixer_of(family: str, layer: int = 0, **options: object) -> Mixer:
    """A mixer by itself, at initialisation."""
    known = FAMILIES[family]
    built = known.mixer_class()(MixerContext(WIDTH, 2, (SIDE, SIDE), layer, 8), known.options(**options))  # type: ignore[call-arg]
    built.initialise()
    return built.eval()


def inputs(batch: int = 4) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, SIDE * SIDE, WIDTH), torch.randn(batch, WIDTH)


def row_of(mixer: Mixer) -> Tensor:
    x, c = inputs()
    return mixer_row(mixer, x, c, (SIDE, SIDE), random_directions(len(x), WIDTH, x, seed=0))


def convection(down: int, right: int) -> PDEMixer:
    """A mixer that moves the grid by whole tokens and does nothing else."""
    mixer = PDEMixer(MixerContext(WIDTH, 1, (SIDE, SIDE), 0, 1), PDEOptions(diffusion="off", reaction=False))
    assert mixer.operator.velocity is not None
    with torch.no_grad():
        mixer.operator.velocity.copy_(torch.tensor([down, right])[:, None, None] / SIDE)
        mixer.operator.readout.fill_(1)
        mixer.operator.skip.zero_()
        for projection in (mixer.in_proj, mixer.out_proj):
            projection.weight.copy_(torch.eye(WIDTH))
    return mixer.eval()


def test_without_a_mixer_a_token_sees_itself() -> None:
    field = receptive_field(energy_map(row_of(mixer_of("None-DiT"))))
    assert (field.area_50, field.area_95, field.own_share, field.length) == (1, 1, 1, 0)
    assert field.locality is None


def test_pure_convection_moves_an_impulse_by_v() -> None:
    row = row_of(convection(2, -1))
    energy = energy_map(row)
    # what arrives at the centre token left 2 tokens above it and 1 to its right
    assert divmod(int(energy.argmax()), SIDE) == (CENTRE - 2, CENTRE + 1)
    field = receptive_field(energy)
    assert field.area_95 == 1
    assert field.length == pytest.approx(math.hypot(2, 1), abs=1e-4)
    assert field.reach == field.length
    assert field.offset == pytest.approx((-2, 1), abs=1e-4)
    impulse, share = leading_response(row)
    assert share == pytest.approx(1)  # all channels answer alike
    assert impulse[CENTRE - 2, CENTRE + 1] == pytest.approx(1, abs=1e-4)


def test_pure_convection_turns_every_wave_and_damps_none() -> None:
    found = frequency_response(row_of(convection(0, 1)))
    assert found.gain == pytest.approx([found.gain[0]] * len(found.gain), rel=1e-4)
    assert found.coherence == pytest.approx([1] * len(found.coherence), abs=1e-4)
    # of the eight waves of the first ring, the two along the columns are not turned
    assert found.phase[1] == pytest.approx(0.75 * 2 * math.pi / SIDE, rel=1e-4)


def test_the_frequency_response_of_a_global_filter_is_its_filter() -> None:
    mixer = mixer_of("GFNet-DiT")
    assert isinstance(mixer, GlobalFilter)
    with torch.no_grad():  # stronger along one axis, so that there is an anisotropy to find
        mixer.filter[:, 1:] *= 0.2
    x, c = inputs(1)
    found = frequency_response(mixer_row(mixer, x, c, (SIDE, SIDE), torch.ones(1, WIDTH)))
    kernel = torch.fft.irfft2(torch.view_as_complex(hermitian(mixer.filter, SIDE)), s=(SIDE, SIDE))
    power = torch.fft.fft2(kernel).abs().square().mean(0)
    assert found.gain[0] == pytest.approx(power[0, 0].sqrt().item(), rel=1e-4)
    ring = [power[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)]
    assert found.gain[1] == pytest.approx(torch.stack(ring).mean().sqrt().item(), rel=1e-4)
    assert found.anisotropy[1] > 0.3
    assert frequency_response(mixer_row(mixer_of("None-DiT"), x, c, (SIDE, SIDE), c)).anisotropy[1] < 1e-6


@pytest.mark.parametrize("family", ["ZigMa", "Mamba2-DiT", "DiG"])
@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_a_scan_sees_what_came_before_and_nothing_after(family: str, layer: int) -> None:
    mixer = mixer_of(family, layer)
    along = mixer.scan(energy_map(row_of(mixer)).reshape(1, -1, 1)).flatten()  # type: ignore[operator]
    place = mixer.scan(torch.arange(SIDE * SIDE).reshape(1, -1, 1)).flatten()  # type: ignore[operator]
    now = int((place == CENTRE * SIDE + CENTRE).nonzero())
    assert (along[now + 1 :] == 0).all()
    assert (along[: now + 1] > 0).all()


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_convolutions_treat_places_alike_and_scans_do_not(family: str) -> None:
    mixer, (x, c) = mixer_of(family), inputs()
    error = shift_error(
        lambda u: mixer.forward(u.flatten(1, 2), c).unflatten(1, (SIDE, SIDE)), x.unflatten(1, (SIDE, SIDE))
    )
    assert error is not None
    # attention without positions has no order either
    if family in ("PDE-SSM-DiT", "GFNet-DiT", "None-DiT", "DiT", "Linear-DiT"):
        assert error < 1e-5
    elif family == "AFNO-DiT":  # mostly its input, which it adds to a small rest
        assert error > 0.005
    else:
        assert error > 0.05


def test_zero_padding_makes_places_differ() -> None:
    mixer, (x, c) = mixer_of("PDE-SSM-DiT", padding="zero"), inputs()
    grid = x.unflatten(1, (SIDE, SIDE))
    assert (shift_error(lambda u: mixer.forward(u.flatten(1, 2), c).unflatten(1, (SIDE, SIDE)), grid) or 0) > 1e-3
    assert shift_error(torch.zeros_like, grid) is None


def test_fields_of_known_shapes() -> None:
    flat = receptive_field(torch.ones(SIDE, SIDE, dtype=torch.float64))
    assert (flat.area_50, flat.area_95) == (SIDE**2 // 2, math.ceil(0.95 * SIDE**2))
    assert flat.locality == pytest.approx(0, abs=1e-9)
    assert flat.isotropy == pytest.approx(1)
    assert flat.offset == pytest.approx((0, 0), abs=1e-9)
    line = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    line[CENTRE] = 1
    found = receptive_field(line)
    assert (found.isotropy, found.axis) == pytest.approx((0, 0), abs=1e-6)
    assert receptive_field(line.T).axis == pytest.approx(90)
    rising = receptive_field(torch.eye(SIDE, dtype=torch.float64).roll(0, 1).flip(0).roll(1, 0))
    assert rising.axis == pytest.approx(45)
    far = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    far[0, 0] = 1
    assert (receptive_field(far).locality or 0) < -0.5
    near = torch.zeros(SIDE, SIDE, dtype=torch.float64)
    near[CENTRE, CENTRE + 1] = 1
    assert (receptive_field(near).locality or 0) > 0.5


def test_nothing_is_said_of_a_mixer_that_answers_nothing() -> None:
    silent = mixer_of("None-DiT")
    assert isinstance(silent, PerToken)
    torch.nn.init.zeros_(silent.proj.weight)
    row = row_of(silent)
    field = receptive_field(energy_map(row))
    assert (field.area_95, field.length, field.own_share, field.locality) == (0, None, None, None)
    assert leading_response(row)[1] == 0
    assert frequency_response(row).gain_ratio is None
