"""Classification at work on one cell: its loss, and what the trained model is asked."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pdebench.data.rows import Rows
from pdebench.data.source import ImageSet
from pdebench.errors import CellWarning
from pdebench.system.distributed import World
from pdebench.system.durations import after_warmup, spread
from pdebench.tasks.classification import mixing
from pdebench.tasks.classification.augmentation import Augmentation
from pdebench.tasks.classification.evaluation import ClassificationEvaluation
from pdebench.tasks.classification.scoring import (
    FEWEST_FOR_TOP5,
    Answers,
    among_the_first,
    answers,
    calibration_error,
)
from pdebench.tasks.generation.pixels import to_model
from pdebench.tasks.learner import Applied, Judged, Learner, Watch

NONE = Augmentation()
LEAST_TIMED, WARM_UP, SECONDS = 10, 3, 1.0  # batches of the timing, and how long it goes on at least


@dataclass(frozen=True)
class Mixing:
    """What a batch draws: what each pixel (H, W) keeps of its own image; None: images are not mixed."""

    weights: Tensor | None

    def __getitem__(self, part: slice) -> Self:
        return self  # of all images alike


@dataclass(frozen=True)
class ClassificationLearner(Learner):
    """Cross-entropy of the class.

    Attributes:
        smoothing: share of the target that all classes have.
        mixup, cutmix: alphas of what mixes images, see `mixing`; 0: never.
        augmentation: what is done to each training image.
    """

    task = "classification"
    smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    augmentation: Augmentation = NONE

    @property
    def augments(self) -> bool:
        """Whether anything is done to training images."""
        return bool(self.augmentation)

    def augment(self, images: Tensor, labels: Tensor | None, generator: Generator) -> Tensor:
        """Cropped, changed and erased as `train:` says."""
        return self.augmentation(images, generator)

    def to_model(self, images: Tensor) -> Tensor:
        """Pixels to [-1, 1]."""
        return to_model(images)

    def draw(self, shape: torch.Size, generator: Generator, *, labelled: bool) -> Mixing:
        """How images are mixed."""
        if not (self.mixup or self.cutmix):
            return Mixing(None)
        return Mixing(mixing.weights(shape[-2], shape[-1], self.mixup, self.cutmix, generator))

    def made_up_labels(self, images: Tensor, classes: int | None) -> Tensor:
        """The first class for all."""
        return torch.zeros(len(images), dtype=torch.int64, device=images.device)

    def loss(self, model: nn.Module, x: Tensor, labels: Tensor | None, draws: Mixing) -> Tensor:
        """The mean cross-entropy, with smoothed labels; of mixed images that of both labels, in their shares."""
        assert labels is not None
        if draws.weights is None:
            return F.cross_entropy(model(x, None), labels, label_smoothing=self.smoothing)
        logits, share = model(mixing.mixed(x, draws.weights), None), draws.weights.mean()
        own, other = (
            F.cross_entropy(logits, one, label_smoothing=self.smoothing) for one in (labels, mixing.neighbours(labels))
        )
        return torch.lerp(other, own, share.to(own.dtype))

    @torch.no_grad()
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
        """The mean cross-entropy, without smoothing, of images as they are."""
        assert labels is not None
        begins = range(0, len(images), batch_size)
        sums = []
        for turn in world.mine(len(begins)):
            part = slice(begins[turn], begins[turn] + batch_size)
            logits = model(self._seen(images[part], device), None)
            sums.append(F.cross_entropy(logits.float(), labels[part].to(device), reduction="sum").item())
        total = 0.0
        for turns in world.rounds(sums, len(begins)):
            for of_a_batch in turns:  # one after another: in another order the sum would round otherwise
                total += of_a_batch
        return total / len(images)

    def apply(
        self,
        model: nn.Module,
        evaluate: ClassificationEvaluation,
        reference: ImageSet,
        held_out: ImageSet,
        *,
        weights: str,
        world: World,
        arithmetic: AbstractContextManager[None],
        folder: Path,
        watch: Watch,
    ) -> Applied:
        """Scores of its answers to all held-out images, and how fast it gives them."""
        if not len(held_out):
            return Applied()
        watch({"stage": "evaluate"})
        with arithmetic:
            found = self._answers(model, held_out, evaluate.batch_size, world)
            seconds = _timed(model, self._batch(held_out, evaluate.batch_size, world.device))
        speed = spread([evaluate.batch_size / one for one in after_warmup(seconds, WARM_UP)])
        columns: dict[str, Any] = {
            "classified_images": len(held_out),
            "classify_images_per_s": speed.median,
            "classify_images_per_s_q1": speed.q1,
            "classify_images_per_s_q3": speed.q3,
            "classify_images_per_s_n": speed.n,
        }
        return Applied((found, len(held_out.class_names or ())), columns, {"classify_batch_seconds": seconds})

    def judge(
        self,
        applied: Applied,
        evaluate: ClassificationEvaluation,
        reference: ImageSet,
        *,
        meaningful: bool,
        device: torch.device,
    ) -> Judged:
        """Top-1, top-5 where there are more than five classes, and calibration."""
        found, classes = applied.made
        if not _all_finite(found):
            return Judged()
        top1 = among_the_first(found, 1)
        columns = {"top1": top1, "top1_error": 1 - top1, "ece": calibration_error(found)}
        return Judged(columns | ({"top5": among_the_first(found, 5)} if classes >= FEWEST_FOR_TOP5 else {}))

    def at_side(
        self,
        model: nn.Module,
        evaluate: ClassificationEvaluation,
        held_out: ImageSet,
        *,
        world: World,
        arithmetic: AbstractContextManager[None],
    ) -> Mapping[str, Any]:
        """Its accuracy there."""
        with arithmetic:
            found = self._answers(model, held_out, evaluate.batch_size, world)
        return {"top1": among_the_first(found, 1)} if _all_finite(found) else {}

    @torch.no_grad()
    def _answers(self, model: nn.Module, held_out: ImageSet, batch_size: int, world: World) -> Answers:
        """What it says of all images, complete in every process."""
        assert held_out.labels is not None
        begins, found = range(0, len(held_out), batch_size), []
        for turn in world.mine(len(begins)):
            part = slice(begins[turn], begins[turn] + batch_size)
            labels = torch.from_numpy(np.array(held_out.labels[part])).to(world.device)
            found.append(answers(model(self._seen(held_out.seen[part], world.device), None).float(), labels))
        turns = [one for turn in world.rounds(found, len(begins)) for one in turn]
        return Answers(np.concatenate([one.place for one in turns]), np.concatenate([one.sure for one in turns]))

    def _seen(self, images: Any, device: torch.device) -> Tensor:
        rows = images if isinstance(images, Tensor) else torch.from_numpy(np.array(images))
        return self.to_model(rows.to(device))

    def _batch(self, held_out: ImageSet, count: int, device: torch.device) -> Tensor:
        """So many of the held-out images, over again where there are fewer."""
        return self._seen(np.resize(np.array(held_out.seen[:count]), (count, *held_out.seen.shape[1:])), device)


def _all_finite(found: Answers) -> bool:
    """Whether there are answers to all images; says where not."""
    none = int((~np.isfinite(found.sure)).sum())
    if none:
        text = f"the answers to {none} of {len(found.sure)} images are NaN or infinite: nothing is scored"
        warnings.warn(text, CellWarning, stacklevel=2)
    return not none


@torch.no_grad()
def _timed(model: nn.Module, images: Tensor) -> list[float]:
    """Seconds of one forward pass after another of a batch that lies on the device."""
    seconds: list[float] = []
    while len(seconds) < LEAST_TIMED + WARM_UP or sum(seconds) < SECONDS:
        began = time.perf_counter()
        model(images, None).amax().item()  # waits for the device
        seconds.append(time.perf_counter() - began)
    return seconds
