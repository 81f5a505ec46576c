"""Flow matching at work on one cell: its batches, its loss, and the samples that are asked of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from pdebench.data.rows import Rows
from pdebench.data.source import ImageSet
from pdebench.files.picture import png_grid, webp_grid
from pdebench.metrics import quality
from pdebench.metrics.reference import Reference
from pdebench.system.distributed import World
from pdebench.tasks.generation import decoding, path, sampling
from pdebench.tasks.generation.drawn import digest_of, opened
from pdebench.tasks.generation.evaluation import SamplesEvaluation
from pdebench.tasks.generation.path import TIME_SCALE, FlowDraws, Prediction
from pdebench.tasks.generation.pixels import to_model, to_pixels
from pdebench.tasks.generation.solver import Solved, solve
from pdebench.tasks.generation.training_times import UNIFORM, TrainingTimes
from pdebench.tasks.learner import Applied, Judged, Learner, Watch

GRID = 8  # samples.png shows GRID x GRID images
CLIPS = 4  # samples.webp shows CLIPS x CLIPS clips


@dataclass(frozen=True)
class GenerationLearner(Learner):
    """Flow matching.

    Attributes:
        time_scale: of the times that the model sees.
        label_dropout: the share of labels that are hidden, for guidance; None: not known, of an older checkpoint.
        prediction: what the model puts out.
        trained_at: the distribution of times in training.
    """

    task = "generation"
    times = (0.1, 0.5, 0.9)  # almost noise, half and half, almost an image
    time_scale: float = TIME_SCALE
    label_dropout: float | None = None
    prediction: Prediction = "velocity"
    trained_at: TrainingTimes = UNIFORM

    def to_model(self, images: Tensor) -> Tensor:
        """Pixels to [-1, 1]."""
        return to_model(images)

    def draw(self, shape: torch.Size, generator: Generator, *, labelled: bool) -> FlowDraws:
        """Times, noise, and which labels are hidden."""
        return path.draw(shape, generator, (self.label_dropout or 0.0) if labelled else 0.0, self.trained_at)

    def error(self, model: nn.Module, images: Tensor, labels: Tensor | None, t: Tensor, noise: Tensor) -> Tensor:
        """The error of each image, (B,), in validation: the square of the predicted velocity's."""
        return path.velocity_error(model, images, labels, t, noise, self.time_scale, self.prediction)

    def loss(self, model: nn.Module, x: Tensor, labels: Tensor | None, draws: FlowDraws) -> Tensor:
        """The squared error of the predicted velocity; of a predicted image see `path`."""
        return path.loss(model, x, labels, draws, self.time_scale, self.prediction)

    def validation_loss(
        self,
        model: nn.Module,
        images: Rows | Tensor,
        labels: Tensor | None,
        *,
        batch_size: int,
        device: torch.device,
        world: World,
    ) -> float:
        """The same draws of time and noise for every model, and the error of the velocity; no label is hidden."""
        return path.validation_loss(
            model, images, labels, batch_size=batch_size, device=device, error=self.error, world=world
        )  # fmt: skip

    def shown(self, clean: Tensor, noise: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """The point of the path at that time."""
        t = torch.full((len(clean),), share * self.time_scale, dtype=clean.dtype, device=clean.device)
        return torch.lerp(noise, clean, share), t

    def about(self) -> Mapping[str, Any]:
        """What a sampler has to know, and at what times it was trained; what is as in older checkpoints goes unsaid."""
        about: dict[str, Any] = {"time_scale": self.time_scale, "label_dropout": self.label_dropout}
        if self.prediction != "velocity":
            about["prediction"] = self.prediction
        if self.trained_at != UNIFORM:
            about["times"] = self.trained_at.about()
        return about

    def sampled(
        self, model: nn.Module, noise: Tensor, labels: Tensor | None, evaluate: Any, generator: Generator
    ) -> Solved:
        """Images or clips in the model's range, float32, from `noise` (B, C, ...) and labels (B,) or None.

        Args:
            model: in eval mode.
            noise: standard normal.
            labels: of what is asked for.
            evaluate: the cell's section, or what a command asks in its place.
            generator: of what is random on the way, on the device of `noise`.
        """
        return solve(
            model, noise, labels, evaluate.sampling,
            time_scale=self.time_scale, prediction=self.prediction, generator=generator,
        )  # fmt: skip

    def warn(self, evaluate: SamplesEvaluation, training: ImageSet) -> None:
        """Of copies among the reference images, and of latents that decode to no images.

        Raises:
            ModelError: what decodes latents cannot be loaded.
        """
        if training.space is not None and training.space.autoencoder and evaluate.samples:
            decoding.warn_of_other_latents(training)
        quality.warn_of_copies(evaluate.metrics, training.images)

    def apply(
        self,
        model: nn.Module,
        evaluate: SamplesEvaluation,
        reference: ImageSet,
        held_out: ImageSet,
        *,
        weights: str,
        world: World,
        arithmetic: AbstractContextManager[None],
        folder: Path,
        watch: Watch,
    ) -> Applied:
        """Samples, rows (N, C, ...) as the data have them, latents decoded, and how fast they came."""
        if not evaluate.samples:
            return Applied()
        about = {
            "weights": digest_of(model),
            "labels": None
            if reference.labels is None
            else hashlib.sha256(np.array(reference.labels).tobytes()).hexdigest()[:16],
            "shape": list(reference.seen.shape[1:]),
            "decoded_by": None if reference.space is None else reference.space.autoencoder,
            **evaluate.asked,
        }
        drawn = opened(folder, about, evaluate.samples, evaluate.batch_size, world)
        decode = None
        if reference.space is not None and reference.space.autoencoder:
            decode = decoding.Decoder(reference.space, world.device).images
        with arithmetic:
            return sampling.samples(
                partial(self.sampled, model), evaluate, reference, drawn, decode=decode, weights=weights, world=world,
                watch=watch,
            )  # fmt: skip

    def judge(
        self,
        applied: Applied,
        evaluate: SamplesEvaluation,
        reference: ImageSet,
        *,
        meaningful: bool,
        device: torch.device,
    ) -> Judged:
        """Pictures of samples and real images, and metrics of the former against the latter; latents are decoded."""
        samples, images = applied.made, reference.images
        if reference.space is not None and reference.space.autoencoder:
            images = decoding.Decoder(reference.space, device).decoded(reference.seen)
        files = _picture(samples, "samples") if meaningful else {}
        files |= _picture(images, "real") if files else {}
        if not evaluate.metrics:
            return Judged(files=files)
        name = title_of(reference) + ", decoded" * (images is not reference.images)
        compared = Reference(name, images, reference.checksum)
        return Judged(quality.evaluate(evaluate.metrics, samples, compared, device=device), files)


def title_of(images: ImageSet) -> str:
    """What a record calls a reference: `birds/train/64px`, or `sprites_video/train/8x32px` of clips of 8 frames."""
    frames = f"{images.images.shape[2]}x" if images.images.ndim == 5 else ""
    return f"{images.name}/{images.split}/{frames}{images.resolution}px"


def _picture(samples: Rows, name: str) -> dict[str, bytes]:
    """The first samples side by side, where they are grey or RGB; clips move.

    Real ones at one place are of the same class, since samples are asked for with the reference's classes in its order.
    """
    if samples.shape[1] not in (1, 3):
        return {}
    side = GRID if samples.ndim == 4 else CLIPS
    shown = to_pixels(to_model(torch.from_numpy(samples[: side * side])))
    if samples.ndim == 4:
        return {f"{name}.png": png_grid(shown, columns=side)}
    return {f"{name}.webp": webp_grid(shown, columns=side)}
