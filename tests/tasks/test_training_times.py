"""What flow matching trains at and on: times, and a network that predicts the image."""

from __future__ import annotations

import json
import math
from functools import partial
from typing import Any

import pytest
import torch
from exact_flows import Gaussian, PredictingX
from torch import Generator, Tensor, nn

from pdebench.models.backbone import create_model
from pdebench.suite.config import TrainConfig
from pdebench.tasks.generation import path as flow
from pdebench.tasks.generation.learner import GenerationLearner
from pdebench.tasks.generation.task import GENERATION
from pdebench.tasks.generation.training_times import TrainingTimes

SHAPE = torch.Size([4, 3, 8, 8])


def learner(**train: Any) -> GenerationLearner:
    return GENERATION.learner(TrainConfig(steps=1, batch_size=1, lr=1e-3, **train))


def drawn(count: int = 20_000, **train: Any) -> Tensor:
    shape = torch.Size([count, 1, 1, 1])
    return learner(**train).draw(shape, Generator().manual_seed(0), labelled=False).t.double()


def images(count: int = 4) -> Tensor:
    return torch.randn(count, 3, 8, 8, generator=Generator().manual_seed(7)).clamp(-1, 1)


# ---- times


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.8, 0.8), (1.0, 0.5)])
def test_logit_normal_times_have_the_mean_and_the_deviation_that_are_asked_for(mean: float, std: float) -> None:
    t = drawn(times="lognormal", times_mean=mean, times_std=std)
    logits = torch.log(t / (1 - t))
    assert float(logits.mean()) == pytest.approx(mean, abs=4 * std / math.sqrt(len(t)))
    assert float(logits.std()) == pytest.approx(std, abs=4 * std / math.sqrt(2 * len(t)))
    within = (((logits - mean) / std).abs() < 1).double().mean()
    assert float(within) == pytest.approx(0.6827, abs=0.014), "normal, not merely of that deviation"


def test_shifted_times_are_even_ones_moved_by_the_formula() -> None:
    """SD3's, of the time from the image to the noise."""
    s = 1 - drawn()
    moved = 3 * s / (1 + 2 * s)
    torch.testing.assert_close(drawn(times="shifted"), 1 - moved, atol=1e-6, rtol=0)
    assert drawn(times="shifted").mean() < drawn().mean(), "towards noise"


def test_even_times_are_those_of_before_and_noise_is_the_same_whatever_the_times() -> None:
    generator = Generator().manual_seed(3)
    t, noise = torch.rand(4, generator=generator), torch.randn(SHAPE, generator=generator)
    draws = learner().draw(SHAPE, Generator().manual_seed(3), labelled=False)
    assert torch.equal(draws.t, t)
    assert torch.equal(draws.noise, noise)
    shifted = learner(times="shifted").draw(SHAPE, Generator().manual_seed(3), labelled=False)
    assert torch.equal(shifted.noise, noise)


# ---- a predicted image


def test_the_exact_image_is_the_exact_velocity() -> None:
    """Up to t = .95, from where on 1 - t counts as .05."""
    gaussian, x = Gaussian(), images()
    t = torch.tensor([0.0, 0.3, 0.8, 0.949])
    exact = flow.velocity(gaussian, x, t, None)
    torch.testing.assert_close(flow.velocity(PredictingX(gaussian), x, t, None, prediction="x"), exact)
    late = torch.tensor([0.96, 0.98, 0.99, 1.0])
    shorter = flow.velocity(PredictingX(gaussian), x, late, None, prediction="x")
    share = ((1 - late) / 0.05).view(-1, 1, 1, 1)
    torch.testing.assert_close(shorter, share * flow.velocity(gaussian, x, late, None), atol=1e-5, rtol=1e-4)


class Knows(nn.Module):
    """Puts out given images, whatever it is shown."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = nn.Parameter(answer.clone())

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        return self.answer


def test_who_knows_the_image_has_no_loss_and_who_is_wrong_the_velocitys() -> None:
    clean, chosen = images(), learner(prediction="x")
    t = torch.tensor([0.0, 0.5, 0.9, 0.99])
    draws = flow.FlowDraws(t, torch.randn(SHAPE, generator=Generator().manual_seed(1)), None)
    assert chosen.loss(Knows(clean), clean, None, draws).item() < 1e-10
    wrong = Knows(clean + 0.1)
    value = chosen.loss(wrong, clean, None, draws)
    remaining = torch.tensor([1, 0.5, 0.1, 0.05])
    assert value.item() == pytest.approx(float((0.1 / remaining).square().mean()), rel=1e-4)
    value.backward()
    gradient = 2 * 0.1 / remaining.view(-1, 1, 1, 1).square() / clean.numel()
    torch.testing.assert_close(wrong.answer.grad, gradient.expand(SHAPE), rtol=1e-3, atol=0)
    early = flow.FlowDraws(torch.full((4,), 0.5), draws.noise, None)
    of_velocity = flow.velocity_error(wrong, clean, None, early.t, early.noise, prediction="x").mean()
    assert chosen.loss(wrong, clean, None, early).item() == pytest.approx(of_velocity.item(), rel=1e-4)


def test_held_out_losses_are_of_the_velocity_at_even_times_however_it_was_trained() -> None:
    """One flow, as a velocity and as an image: one loss, but for what the end costs."""
    gaussian, pixels = Gaussian(), images(64)
    by_velocity = flow.validation_loss(gaussian, pixels, None)
    by_x = flow.validation_loss(
        PredictingX(Gaussian()), pixels, None, error=partial(flow.velocity_error, prediction="x")
    )
    assert by_x == pytest.approx(by_velocity, rel=0.02)
    assert by_x > by_velocity, "from t = .95 on the velocity that solvers follow is shorter than it should be"
    times = torch.tensor(gaussian.times).view(2, -1)  # a draw in each half of [0, 1]
    assert ((times * 2).long() == torch.tensor([[0], [1]])).all()


# ---- a checkpoint


OTHERS: list[dict[str, Any]] = [
    {},
    {"prediction": "x"},
    {"times": "lognormal", "times_mean": -0.8, "times_std": 0.8},
    {"times": "shifted", "times_shift": 2.0, "prediction": "x"},
]


@pytest.mark.parametrize("train", OTHERS)
def test_a_checkpoint_remembers_how_it_was_trained(train: dict[str, Any]) -> None:
    trained = learner(**train)
    told = {key: json.dumps(value) for key, value in trained.about().items()}
    assert GENERATION.recall(told) == trained
    assert (set(told) == {"time_scale", "label_dropout"}) == (not train), "as before where nothing is new"


def test_a_checkpoint_of_before_predicts_the_velocity_of_even_times() -> None:
    found = GENERATION.recall({"time_scale": "1.0"})
    assert (found.prediction, found.trained_at) == ("velocity", TrainingTimes())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "claim",
    [
        {"prediction": '"noise"'},
        {"prediction": "1"},
        {"prediction": "[]"},
        {"times": '"lognormal"'},
        {"times": '{"kind": "lognormal", "mean": 0}'},
        {"times": '{"kind": "lognormal", "mean": NaN, "std": 1}'},
        {"times": '{"kind": "lognormal", "mean": 0, "std": -1}'},
        {"times": '{"kind": "shifted", "shift": true}'},
        {"times": '{"kind": ["uniform"]}'},
        {"times": '{"kind": "uniform", "shift": 1}'},
        {"times": "{}"},
    ],
)
def test_a_checkpoint_that_says_what_cannot_be_is_none(claim: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"its times are none|what it predicts is unknown"):
        GENERATION.recall(claim)


# ---- at work


@pytest.mark.parametrize("train", OTHERS)
def test_a_small_network_learns_under_each(train: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = create_model("DiT-XXS/4", input_size=8, in_channels=3, num_classes=None, depth=1, width=32, heads=2)
    chosen, clean, draws = learner(**train), images(16), Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    held_out = chosen.validation_loss(model, clean, None, batch_size=16, device=torch.device("cpu"), world=flow.ALONE)
    for _ in range(60):
        optimizer.zero_grad()
        chosen.loss(model, clean, None, chosen.draw(clean.shape, draws, labelled=False)).backward()
        optimizer.step()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    after = chosen.validation_loss(model, clean, None, batch_size=16, device=torch.device("cpu"), world=flow.ALONE)
    assert after < 0.9 * held_out
