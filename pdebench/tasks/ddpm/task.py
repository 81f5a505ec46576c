"""Generation by denoising diffusion, as a suite asks for it. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pdebench.tasks.ddpm.evaluation import DdpmEvaluation
from pdebench.tasks.generation.task import GenerationTask
from pdebench.tasks.task import Outputs

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

    def at_work(self, time_scale: float, label_dropout: float | None) -> DdpmLearner:
        """Denoising diffusion; see `DdpmLearner`."""
        from pdebench.tasks.ddpm.learner import DdpmLearner

        return DdpmLearner(time_scale, label_dropout)


DDPM = DdpmTask()
