"""Segmentation at work on one cell: its loss, and what its maps are worth on held-out images."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from pdebench.data.rows import Rows
from pdebench.data.source import IGNORED, ImageSet
from pdebench.files.map_picture import coloured
from pdebench.files.picture import png_grid
from pdebench.system.distributed import World
from pdebench.system.durations import spread
from pdebench.tasks.generation.pixels import to_model, to_pixels
from pdebench.tasks.learner import Applied, Judged, Learner, Watch
from pdebench.tasks.segmentation.boundaries import boundary_f
from pdebench.tasks.segmentation.classes import CLASSES, ClassScores
from pdebench.tasks.segmentation.columns import PICTURE
from pdebench.tasks.segmentation.overlap import Confusion, confusion_of, iou_of_classes, mean_iou, pixel_accuracy
from pdebench.tasks.segmentation.rescaling import rescaled
from pdebench.tasks.task import Evaluation

SHOWN = 8  # images of the picture, each beside its true map and the predicted one
_NONE = -1  # what is ignored of maps of int16, which has no `IGNORED`


def logits_of(model: nn.Module, x: Tensor, sides: Sequence[int]) -> Tensor:
    """Logits (B, classes, *sides), float32, of images (B, C, H, W): those of the tokens, upsampled bilinearly."""
    at_tokens = model(x, None).float()
    return F.interpolate(at_tokens, size=tuple(sides), mode="bilinear", align_corners=False)


def errors(model: nn.Module, x: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """The cross-entropy of each pixel, (B, H, W), 0 where its class is not known; and how many are known.

    `maps` (B, H, W) are as a data set has them.
    """
    logits = logits_of(model, x, maps.shape[1:])
    ignored = ignored_in(maps.dtype)
    return F.cross_entropy(logits, maps.long(), ignore_index=ignored, reduction="none"), (maps != ignored).sum()


def ignored_in(kind: torch.dtype) -> int:
    """The value of a pixel of no known class in maps of this type."""
    return IGNORED if kind == torch.uint8 else _NONE


@dataclass(frozen=True)
class ComparedBatch:
    """What was found of a batch: its confusion matrix, each image's boundary F score, and the seconds it took."""

    confusion: Confusion
    boundaries: list[float | None]
    seconds: float


@dataclass(frozen=True)
class Segmented:
    """What was found of all held-out images, and of the first few what is shown."""

    found: list[ComparedBatch]
    names: tuple[str, ...]
    images: Tensor
    truth: Tensor
    predicted: Tensor


@dataclass(frozen=True)
class SegmentationLearner(Learner):
    """Cross-entropy of every pixel of known class, all of which count alike.

    Attributes:
        rescale: factors between which training images are scaled; None: they are not.
    """

    task = "segmentation"
    rescale: tuple[float, float] | None = None

    @property
    def augments(self) -> bool:
        """Whether images are scaled."""
        return self.rescale is not None

    def augment(self, images: Tensor, labels: Tensor | None, generator: Generator) -> tuple[Tensor, Tensor | None]:
        """Scaled and cropped, the maps as their images are."""
        assert self.rescale is not None
        assert labels is not None
        return rescaled(images, labels, self.rescale, ignored_in(labels.dtype), generator)

    def made_up_labels(self, images: Tensor, classes: int | None) -> Tensor:
        """Maps of the first class."""
        return torch.zeros(len(images), *images.shape[2:], dtype=torch.uint8, device=images.device)

    def to_model(self, images: Tensor) -> Tensor:
        """Pixels to [-1, 1]."""
        return to_model(images)

    def draw(self, shape: torch.Size, generator: Generator, *, labelled: bool) -> Tensor:
        """Nothing is random."""
        return torch.empty(shape[0], 0, device=generator.device)

    def loss(self, model: nn.Module, x: Tensor, labels: Tensor | None, draws: Any) -> Tensor:
        """The mean over the pixels of known class; 0 where there are none."""
        assert labels is not None
        each, known = errors(model, x, labels)
        return each.sum() / known.clamp(min=1)

    @torch.no_grad()
    def validation_loss(
        self,
        model: nn.Module,
        images: Rows | Tensor,
        labels: Rows | Tensor | None,
        *,
        batch_size: int,
        device: torch.device,
        world: World,
    ) -> float:
        """The mean over all pixels of known class."""
        assert labels is not None
        begins = range(0, len(images), batch_size)
        sums = []
        for number in world.mine(len(begins)):
            part = slice(begins[number], begins[number] + batch_size)
            x = self.to_model(_tensor(images[part]).to(device))
            each, known = errors(model, x, _tensor(labels[part]).to(device))
            sums.append((each.double().sum().item(), known.item()))
        total, pixels = 0.0, 0.0
        for turn in world.rounds(sums, len(begins)):
            for of_a_batch, count in turn:  # one after another: in another order the sum would round otherwise
                total, pixels = total + of_a_batch, pixels + count
        return total / max(pixels, 1)

    @torch.no_grad()
    def apply(
        self,
        model: nn.Module,
        evaluate: Evaluation,
        reference: ImageSet,
        held_out: ImageSet,
        *,
        weights: str,
        world: World,
        arithmetic: AbstractContextManager[None],
        folder: Path,
        watch: Watch,
    ) -> Applied:
        """The maps of all held-out images, compared with the true ones, and how fast they came."""
        if not len(held_out):
            return Applied()
        assert held_out.maps is not None
        assert held_out.map_names is not None
        size = evaluate.batch_size
        begins = range(0, len(held_out), size)
        found, shown = [], torch.empty(0)
        with arithmetic:
            for number in world.mine(len(begins)):
                watch({"stage": "segment", "step": begins[number], "steps": len(held_out)})
                part = slice(begins[number], begins[number] + size)
                truth = np.asarray(held_out.maps[part])
                began = time.perf_counter()
                x = self.to_model(_tensor(held_out.seen[part]).to(world.device))
                predicted = logits_of(model, x, truth.shape[1:]).argmax(1).cpu()  # .cpu() waits for the device
                seconds = time.perf_counter() - began
                found.append(_compared(truth, predicted.numpy(), len(held_out.map_names), seconds))
                if number == 0:
                    shown = predicted[:SHOWN]
        rounds = list(world.rounds(found, len(begins)))
        counts = [min(size, len(held_out) - begin) for begin in begins]
        made = Segmented(
            [one for turn in rounds for one in turn],
            held_out.map_names,
            _tensor(held_out.images[:SHOWN])[: len(shown)],
            _tensor(held_out.maps[:SHOWN])[: len(shown)],
            shown,
        )
        seconds_of = [max(one.seconds for one in turn) for turn in rounds]
        return Applied(
            made,
            {"segmented_images": len(held_out), **_speed(counts, seconds_of, world.size)},
            {"segmented_batch_seconds": seconds_of},
        )

    def judge(
        self, applied: Applied, evaluate: Any, reference: ImageSet, *, meaningful: bool, device: torch.device
    ) -> Judged:
        """The scores of the maps, those of each class in a file, and a picture: images, true and predicted maps."""
        made: Segmented = applied.made
        confusion = sum((one.confusion for one in made.found[1:]), made.found[0].confusion)
        boundaries = [score for one in made.found for score in one.boundaries if score is not None]
        iou = iou_of_classes(confusion)
        of_classes = ClassScores(
            names=list(made.names),
            pixels=(confusion.sum(1) / max(confusion.sum(), 1)).tolist(),
            iou=[None if np.isnan(one) else float(one) for one in iou],
        )
        files = {CLASSES: json.dumps(of_classes.model_dump()).encode(), **_picture(made)}
        columns: dict[str, Any] = {"segmented_classes": int((~np.isnan(iou)).sum())}
        if confusion.sum():
            miou = mean_iou(confusion)
            columns |= {"miou": miou, "miou_error": 1 - miou, "pixel_accuracy": pixel_accuracy(confusion)}
        if boundaries:
            columns["boundary_f"] = float(np.mean(boundaries))
        return Judged(columns, files)


def _tensor(part: Any) -> Tensor:
    return part if isinstance(part, Tensor) else torch.from_numpy(np.array(part))


def _compared(truth: NDArray[Any], predicted: NDArray[Any], classes: int, seconds: float) -> ComparedBatch:
    ignored = ignored_in(torch.uint8 if truth.dtype == np.uint8 else torch.int16)
    confusion = confusion_of(truth, predicted, classes, ignored)
    pairs: Iterator[tuple[NDArray[Any], NDArray[Any]]] = zip(truth, predicted, strict=True)
    return ComparedBatch(confusion, [boundary_f(true, found, ignored) for true, found in pairs], seconds)


def _speed(counts: list[int], seconds: list[float], size: int) -> dict[str, float]:
    """Images a second of rounds of `size` batches each, the first left out where there are more."""
    images = [sum(counts[begin : begin + size]) for begin in range(0, len(counts), size)]
    rates = [count / took for count, took in zip(images, seconds, strict=True)]
    full = [rate for rate, count in zip(rates, images, strict=True) if count == max(images)]
    speed = spread(full[1:] or full)
    return {
        "segmented_images_per_s": speed.median,
        "segmented_images_per_s_q1": speed.q1,
        "segmented_images_per_s_q3": speed.q3,
        "segmented_images_per_s_n": speed.n,
    }


def _picture(made: Segmented) -> dict[str, bytes]:
    """The first images, each beside its true map and the predicted one, in the same colours; latents are not shown."""
    images = to_pixels(to_model(made.images))
    if images.shape[1] not in (1, 3):
        return {}
    images = images.expand(-1, 3, -1, -1)
    triples = torch.stack([images, coloured(made.truth), coloured(made.predicted)], 1)
    return {PICTURE: png_grid(triples.flatten(0, 1), columns=6)}
