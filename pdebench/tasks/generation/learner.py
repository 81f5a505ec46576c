"""Flow matching at work on one cell: its batches, its loss, and the samples that are asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn

from pdebench.data.rows import Rows
from pdebench.data.source import ImageSet
from pdebench.files.picture import png_grid
from pdebench.metrics import quality
from pdebench.metrics.reference import Reference
from pdebench.system.distributed import World
from pdebench.tasks.generation import decoding, path, sampling
from pdebench.tasks.generation.evaluation import GenerationEvaluation
from pdebench.tasks.generation.path import TIME_SCALE, FlowDraws
from pdebench.tasks.generation.pixels import to_model, to_pixels
from pdebench.tasks.learner import Applied, Judged, Learner, Watch

GRID = 8  # samples.png shows GRID x GRID images


@dataclass(frozen=True)
class GenerationLearner(Learner):
    """Flow matching.

    Attributes:
        time_scale: of the times that the model sees.
        label_dropout: the share of labels that are hidden, for guidance; None: not known, of an older checkpoint.
    """

    task = "generation"
    times = (0.1, 0.5, 0.9)  # almost noise, half and half, almost an image
    time_scale: float = TIME_SCALE
    label_dropout: float | None = None

    def to_model(self, images: Tensor) -> Tensor:
        """Pixels to [-1, 1]."""
        return to_model(images)

    def draw(self, shape: torch.Size, generator: Generator, *, labelled: bool) -> FlowDraws:
        """Times, noise, and which labels are hidden."""
        return path.draw(shape, generator, (self.label_dropout or 0.0) if labelled else 0.0)

    def loss(self, model: nn.Module, x: Tensor, labels: Tensor | None, draws: FlowDraws) -> Tensor:
        """The squared error of the predicted velocity."""
        return path.loss(model, x, labels, draws, self.time_scale)

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
        """The same draws of time and noise for every model; no label is hidden."""
        return path.validation_loss(
            model, images, labels, batch_size=batch_size, device=device, time_scale=self.time_scale, world=world
        )

    def shown(self, clean: Tensor, noise: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """The point of the path at that time."""
        t = torch.full((len(clean),), share * self.time_scale, dtype=clean.dtype, device=clean.device)
        return torch.lerp(noise, clean, share), t

    def about(self) -> Mapping[str, Any]:
        """What a sampler has to know."""
        return {"time_scale": self.time_scale, "label_dropout": self.label_dropout}

    def warn(self, evaluate: GenerationEvaluation, training: ImageSet) -> None:
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
        evaluate: GenerationEvaluation,
        reference: ImageSet,
        held_out: ImageSet,
        *,
        weights: str,
        world: World,
        arithmetic: AbstractContextManager[None],
        watch: Watch,
    ) -> Applied:
        """Samples, (N, C, H, W) as the data have them, and how fast they came."""
        if not evaluate.samples:
            return Applied()
        with arithmetic:
            return sampling.samples(
                model, evaluate, reference, time_scale=self.time_scale, weights=weights, world=world, watch=watch
            )

    def judge(
        self,
        applied: Applied,
        evaluate: GenerationEvaluation,
        reference: ImageSet,
        *,
        meaningful: bool,
        device: torch.device,
    ) -> Judged:
        """A picture of the samples, and their metrics against the training images; latents are decoded for both."""
        samples, images = applied.made, reference.images
        if reference.space is not None and reference.space.autoencoder:
            decoder = decoding.Decoder(reference.space, device)
            samples, images = decoder.images(samples), decoder.decoded(reference.seen)
        shown = to_pixels(to_model(samples[: GRID * GRID]))
        drawable = meaningful and shown.shape[1] in (1, 3)
        files = {"samples.png": png_grid(shown, columns=GRID)} if drawable else {}
        if not evaluate.metrics:
            return Judged(files=files)
        name = f"{reference.name}/{reference.split}/{reference.resolution}px"
        name += ", decoded" * (images is not reference.images)
        compared = Reference(name, images, reference.checksum)
        return Judged(quality.evaluate(evaluate.metrics, samples, compared, device=device), files)
