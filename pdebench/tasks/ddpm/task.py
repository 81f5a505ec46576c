"""Generation by denoising diffusion, as a suite asks for it. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pdebench.tasks.ddpm.evaluation import DdpmEvaluation
from pdebench.tasks.generation.evaluation import SamplesEvaluation
from pdebench.tasks.generation.task import GenerationTask
from pdebench.tasks.task import Conflict, Outputs, Training

if TYPE_CHECKING:
    from pdebench.tasks.ddpm.learner import DdpmLearner


class DdpmTask(GenerationTask):
    """What generation is, by another objective and other samplers."""

    name = "ddpm"
    summary = "images from noise by denoising diffusion with a learned variance, as DiT's"
    evaluation = DdpmEvaluation

    def outputs(self, classes: int | None, channels: int) -> Outputs:
        """The noise for every value of an image, given the class, and its variance."""
        return Outputs(classes, out_channels=2 * channels)

    def at_work(self, *known: Any) -> DdpmLearner:
        """Denoising diffusion; see `DdpmLearner`."""
        from pdebench.tasks.ddpm.learner import DdpmLearner

        return DdpmLearner(*known)

    def conflict(self, train: Training, evaluate: SamplesEvaluation) -> Conflict | None:
        """What is particular to flows has no meaning here."""
        for key, value in (("times", "uniform"), ("prediction", "velocity")):
            if (given := getattr(train, key)) != value:
                message = f"{given} is for the task generation: denoising diffusion predicts noise at its own steps"
                return Conflict(("train", key), f"{message}; leave it out")
        return super().conflict(train, evaluate)


DDPM = DdpmTask()
