"""Denoising diffusion: its arithmetic by Bayes' rule and by diffusers, its loss by hand, and cells of the task."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Generator, Tensor, nn
from torch.distributions import Normal, kl_divergence

from pdebench.errors import ModelError
from pdebench.models.backbone import create_model
from pdebench.plan.trace import trace_step
from pdebench.run.cell import run_cell
from pdebench.run.checkpoint import read_checkpoint, write_checkpoint
from pdebench.run.sampling import sample_checkpoint
from pdebench.suite.config import Cell, TrainConfig
from pdebench.tasks.ddpm.evaluation import DdpmEvaluation
from pdebench.tasks.ddpm.learner import DdpmLearner
from pdebench.tasks.ddpm.objective import denoising_error, step_at
from pdebench.tasks.ddpm.sampler import denoise
from pdebench.tasks.ddpm.schedule import FIRST_BETA, LAST_BETA, STEPS, WHOLE, Schedule, respaced
from pdebench.tasks.ddpm.task import DDPM

BETAS = np.linspace(1e-4, 0.02, 1000)
LEFT = np.array([math.prod(1 - BETAS[: k + 1]) for k in range(1000)])


class Answers(nn.Module):
    """A given function of (x, step, y) as the network, which remembers the steps that it was asked for."""

    def __init__(self, function: Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.function = function
        self.steps: list[float] = []

    def forward(self, x: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        self.steps.append(t[0].item())
        return torch.cat(self.function(x, t, y), 1)


# ---- the steps


@pytest.mark.parametrize("schedule", [WHOLE, respaced(250), respaced(7), Schedule((10, 999))])
def test_the_step_before_is_what_bayes_rule_says(schedule: Schedule) -> None:
    """q(x_j | x) and q(x_k | x_j) are normal, and so is their product: precisions add, and means weighted by them."""
    tables, kept = schedule.arrays(), list(schedule.kept)
    for place in range(1, len(kept)):
        before, left = LEFT[kept[place - 1]], LEFT[kept[place]]
        stays = left / before  # x_k = sqrt(stays) x_j + sqrt(1 - stays) eps
        precision = 1 / (1 - before) + stays / (1 - stays)
        image, state = math.sqrt(before) / (1 - before), math.sqrt(stays) / (1 - stays)
        assert tables["mean_image"][place] == pytest.approx(image / precision, rel=1e-9)
        assert tables["mean_state"][place] == pytest.approx(state / precision, rel=1e-9)
        assert tables["log_least"][place] == pytest.approx(-math.log(precision), abs=1e-9)
        assert tables["log_most"][place] == pytest.approx(math.log(1 - stays), abs=1e-9)
        assert tables["image"][place] ** 2 + tables["noise"][place] ** 2 == pytest.approx(1)
        assert tables["image"][place] == pytest.approx(math.sqrt(left), rel=1e-9)
        assert tables["image_before"][place] == pytest.approx(math.sqrt(before), rel=1e-9)
    assert (tables["mean_image"][0], tables["mean_state"][0]) == (1, 0)  # before the first step there is the image


@pytest.mark.parametrize("count", [2, 3, 50, 250, 999, 1000])
def test_kept_steps_are_even_from_the_first_to_the_last(count: int) -> None:
    kept = respaced(count).kept
    gaps = set(np.diff(kept).tolist())
    assert (len(kept), kept[0], kept[-1]) == (count, 0, STEPS - 1)
    assert max(gaps) - min(gaps) <= 1
    assert 0 not in gaps


def test_times_from_0_to_1_are_the_steps() -> None:
    t = torch.tensor([0.0, 0.0005, 0.0011, 0.5, 0.99999994])
    assert step_at(t).tolist() == [0, 0, 1, 500, 999]


# ---- samplers


@pytest.mark.parametrize("nfe", [10, 250])
def test_the_sampler_steps_as_diffusers_scheduler_does(nfe: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(
        beta_start=FIRST_BETA, beta_end=LAST_BETA, variance_type="learned_range", clip_sample=False
    )
    scheduler.set_timesteps(timesteps=list(reversed(respaced(nfe).kept)))
    model = Answers(lambda x, t, y: (0.9 * x.tanh() + t.view(-1, 1, 1, 1) / 2000, (3 * x).sin()))
    noise = torch.randn(3, 2, 4, 4, generator=Generator().manual_seed(0))
    theirs, generator = noise, Generator().manual_seed(1)
    for t in scheduler.timesteps:
        theirs = scheduler.step(model(theirs, t.expand(3).float()), t, theirs, generator=generator).prev_sample
    model.steps.clear()
    ours = denoise(model, noise, generator=Generator().manual_seed(1), nfe=nfe)
    assert model.steps == list(reversed(respaced(nfe).kept))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


MEAN, DEVIATION = 0.4, 0.3


def of_a_normal(x: Tensor, t: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
    """The exact noise where images are normal, and the most variance; over a thousand steps the least is as good."""
    left = torch.from_numpy(LEFT).float()[t.long()].view(-1, 1, 1, 1)
    total = left * DEVIATION**2 + 1 - left
    noise = (1 - left).sqrt() * (x - left.sqrt() * MEAN) / total
    return noise, torch.full_like(x, 1.0)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_the_exact_noise_of_a_normal_set_samples_that_set(sampler: Any) -> None:
    noise = torch.randn(16, 1, 16, 16, generator=Generator().manual_seed(0))
    made = denoise(Answers(of_a_normal), noise, generator=Generator().manual_seed(1), sampler=sampler, nfe=1000)
    assert made.mean().item() == pytest.approx(MEAN, abs=0.015)
    assert made.std().item() == pytest.approx(DEVIATION, abs=0.015)
    straight = torch.corrcoef(torch.stack([made.flatten(), noise.flatten()]))[0, 1].item()
    assert straight > 0.999 if sampler == "ddim" else straight < 0.1  # one is a map of its noise, the other draws anew


def test_guidance_is_of_the_noise_of_the_first_channels_and_the_variance_is_that_of_the_labels() -> None:
    def function(x: Tensor, t: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        assert y is not None
        free = (y < 0).view(-1, 1, 1, 1).float()
        return 0.1 * x + 0.2 * free, x.sin() - free

    def as_guided(x: Tensor, t: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        return 0.1 * x - torch.tensor([0.4, 0.0]).view(1, 2, 1, 1), x.sin()  # .2 + 3 (0 - .2), of one channel

    noise, labels = torch.randn(3, 2, 4, 4), torch.tensor([0, 1, 2])
    guided = denoise(
        Answers(function), noise, labels, generator=Generator().manual_seed(0), nfe=5, guidance=3.0, guidance_channels=1
    )
    exact = denoise(Answers(as_guided), noise, generator=Generator().manual_seed(0), nfe=5)
    torch.testing.assert_close(guided, exact, rtol=1e-4, atol=1e-4)


def test_a_model_without_a_variance_is_refused() -> None:
    model = create_model("None-DiT-XXS/4", input_size=8, in_channels=3, num_classes=None, depth=1, width=32)
    with pytest.raises(ModelError, match="puts out 3 channels for 3, where the task ddpm needs twice as many"):
        denoise(model, torch.randn(1, 3, 8, 8), generator=Generator(), nfe=2)


# ---- the loss


def test_the_loss_is_that_of_the_noise_and_of_the_bound() -> None:
    random = Generator().manual_seed(0)
    images = torch.randint(0, 256, (6, 2, 4, 4), generator=random) / 127.5 - 1
    images[0, 0, 0, :2] = torch.tensor([-1.0, 1.0])
    noise = torch.randn(images.shape, generator=random)
    steps = torch.tensor([0, 0, 1, 2, 400, 999])

    def near(x: Tensor, t: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor]:
        return noise + 0.3 * x.cos(), (2 * x).sin()

    found = denoising_error(Answers(near), images, None, (steps + 0.5) / STEPS, noise, 1000.0)
    x0, eps = images.double(), noise.double()
    exact = []
    for row, k in enumerate(steps.tolist()):
        left, before, beta = LEFT[k], LEFT[k - 1] if k else 1.0, BETAS[k]
        x = math.sqrt(left) * x0[row] + math.sqrt(1 - left) * eps[row]
        predicted, share = eps[row] + 0.3 * x.cos(), (2 * x).sin()
        guess = (x - math.sqrt(1 - left) * predicted) / math.sqrt(left)
        least = beta * (1 - before) / (1 - left) if k else BETAS[1] * (1 - LEFT[0]) / (1 - LEFT[1])

        def posterior(image: Tensor, x: Tensor = x, beta: float = beta, b: float = before, a: float = left) -> Tensor:
            return (math.sqrt(b) * beta * image + math.sqrt(1 - beta) * (1 - b) * x) / (1 - a)

        chosen = Normal(posterior(guess), beta ** ((share + 1) / 4) * least ** ((1 - share) / 4))
        if k:
            bound = kl_divergence(Normal(posterior(x0[row]), math.sqrt(least)), chosen)
        else:
            low, high = chosen.cdf(x0[row] - 1 / 255), chosen.cdf(x0[row] + 1 / 255)
            low, high = low.where(x0[row] > -0.999, 0.0 * low), high.where(x0[row] < 0.999, 0.0 * high + 1)
            bound = -(high - low).clamp(min=1e-12).log()
        exact.append((predicted - eps[row]).square().mean() + bound.mean() / math.log(2))
    # at step 0 the normal distribution function is an approximation
    torch.testing.assert_close(found[2:].double(), torch.stack(exact)[2:], rtol=2e-4, atol=0)
    torch.testing.assert_close(found[:2].double(), torch.stack(exact)[:2], rtol=2e-2, atol=0)


def test_the_bound_teaches_the_variance_alone() -> None:
    torch.manual_seed(0)
    images, noise, t = torch.randn(4, 2, 4, 4), torch.randn(4, 2, 4, 4), torch.tensor([0.0, 0.2, 0.5, 0.9])
    predicted, share = torch.randn(2, 4, 2, 4, 4).unbind()
    predicted.requires_grad_()
    share.requires_grad_()
    denoising_error(Answers(lambda x, t, y: (predicted, share)), images, None, t, noise, 1000.0).sum().backward()
    torch.testing.assert_close(predicted.grad, 2 * (predicted.detach() - noise) / noise[0].numel())
    assert share.grad is not None
    assert (share.grad.flatten(1).norm(dim=1) > 0).all()


def test_the_survey_sees_a_share_of_the_way() -> None:
    learner, clean, noise = DdpmLearner(), torch.ones(2, 1, 4, 4), torch.full((2, 1, 4, 4), 3.0)
    x, t = learner.shown(clean, noise, 0.4)
    assert t.tolist() == [600, 600]
    torch.testing.assert_close(x, torch.full_like(x, math.sqrt(LEFT[600]) + 3 * math.sqrt(1 - LEFT[600])))


# ---- cells


def test_a_cell_trains_validates_samples_and_is_sampled(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(40):
        file = tmp_path / "images" / ("red" if number % 2 else "blue") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 16, 3), np.uint8)).save(file)
    sections = {
        "suite": "one",
        "task": "ddpm",
        "data": {"name": "folder", "resolution": 16, "path": str(tmp_path / "images")},
        "model": {"family": "DiT", "size": "XXS", "patch": 4, "depth": 1},
        "train": {"steps": 12, "batch_size": 8, "lr": 1e-3, "ema": 0.5},
        "evaluate": {"samples": 4, "nfe": 4, "batch_size": 2, "guidance": 2.0},
        "measure": {"spatial": True},
    }
    cell = Cell.model_validate_json(json.dumps(sections))
    assert cell.evaluate.sampler == "ddpm"  # type: ignore[attr-defined]
    rows = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        rows.append(run_cell(cell, tmp_path / name))
    assert rows[0]["val_loss"] == rows[1]["val_loss"]
    assert 0.5 < rows[0]["val_loss"] < 3
    pictures = [(tmp_path / name / "samples.png").read_bytes() for name in ("a", "b")]
    assert pictures[0] == pictures[1]
    found = read_checkpoint(tmp_path / "a" / "checkpoint.safetensors")
    assert found.learner == DdpmLearner(1000.0, 0.1)
    assert found.model.out_channels == 6


def checkpoint_of(folder: Path) -> Path:
    torch.manual_seed(0)
    build = {"input_size": 8, "in_channels": 3, "num_classes": 2, "depth": 1, "width": 32, "heads": 2}
    build |= {"out_channels": 6}
    model = create_model("DiT-XXS/4", **build)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.1)
    write_checkpoint(model, "DiT-XXS/4", build, DDPM.learner(TrainConfig(steps=1, batch_size=1, lr=1e-3)), folder)
    return folder / "checkpoint.safetensors"


def sampled(checkpoint: Path, **options: Any) -> bytes:
    asked = {"count": 2, "guidance": 1.0, "nfe": None, "seed": 0} | options
    return sample_checkpoint(checkpoint, checkpoint.with_name("s.png"), **asked).read_bytes()


def test_a_checkpoint_is_sampled_by_its_tasks_samplers(tmp_path: Path) -> None:
    path = checkpoint_of(tmp_path)
    assert sampled(path, count=1) == sampled(path, count=1, sampler="ddpm", nfe=250)
    few = [
        sampled(path, nfe=4),
        sampled(path, nfe=5),
        sampled(path, nfe=4, sampler="ddim"),
        sampled(path, nfe=4, seed=1),
    ]
    assert len(set(few)) == 4
    assert sampled(path, nfe=4) == few[0]
    with pytest.raises(ModelError, match=r"of the task ddpm is not sampled so: sampler 'heun'"):
        sampled(path, sampler="heun")
    with pytest.raises(ModelError, match="nfe 1001"):
        sampled(path, nfe=1001)


def test_what_is_asked_has_dits_defaults() -> None:
    asked = DdpmEvaluation()
    assert (asked.sampler, asked.nfe) == ("ddpm", 250)
    assert DDPM.passes(DdpmEvaluation(samples=6, batch_size=4, guidance=4.0)) == (4, 6, 500)
    assert DDPM.outputs(10, 4)[:3] == (10, "field", 8)


def test_a_plan_traces_its_step_and_leaves_nothing_behind() -> None:
    """What a trace makes has no values, and is not to be met by the training that follows in the same process."""
    step = trace_step("DiT-XXS/4", batch_size=2, task="ddpm", input_size=8, out_channels=8)
    assert sum(step.forward.values()) > 50
    clean = torch.zeros(2, 4, 8, 8)
    model = create_model("DiT-XXS/4", input_size=8, out_channels=8)
    draws = DdpmLearner().draw(clean.shape, Generator().manual_seed(0), labelled=False)
    assert DdpmLearner().loss(model, clean, None, draws).item() == pytest.approx(1, abs=0.3)
