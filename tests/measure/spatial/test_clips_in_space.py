"""Mixers of clips in space and time: what is known of them without measuring it, measured; and surveys of clips."""

from __future__ import annotations

import itertools
import json
import math
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pdebench.errors import ModelError, ResultsError
from pdebench.measure.spatial.equivariance import shift_error
from pdebench.measure.spatial.findings import Survey, read_survey
from pdebench.measure.spatial.frequency import frequency_response, time_response
from pdebench.measure.spatial.impulse import leading_response
from pdebench.measure.spatial.jacobian import centre, mixer_row, random_directions
from pdebench.measure.spatial.physics import (
    disagreement,
    expected_moments,
    green_function,
    learned_physics,
    measured_moments,
    terms,
)
from pdebench.measure.spatial.receptive_field import energy_map, receptive_field
from pdebench.measure.spatial.survey import survey
from pdebench.models.backbone import create_model
from pdebench.models.mixer_context import MixerContext
from pdebench.models.mixers.base import Mixer
from pdebench.models.mixers.pde import PDEMixer, PDEOperator
from pdebench.models.options import PDEOptions
from pdebench.models.registry import FAMILIES
from pdebench.tasks.generation.learner import GenerationLearner

GRID, WIDTH = (6, 8, 10), 16
OF_CLIPS = tuple(name for name, family in sorted(FAMILIES.items()) if family.refusal(GRID, family.options()) is None)


def pde(**options: object) -> PDEMixer:
    mixer = PDEMixer(MixerContext(WIDTH, 1, GRID, 0, 1), PDEOptions(**options))  # type: ignore[arg-type]
    mixer.initialise()
    return mixer.eval()


def convection(*tokens: float) -> PDEMixer:
    """A mixer that moves the clip by so many tokens later, down and right, and does nothing else."""
    mixer = pde(diffusion="off", reaction=False)
    assert mixer.operator.velocity is not None
    with torch.no_grad():
        moved = torch.tensor(tokens) / torch.tensor(GRID)
        mixer.operator.velocity.copy_(moved[:, None, None])
        mixer.operator.readout.fill_(1)
        mixer.operator.skip.zero_()
        for projection in (mixer.in_proj, mixer.out_proj):
            projection.weight.copy_(torch.eye(WIDTH))
    return mixer


def inputs(batch: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, math.prod(GRID), WIDTH, generator=generator), torch.zeros(batch, WIDTH)


def row_of(mixer: Mixer) -> Tensor:
    x, c = inputs()
    return mixer_row(mixer, x, c, GRID, random_directions(len(x), WIDTH, x, seed=0))


def error_of(mixer: Mixer) -> float:
    x, c = inputs()
    found = shift_error(lambda u: mixer.forward(u.flatten(1, -2), c).unflatten(1, GRID), x.unflatten(1, GRID))
    assert found is not None
    return found


def test_a_clip_that_is_carried_comes_from_as_far_as_it_went() -> None:
    mixer = convection(2, -1, 3)
    row = row_of(mixer)
    energy = energy_map(row)
    source = tuple(int(place) for place in torch.unravel_index(energy.argmax(), GRID))
    assert source == (3 - 2, 4 + 1, 5 - 3)
    field = receptive_field(energy)
    assert field.offset == pytest.approx((-2, 1, -3), abs=1e-3)
    assert field.length == pytest.approx(math.sqrt(14), abs=1e-3)
    assert (field.time_length, field.frame_length) == pytest.approx((2, math.hypot(1, 3)), abs=1e-3)
    assert field.area_95 == 1
    impulse, share = leading_response(row)
    assert impulse[source] == pytest.approx(1, abs=1e-4)
    assert share == pytest.approx(1)
    found = learned_physics(mixer, *inputs(1))
    assert found.clip is not None
    assert found.clip.displacement[0] == pytest.approx((2, -1, 3), abs=1e-4)
    assert found.clip.median_time_drift == pytest.approx(2, abs=1e-4)
    assert found.median_drift == pytest.approx(math.hypot(-1 / 8 * 8, 3 / 10 * 8), abs=1e-4)  # in rows, as of images
    assert found.error is not None
    assert found.error < 1e-3


@pytest.mark.parametrize("moved", [(1, 0, 0), (0.5, 0, -0.25), (-1.5, 0, 2)])
def test_moments_find_a_drift_in_time_and_in_x_that_is_given(moved: tuple[float, float, float]) -> None:
    mixer = convection(*moved).double()
    found = measured_moments(green_function(mixer.operator, GRID), mixer.operator.skip)
    in_tokens = found.displacement * torch.tensor(GRID, dtype=torch.float64)[:, None]
    torch.testing.assert_close(in_tokens, torch.tensor(moved, dtype=torch.float64)[:, None].expand(3, WIDTH))


def operator() -> PDEOperator:
    """Float64, every parameter random, of lengths that the grid resolves; K has all of its six entries."""
    torch.manual_seed(1)
    built = PDEOperator(3, GRID, PDEOptions()).double()
    assert built.log_length is not None
    assert built.shear is not None
    assert built.velocity is not None
    assert built.reaction is not None
    with torch.no_grad():
        built.log_length.uniform_(math.log(0.26), math.log(0.32))
        built.shear.uniform_(-0.1, 0.1)
        built.velocity.uniform_(-0.4, 0.4)
        built.reaction.uniform_(-0.5, 0.5)
        built.skip.uniform_(0.5, 1)
    return built


def test_the_measured_green_function_of_a_clip_is_the_wrapped_gaussian() -> None:
    built, channel = operator(), 1
    k_tt, k_yy, k_xx, k_yt, k_xt, k_xy = (k[channel, 0] for k in built.diffusion_tensor() if k is not None)
    rows = [[k_tt, k_yt, k_xt], [k_yt, k_yy, k_xy], [k_xt, k_xy, k_xx]]
    covariance = 2 * torch.stack([torch.stack(row) for row in rows])
    axes = [torch.arange(side, dtype=torch.float64) / side for side in GRID]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    assert built.velocity is not None
    density = torch.zeros(GRID, dtype=torch.float64)
    for image in itertools.product(range(-4, 5), repeat=3):
        d = place + torch.tensor(image) - built.velocity[:, channel, 0]
        density += torch.exp(-0.5 * torch.einsum("...a,ab,...b->...", d, torch.linalg.inv(covariance), d))
    density /= (2 * math.pi) ** 1.5 * torch.linalg.det(covariance).sqrt() * math.prod(GRID)
    expected = (built.readout * built.bounded_reaction().exp())[channel, 0] * density
    expected[0, 0, 0] += built.skip[channel]
    torch.testing.assert_close(green_function(built, GRID)[channel], expected.detach(), rtol=0, atol=1e-7)


def test_moments_of_a_clips_response_are_the_learned_matrix_drift_and_decay() -> None:
    built = operator()
    found = measured_moments(green_function(built, GRID), built.skip)
    assert found.resolved.all()
    assert built.velocity is not None
    torch.testing.assert_close(found.displacement, built.velocity[..., 0].detach(), atol=1e-9, rtol=0)
    entries = [entry for entry in built.diffusion_tensor() if entry is not None]
    covariance = 2 * torch.stack(entries)[..., 0].detach()
    assert covariance[3:].abs().min() > 1e-3  # there is something to find off the diagonal
    torch.testing.assert_close(found.covariance, covariance, atol=1e-9, rtol=0)
    decay = built.bounded_reaction()[:, 0].exp().detach()
    torch.testing.assert_close(found.mass / built.readout[:, 0].detach(), decay)
    learned = terms(built)
    assert disagreement(found, expected_moments(learned, built.readout), GRID).max() < 1e-6
    later = learned.drift.clone()
    later[0] += 0.5 / GRID[0]  # half a token of time
    wrong = expected_moments(learned._replace(drift=later), built.readout)
    assert disagreement(found, wrong, GRID).min() > 0.4


def gaussian(side: int, deviation: float) -> Tensor:
    return torch.exp(-0.5 * ((torch.arange(side).double() - side // 2) / deviation) ** 2)


def test_the_field_of_a_separable_gaussian_is_told_along_either() -> None:
    """A Gaussian of deviation s is s sqrt(2 / pi) away in the mean along a line, s sqrt(pi / 2) in a plane."""
    found = receptive_field(torch.einsum("t,h,w->thw", gaussian(31, 3), gaussian(41, 4), gaussian(41, 4)))
    assert found.time_length == pytest.approx(3 * math.sqrt(2 / math.pi), rel=0.02)  # tokens are no continuum
    assert found.frame_length == pytest.approx(4 * math.sqrt(math.pi / 2), rel=0.02)
    assert found.isotropy == pytest.approx(1, abs=1e-6)  # whatever it is in time
    assert found.offset == pytest.approx((0, 0, 0), abs=1e-9)
    flat = receptive_field(torch.einsum("t,h,w->thw", gaussian(31, 3), gaussian(41, 2), gaussian(41, 4)))
    assert flat.time_length == found.time_length
    assert flat.isotropy == pytest.approx(0.5, rel=1e-3)
    assert flat.axis == pytest.approx(0, abs=1e-6)


def test_waves_in_time_and_waves_that_stand_still_are_told_apart() -> None:
    """A mean over three tokens of time, 1/4, 1/2, 1/4, has the gain (1 + cos k) / 2 there, and 1 in the frame."""
    row = torch.zeros(1, *GRID, WIDTH)
    t, y, x = centre(GRID)
    for later, weight in ((-1, 0.25), (0, 0.5), (1, 0.25)):
        row[0, t + later, y, x] = weight
    in_time, in_frame = time_response(row), frequency_response(row)
    assert in_time.cycles == [0, 1, 2, 3]
    assert in_time.gain == pytest.approx([(1 + math.cos(2 * math.pi * k / 6)) / 2 for k in range(4)], abs=1e-5)
    assert in_time.anisotropy is None
    assert in_frame.gain == pytest.approx([1] * 5, abs=1e-5)


def test_what_is_carried_in_time_turns_waves_in_time_alone() -> None:
    row = row_of(convection(1, 0, 0))
    assert time_response(row).phase[1] == pytest.approx(2 * math.pi / 6, rel=1e-4)
    assert max(frequency_response(row).phase) < 1e-3


def test_what_treats_all_moments_alike_is_told_from_what_does_not() -> None:
    assert error_of(pde()) < 1e-5
    assert error_of(pde(padding="zero")) > 1e-3

    def fades(u: Tensor) -> Tensor:
        """Of every place alike, of no moment."""
        return u * torch.linspace(0, 1, GRID[0])[:, None, None, None]

    x = inputs()[0].unflatten(1, GRID)
    assert (shift_error(fades, x) or 0) > 0.3
    assert shift_error(lambda u: u.mean((1, 2, 3)), x, moved=()) == pytest.approx(0, abs=1e-6)
    assert (shift_error(lambda u: u[:, 0, 0, 0], x, moved=()) or 0) > 1


@cache
def surveyed(family: str) -> Survey:
    torch.manual_seed(0)
    size = {"input_size": (4, 8, 8), "depth": 2, "width": 32, "num_classes": None, "in_channels": 3}
    model = create_model(f"{family}-XXS/1", **size).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in (p for p in model.parameters() if p.requires_grad):
            parameter.add_(0.1 * torch.randn_like(parameter))
    return survey(model, torch.rand(2, 3, 4, 8, 8), learner=GenerationLearner())


@pytest.mark.parametrize("family", OF_CLIPS)
def test_every_family_of_clips_is_surveyed(family: str, tmp_path: Path) -> None:
    found, path = surveyed(family), tmp_path / "spatial.json"
    assert found.grid == (4, 8, 8)
    for mixer in found.mixers:
        assert (len(mixer.field_map), len(mixer.field_map[0])) == (8, 8)
        assert mixer.by_time is not None
        assert len(mixer.by_time) == 4
        assert sum(mixer.by_time) == pytest.approx(1, abs=1e-4)
        assert mixer.by_time[2] == pytest.approx(sum(map(sum, mixer.field_map)), abs=1e-3)
        assert mixer.field.area_95 <= 256
    row = found.columns()
    assert (row["spatial_mixing_length_in_time"] == 0) == (family == "None-DiT")
    assert found.network.shift_error is not None
    path.write_text(found.model_dump_json())
    assert read_survey(path) == found
    if family == "PDE-SSM-DiT":
        assert (row["spatial_physics_error"] or 1) < 1e-2
        assert row["spatial_drift_in_time"] is not None
        assert (row["spatial_shift_error"] or 0) < 1e-4


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found["mixers"][0].update(by_time=None),
        lambda found: found["mixers"][1].update(by_time=[1.0]),
        lambda found: found["mixers"][0].update(time_frequency=None),
        lambda found: found["mixers"][0]["physics"].update(clip=None),
        lambda found: found.update(grid=[8, 8]),
        lambda found: found.update(grid=[4, 8, 8, 8]),
    ],
)
def test_a_clips_survey_that_does_not_fit_together_is_named(tmp_path: Path, change) -> None:  # type: ignore[no-untyped-def]
    found = json.loads(surveyed("PDE-SSM-DiT").model_dump_json())
    change(found)
    path = tmp_path / "spatial.json"
    path.write_text(json.dumps(found))
    with pytest.raises(ResultsError, match="is not a spatial survey"):
        read_survey(path)


def test_sequences_are_refused_in_a_sentence() -> None:
    model = create_model("DiT-XXS/1", input_size=(16,), depth=1, width=32, num_classes=None, in_channels=3).eval()
    with pytest.raises(ModelError, match="on images and clips, not on sequences"):
        survey(model, learner=GenerationLearner())
