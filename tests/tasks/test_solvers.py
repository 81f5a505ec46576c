"""Solvers, their steps and guidance, against flows that are known in closed form."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from exact_flows import Gaussian, HardAndEasy, Mixture, Network, PredictingX
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator, Tensor, nn

from pdebench.errors import ModelError, SamplingError
from pdebench.models.backbone import create_model
from pdebench.tasks.generation.options import DIFFUSIONS, SAMPLERS, SamplingOptions
from pdebench.tasks.generation.sampling import noise_on_the_way
from pdebench.tasks.generation.solver import Solved, sample, solve
from pdebench.tasks.generation.solvers.euler_maruyama import COEFFICIENTS, euler_maruyama
from pdebench.tasks.generation.steps import Step, even_steps, steps_before_a_last
from pdebench.tasks.generation.time_shift import shifted

CPU = torch.device("cpu")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed))


def solved(network: nn.Module, start: Tensor, labels: Tensor | None = None, **how: Any) -> Solved:
    return solve(network, start, labels, SamplingOptions(**how), generator=Generator().manual_seed(1))


def root_mean_squares(errors: Tensor) -> Tensor:
    """One for each sample."""
    return errors.flatten(1).square().mean(1).sqrt()


# ---- steps


@given(t=st.floats(0, 1), shift=st.floats(0.01, 100))
def test_a_shifted_time_is_sd3s_with_time_the_other_way(t: float, shift: float) -> None:
    """SD3, eq. 23, of s = 1 - t: s to a s / (1 + (a - 1) s)."""
    s = 1 - t
    assert shifted(t, shift) == pytest.approx(1 - shift * s / (1 + (shift - 1) * s), abs=1e-12)
    assert shifted(shifted(t, shift), 1 / shift) == pytest.approx(t, abs=1e-9)


@given(count=st.integers(2, 60), shift=st.floats(0.05, 20))
def test_shifted_steps_lie_at_shifted_times_and_cover_the_way(count: int, shift: float) -> None:
    for steps, ends in (
        (even_steps(count, shift), [index / count for index in range(count + 1)]),
        (steps_before_a_last(count, shift), [*(0.96 * index / (count - 1) for index in range(count)), 1.0]),
    ):
        assert [step.t for step in steps] == pytest.approx([shifted(end, shift) for end in ends[:-1]], abs=1e-12)
        assert [step.end for step in steps] == pytest.approx([shifted(end, shift) for end in ends[1:]], abs=1e-12)
        assert steps[-1].end == pytest.approx(1)
        assert max(step.end for step in steps) <= 1


def test_a_shift_above_1_spends_more_steps_on_noise() -> None:
    assert [step.t for step in even_steps(4, 3.0)] == pytest.approx([0, 0.1, 0.25, 0.5])  # SD3: 1, .9, .75, .5
    assert even_steps(4, 1.0) == [Step(i / 4, (i + 1) / 4, 0.25) for i in range(4)]


@pytest.mark.parametrize("sampler", ["euler", "heun", "euler_maruyama"])
def test_shifted_sampling_asks_at_shifted_times(sampler: Any) -> None:
    network = Gaussian()
    found = solved(network, noise(1, 1, 2, 2), sampler=sampler, nfe=8, time_shift=3.0)
    assert found.nfe == len(network.times) == 8
    even = [0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1] if sampler == "heun" else [index / 8 for index in range(8)]
    if sampler == "euler_maruyama":
        even = [0.96 * index / 7 for index in range(8)]
    assert network.times == pytest.approx([shifted(t, 3.0) for t in even], abs=1e-6)


# ---- fixed steps


@pytest.mark.parametrize("shift", [1.0, 0.7])
@pytest.mark.parametrize(("sampler", "order"), [("euler", 1), ("heun", 2)])
def test_fixed_steps_converge_with_their_order(sampler: Any, order: int, shift: float) -> None:
    gaussian, start = Gaussian(), noise(16, 1, 2, 2).double()

    def error(steps: int) -> float:
        found = solved(gaussian, start, sampler=sampler, nfe=steps * order, time_shift=shift)
        return float((found.images - gaussian.ends(start)).abs().max())

    assert math.log2(error(64) / error(128)) == pytest.approx(order, abs=0.15)


# ---- dopri5


def test_dopri5_holds_its_tolerance_for_each_sample_of_a_batch() -> None:
    """Judged by the mean over the batch, as torchdiffeq does by itself, the hard one is off by some 30 tolerances."""
    network, start, labels = HardAndEasy(), noise(256, 1, 4, 4), torch.zeros(256, dtype=torch.long)
    labels[0] = 1
    start[0] += 1e-3 - start[0].mean()  # between the two Gaussians
    truth = network.easy.std * start.double()
    truth[0] = network.ends_of_hard(start[0])
    for tolerance in (1e-3, 1e-5):
        together = solved(network, start, labels, sampler="dopri5", tolerance=tolerance)
        errors = root_mean_squares(together.images - truth)
        assert errors[0] < 5 * tolerance
        assert errors[1:].max() < 5 * tolerance
        alone = solved(network, start[:1], labels[:1], sampler="dopri5", tolerance=tolerance)
        assert 0.5 * alone.nfe < together.nfe < 2 * alone.nfe


def test_what_a_sample_takes_is_counted_and_a_smaller_tolerance_takes_more() -> None:
    taken = []
    for tolerance in (1e-2, 1e-4, 1e-6):
        network = Gaussian()
        found = solved(network, noise(3, 1, 2, 2), sampler="dopri5", tolerance=tolerance)
        assert found.nfe == found.passes == len(network.inputs)
        assert root_mean_squares(found.images - network.ends(noise(3, 1, 2, 2))).max() < 10 * tolerance
        taken.append(found.nfe)
    assert taken == sorted(set(taken))


class Undefined(Network):
    """A slow flow that is defined on [0, 1] alone: the trial step for the first length is longer than the way."""

    def velocity(self, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        return 1e-4 * torch.where((t < 0) | (t > 1), torch.nan, torch.ones_like(x))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("network", [Undefined, Gaussian, lambda: Mixture([-1.0, 1.0], 0.02)])
def test_no_sampler_asks_for_a_time_outside_the_way(sampler: Any, network: Any) -> None:
    asked = network()
    found = solved(asked, noise(2, 1, 2, 2), sampler=sampler)
    assert 0 <= min(asked.times) <= max(asked.times) <= 1
    assert found.images.isfinite().all()
    if isinstance(asked, Undefined) and sampler != "euler_maruyama":
        torch.testing.assert_close(found.images, noise(2, 1, 2, 2) + 1e-4, atol=1e-5, rtol=0)


def test_a_velocity_of_nothing_moves_nothing() -> None:
    """Through the interpolant of a float32 state, which torchdiffeq returns, it would by some 1e-6."""

    class Still(nn.Module):
        def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            return torch.zeros_like(x)

    start = noise(8, 3, 4, 4)
    assert torch.equal(solved(Still(), start, sampler="dopri5").images, start)


def small(**more: Any) -> nn.Module:
    torch.manual_seed(0)
    build: dict[str, Any] = {"input_size": 8, "in_channels": 3, "num_classes": 3, "depth": 1, "width": 32, "heads": 2}
    model = create_model("DiT-XXS/4", **(build | more)).eval()
    for parameter in model.parameters():
        parameter.data.normal_(std=0.1)
    return model


def test_dopri5_asks_in_float32_whatever_autocast_says() -> None:
    model, start, labels = small(), noise(2, 3, 8, 8), torch.tensor([0, 2])
    plain = solved(model, start, labels, sampler="dopri5", tolerance=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = solved(model, start, labels, sampler="dopri5", tolerance=1e-4)
        heun = solved(model, start, labels, sampler="heun", nfe=4).images
    assert torch.equal(plain.images, cast.images)
    assert plain.nfe == cast.nfe
    assert plain.images.dtype == torch.float32
    assert not torch.equal(heun, solved(model, start, labels, sampler="heun", nfe=4).images), "others follow it"


def test_a_velocity_that_is_not_finite_makes_images_that_are_not() -> None:
    class Bursts(nn.Module):
        def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            return torch.where((t > 500).view(-1, 1, 1, 1), torch.inf, x)

    assert solved(Bursts(), noise(2, 1, 2, 2), sampler="dopri5").images.isnan().all()


def test_a_tolerance_that_cannot_be_kept_is_said_in_a_sentence() -> None:
    class Rough(nn.Module):
        def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            return torch.sin(1e9 * t).view(-1, 1, 1, 1).expand_as(x)

    with pytest.raises(ModelError, match="cannot keep a tolerance of 1e-07 in 2,000 steps; take a larger"):
        solved(Rough(), noise(1, 1, 2, 2), sampler="dopri5", tolerance=1e-7)


# ---- Euler-Maruyama


def moments(samples: Tensor) -> tuple[float, float, float, float]:
    """Mean and variance, and the standard error of each."""
    count, variance = samples.numel(), float(samples.var())
    fourth = float((samples - samples.mean()).pow(4).mean())
    return float(samples.mean()), variance, math.sqrt(variance / count), math.sqrt((fourth - variance**2) / count)


@pytest.mark.parametrize("diffusion", DIFFUSIONS)
@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_euler_maruyamas_samples_of_a_gaussian_have_the_moments_of_its_recursion(diffusion: Any, shift: float) -> None:
    """In a Gaussian the drift is linear in x: of each step the mean and the variance are known."""
    gaussian, steps = Gaussian(), 25
    m, s = gaussian.means[0], gaussian.std
    mean, variance = 0.0, 1.0
    ends = [shifted(end, shift) for end in (*(0.96 * index / (steps - 1) for index in range(steps)), 1.0)]
    for index, (t, dt) in enumerate((a, b - a) for a, b in pairwise(ends)):
        coefficient = {
            "constant": 1.0,
            "SBDM": (1 - t) / t if t else 0.0,
            "sigma": 1 - t,
            "decreasing": 0.25 * (math.cos(math.pi * t) + 1) ** 2,
            "increasing-decreasing": math.sin(math.pi * t) ** 2,
        }[diffusion]
        of_t = t * t * s * s + (1 - t) ** 2
        pull = (t * s * s - (1 - t) - coefficient) / of_t  # velocity and D times the score -(x - t m) / of_t
        mean += dt * (m + pull * (mean - t * m))
        variance = (1 + dt * pull) ** 2 * variance + 2 * coefficient * dt * (index < steps - 1)
    start = noise(5000, 1, 2, 2)
    found = solved(gaussian, start, sampler="euler_maruyama", nfe=steps, diffusion=diffusion, time_shift=shift)
    got_mean, got_variance, error_of_mean, error_of_variance = moments(found.images)
    assert got_mean == pytest.approx(mean, abs=4 * error_of_mean)
    assert got_variance == pytest.approx(variance, abs=4 * error_of_variance)


@pytest.mark.parametrize("diffusion", DIFFUSIONS)
def test_with_many_steps_its_samples_have_the_moments_of_the_data(diffusion: Any) -> None:
    """Of two Gaussians. Before the last step; that has no noise and shrinks the samples, with `constant` much."""
    data = Mixture([-1.0, 2.0], 0.4, [0.25, 0.75])
    found = solved(data, noise(4000, 1, 1, 1), sampler="euler_maruyama", nfe=150, diffusion=diffusion)
    mean, variance = data.moments()
    got_mean, got_variance, error_of_mean, error_of_variance = moments(data.inputs[-1])  # what the last step began with
    assert got_mean == pytest.approx(0.96 * mean, abs=4 * error_of_mean + 0.005)
    assert got_variance == pytest.approx(0.96**2 * variance + 0.04**2, abs=4 * error_of_variance + 0.01)
    shrunk = 0.03 if diffusion != "constant" else 0.1
    assert moments(found.images)[:2] == pytest.approx((mean, variance), rel=shrunk + 4 * error_of_variance)


def test_without_noise_it_is_eulers_method() -> None:
    """Where the coefficient is 0, on the same steps."""
    gaussian, start = Gaussian(), noise(3, 1, 2, 2)
    how = SamplingOptions(sampler="euler_maruyama", nfe=10, diffusion="sigma")

    def velocity(x: Tensor, t: float) -> Tensor:
        return gaussian(x, torch.full((len(x),), 1000 * t))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(COEFFICIENTS, "sigma", lambda t: 0.0)
        still = euler_maruyama(velocity, start, how, Generator().manual_seed(0))
    x = start
    for t, _, dt in how.steps:
        x = x + dt * velocity(x, t)
    torch.testing.assert_close(still, x, atol=1e-6, rtol=1e-6)
    noisy = euler_maruyama(velocity, start, how, Generator().manual_seed(0))
    assert (noisy - x).abs().max() > 0.1


def test_its_noise_is_of_the_seed_and_the_place_of_the_batch() -> None:
    gaussian, start = Gaussian(), noise(3, 1, 2, 2)
    drawn = [
        sample(gaussian, start, sampler="euler_maruyama", nfe=5, generator=noise_on_the_way(seed, begin, CPU))
        for seed, begin in ((0, 0), (0, 0), (0, 3), (1, 0))
    ]
    assert torch.equal(drawn[0], drawn[1])
    assert len({one.sum().item() for one in drawn}) == 3


# ---- guidance


def labelled_velocity(x: Tensor, y: Tensor) -> Tensor:
    return y.view(-1, 1, 1, 1).double() - 0.5 * x


class Labelled(Network):
    """A velocity that depends on the label, -1 where it is hidden."""

    def velocity(self, x: Tensor, t: Tensor, y: Tensor | None) -> Tensor:
        assert y is not None
        return labelled_velocity(x, y)


@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.25, 0.6), (0.0, 0.3), (0.5, 1.0), (0.9, 1.0)])
@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_guidance_in_an_interval_is_guidance_inside_and_none_outside(
    sampler: Any, interval: tuple[float, float]
) -> None:
    start, labels, dt = noise(3, 2, 2, 2), torch.tensor([0, 1, 2]), 0.1
    x, guided = start.double(), 0

    def slope(x: Tensor, t: float) -> Tensor:
        given = labelled_velocity(x, labels)
        if not interval[0] <= t <= interval[1]:
            return given
        nonlocal guided
        guided += 1
        return -1.5 * labelled_velocity(x, torch.full_like(labels, -1)) + 2.5 * given

    for index in range(10):
        first = slope(x, index / 10)
        if sampler == "heun":
            first = (first + slope(x + dt * first, (index + 1) / 10)) / 2
        x = x + dt * first
    network = Labelled()
    nfe = 20 if sampler == "heun" else 10
    found = solved(network, start, labels, sampler=sampler, nfe=nfe, guidance=2.5, guidance_interval=interval)
    torch.testing.assert_close(found.images.double(), x, atol=1e-5, rtol=1e-5)
    assert found.nfe == len(network.inputs) == nfe
    assert found.passes == nfe + guided == sum(map(len, network.inputs)) // len(start)
    expected = SamplingOptions(sampler, nfe, guidance=2.5, guidance_interval=interval).expected_passes
    assert expected == found.passes


def test_an_interval_of_all_times_is_guidance_as_ever() -> None:
    start, labels = noise(2, 3, 8, 8), torch.tensor([0, 2])
    for how in (
        {"sampler": "heun", "nfe": 6},
        {"sampler": "euler", "nfe": 5},
        {"sampler": "dopri5", "tolerance": 0.03},
    ):
        plain, whole = (
            solved(small(), start, labels, guidance=3.0, **how, **more)
            for more in ({}, {"guidance_interval": (0.0, 1.0)})
        )
        assert torch.equal(plain.images, whole.images)
        assert plain.passes == whole.passes == 2 * plain.nfe


def test_dopri5_steps_where_guidance_begins_and_ends() -> None:
    """The velocity jumps there, which shorter and shorter steps would have to find."""
    start, labels, interval = noise(3, 1, 2, 2), torch.tensor([0, 1, 2]), (0.2, 0.7)
    network = Labelled()
    found = solved(network, start, labels, sampler="dopri5", tolerance=1e-6, guidance=4.0, guidance_interval=interval)
    x = start.double()
    for begin, end, target in ((0, 0.2, labels), (0.2, 0.7, 4 * labels + 3), (0.7, 1, labels)):  # y + 3 (y + 1)
        middle = 2 * target.view(-1, 1, 1, 1)  # of dx/dt = target - x / 2
        x = middle + (x - middle) * math.exp(-(end - begin) / 2)
    assert root_mean_squares(found.images.double() - x).max() < 1e-5
    assert found.nfe < 80
    asked = [float(t) for t in network.times]
    assert found.nfe < found.passes < 2 * found.nfe
    assert any(abs(t - 0.2) < 1e-6 for t in asked)
    assert any(abs(t - 0.7) < 1e-6 for t in asked)


def test_without_labels_nothing_is_guided_and_nothing_paid_for() -> None:
    found = solved(Gaussian(), noise(2, 1, 2, 2), sampler="euler", nfe=4, guidance=3.0)
    assert (found.nfe, found.passes) == (4, 4)


# ---- a network that predicts the image


@pytest.mark.parametrize("diffusion", DIFFUSIONS)
def test_a_predicted_image_and_a_velocity_are_one_stochastic_equation(diffusion: Any) -> None:
    start, how = noise(4, 1, 2, 2), SamplingOptions(sampler="euler_maruyama", nfe=30, diffusion=diffusion)
    by_x, by_velocity = (
        solve(net, start, None, how, prediction=prediction, generator=Generator().manual_seed(3)).images
        for net, prediction in ((PredictingX(Gaussian()), "x"), (Gaussian(), "velocity"))
    )  # type: ignore[arg-type]
    torch.testing.assert_close(by_x, by_velocity, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "how", [{"sampler": "euler", "nfe": 20}, {"sampler": "heun", "nfe": 40}, {"sampler": "dopri5"}]
)
def test_a_predicted_image_is_sampled_as_the_velocity_that_ends_there(how: dict[str, Any]) -> None:
    """Of one image alone, which is what it predicts: x_t goes to it at once and, from t = .95 on, more slowly."""
    image = noise(2, 1, 2, 2, seed=5)

    class Knows(nn.Module):
        def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            return image.to(x)

    start = noise(2, 1, 2, 2)
    found = sample(Knows(), start, prediction="x", **how)
    left = 0.05 * {"euler": 0.0, "heun": 0.5, "dopri5": math.exp(-1)}[how["sampler"]]  # dx/dt = (image - x) / .05
    torch.testing.assert_close(found, image + left * (start - image), atol=2e-5, rtol=0)


# ---- what does not go together


@pytest.mark.parametrize(
    ("how", "key", "sentence"),
    [
        ({"sampler": "rk4"}, "sampler", "unknown sampler 'rk4'"),
        ({"sampler": "heun", "nfe": 7}, "nfe", "nfe must be even, not 7"),
        ({"nfe": 0}, "nfe", "above 0"),
        ({"sampler": "dopri5", "nfe": 50}, "nfe", "spends what its tolerance takes"),
        ({"sampler": "euler_maruyama", "nfe": 1}, "nfe", "2 or more"),
        ({"tolerance": 1e-4}, "tolerance", "an option of dopri5, but the sampler is heun"),
        ({"sampler": "dopri5", "tolerance": 1e-9}, "tolerance", "from 1e-07"),
        ({"sampler": "dopri5", "tolerance": math.nan}, "tolerance", "from 1e-07"),
        ({"sampler": "euler", "diffusion": "sigma"}, "diffusion", "an option of euler_maruyama"),
        ({"sampler": "euler_maruyama", "diffusion": "SBDN"}, "diffusion", "did you mean 'SBDM'"),
        ({"sampler": "dopri5", "time_shift": 3.0}, "time_shift", "chooses its own steps"),
        ({"time_shift": 0.0}, "time_shift", "above 0"),
        ({"time_shift": math.nan}, "time_shift", "above 0"),
        ({"guidance_channels": 3}, "guidance_channels", "guidance is 1"),
        ({"guidance_interval": (0.1, 0.9)}, "guidance_interval", "guidance is 1"),
        ({"guidance": 2.0, "guidance_interval": (0.9, 0.1)}, "guidance_interval", "0 <= low < high <= 1"),
        ({"guidance": 2.0, "guidance_interval": (0.5, 1.1)}, "guidance_interval", "0 <= low < high <= 1"),
    ],
)
def test_options_that_do_not_go_together_are_refused(how: dict[str, Any], key: str, sentence: str) -> None:
    with pytest.raises(SamplingError, match=sentence) as refused:
        SamplingOptions(**how)
    assert refused.value.key == key


def test_what_belongs_to_a_sampler_is_filled_in() -> None:
    found = [SamplingOptions(sampler=name) for name in ("heun", "dopri5", "euler_maruyama")]  # type: ignore[arg-type]
    assert [(how.nfe, how.tolerance, how.diffusion) for how in found] == [
        (50, None, None),
        (None, 1e-5, None),
        (50, None, "sigma"),
    ]
