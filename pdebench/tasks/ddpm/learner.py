"""Denoising diffusion at work on one cell: generation with another loss and other samplers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from pdebench.tasks.ddpm import objective
from pdebench.tasks.ddpm.sampler import denoise
from pdebench.tasks.ddpm.schedule import STEPS, WHOLE
from pdebench.tasks.generation.learner import GenerationLearner
from pdebench.tasks.generation.path import FlowDraws
from pdebench.tasks.generation.solver import Solved


@dataclass(frozen=True)
class DdpmLearner(GenerationLearner):
    """Denoising diffusion with a learned variance.

    A step k of the thousand is time k / 1000 of [0, 1): with `time_scale` 1000 the model sees k, as DiT does.
    """

    task = "ddpm"

    def error(self, model: nn.Module, images: Tensor, labels: Tensor | None, t: Tensor, noise: Tensor) -> Tensor:
        """The loss of each image, (B,): of the noise, and of its variance."""
        return objective.denoising_error(model, images, labels, t, noise, self.time_scale)

    def loss(self, model: nn.Module, x: Tensor, labels: Tensor | None, draws: FlowDraws) -> Tensor:
        """Its mean."""
        return self.error(model, x, draws.shown(labels), draws.t, draws.noise).mean()

    def shown(self, clean: Tensor, noise: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """The step that leaves `share` of the thousand to be taken away again, and its time as the model sees it."""
        step = objective.step_at(torch.full((len(clean),), 1 - share, device=clean.device))
        x = objective.shown(WHOLE.tables(clean.device), step, clean, noise).to(clean.dtype)
        return x, step.to(clean.dtype) * (self.time_scale / STEPS)

    def sampled(
        self, model: nn.Module, noise: Tensor, labels: Tensor | None, evaluate: Any, generator: Generator
    ) -> Solved:
        """See `GenerationLearner`."""
        images = denoise(
            model, noise, labels, generator=generator,
            sampler=evaluate.sampler, nfe=evaluate.nfe, guidance=evaluate.guidance,
            guidance_channels=evaluate.guidance_channels, time_scale=self.time_scale,
        )  # fmt: skip
        return Solved(images, evaluate.nfe, evaluate.expected_passes)
