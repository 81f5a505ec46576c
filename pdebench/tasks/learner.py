"""A task at work on one cell: what a batch is, what is drawn for it, its loss, and what the trained model is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Generator, Tensor, nn

from pdebench.data.rows import Rows
from pdebench.data.source import ImageSet
from pdebench.system.distributed import World

Watch = Callable[[dict[str, Any]], None]


class Draws(Protocol):
    """What the loss of one batch draws at random; slices are of images."""

    def __getitem__(self, part: slice, /) -> Self:
        """The draws of a part of the batch."""


@dataclass(frozen=True)
class Applied:
    """What a trained model made where it was asked.

    Attributes:
        made: for `Learner.judge`, in the first process; None: there is nothing to judge.
        columns: of the record.
        seconds: samples of what it took, by their names in `timings.json`.
    """

    made: Any = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    seconds: Mapping[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """What was found of what a model made: columns of the record that no cell has else, and pictures, `NAME.png`."""

    columns: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


class Learner(ABC):
    """A task at work on one cell. Models are called as `model(x, t, y)`, see `Backbone`.

    Attributes:
        task: the task's name.
        times: shares of the way at which the survey in space looks at a model, see `shown`; its middle one is the
            survey's main one.
    """

    task: ClassVar[str]
    times: ClassVar[tuple[float, ...]] = (1.0,)

    @property
    def augments(self) -> bool:
        """Whether `augment` changes any image; where not, it is not called."""
        return False

    def augment(self, images: Tensor, labels: Tensor | None, generator: Generator) -> Tensor:
        """Training images (B, C, ...) as a data set has them, changed at random; of the same shape and type.

        Called in threads that read batches, for one image of a batch at a time: what becomes of an image depends on the
        seed, the batch and its place in it, and neither on who reads it nor on what was drawn before. Draw from
        `generator` alone: PyTorch's own source is the training's.
        """
        return images

    def made_up_labels(self, images: Tensor, classes: int | None) -> Tensor | None:
        """Labels for images (B, C, ...) that are made up, to cost a training step of a model conditioned on `classes`
        (None: on none)."""
        return None if classes is None else torch.zeros(len(images), dtype=torch.int64, device=images.device)

    @abstractmethod
    def to_model(self, images: Tensor) -> Tensor:
        """Images as a data set has them (B, C, ...) to floats as the model sees them."""

    @abstractmethod
    def draw(self, shape: torch.Size, generator: Generator, *, labelled: bool) -> Draws:
        """The draws of a batch of `shape` (B, C, ...), on the generator's device.

        Args:
            shape: of the whole batch, whatever part of it is computed here.
            generator: the source of all that is random.
            labelled: the images have labels.
        """

    @abstractmethod
    def loss(self, model: nn.Module, x: Tensor, labels: Tensor | None, draws: Any) -> Tensor:
        """The training loss of a batch, a scalar, for `x` (B, C, ...) from `to_model` and labels (B,) or None."""

    @abstractmethod
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
        """The loss on held-out images (N, C, ...), the same for every model whatever the training's seed.

        Args:
            model: in eval mode, on `device`.
            images: as a data set has them, on the host; they may be read as they are sliced.
            labels: (N,) or None.
            batch_size: images at a time, at most.
            device: where the model is, which is handed a batch at a time.
            world: whose processes take turns at the batches; the sum is one process', bit for bit.
        """

    def shown(self, clean: Tensor, noise: Tensor, share: float) -> tuple[Tensor, Tensor]:
        """What the model is given, `x` and `t`, of clean images (B, C, ...) at a share of `times` of the way to them.

        A task without noise shows the images as they are, at time 0.
        """
        return clean, torch.zeros(len(clean), dtype=clean.dtype, device=clean.device)

    def about(self) -> Mapping[str, Any]:
        """What has to be known to use a model that was trained so; plain data, for its checkpoint."""
        return {}

    def at_side(
        self,
        model: nn.Module,
        evaluate: Any,
        held_out: ImageSet,
        *,
        world: World,
        arithmetic: AbstractContextManager[None],
    ) -> Mapping[str, Any]:
        """What is found of the trained weights on held-out images of another side: see `Task.at_sides`.

        Args:
            model: at that side, in eval mode, on the world's device.
            evaluate: the cell's section, one of whose `sides` it is.
            held_out: the held-out images at that side.
            world: the processes that share the cell; all of them ask.
            arithmetic: the context in which the model is to be called, once.
        """
        return {}

    def warn(self, evaluate: Any, training: ImageSet) -> None:  # noqa: B027 (most have nothing to say)
        """Say what will be wrong with the evaluation, with `warnings.warn`, before anything is trained."""

    def apply(
        self,
        model: nn.Module,
        evaluate: Any,
        reference: ImageSet,
        held_out: ImageSet,
        *,
        weights: str,
        world: World,
        arithmetic: AbstractContextManager[None],
        folder: Path,
        watch: Watch,
    ) -> Applied:
        """What the model makes of what `evaluate:` asks, shared out over all processes.

        Args:
            model: in eval mode, on the world's device.
            evaluate: the cell's section.
            reference: the training images, at the resolution that is evaluated.
            held_out: the held-out images, likewise.
            weights: which the model's are: `averaged` or `initial`.
            world: the processes that share the cell; `made` is complete in the first.
            arithmetic: the context in which the model is to be called, once.
            folder: where it may keep what it makes, which every process sees, until the cell is done; a cell that was
                interrupted finds there what it had.
            watch: told of progress.
        """
        return Applied()

    def judge(
        self, applied: Applied, evaluate: Any, reference: ImageSet, *, meaningful: bool, device: torch.device
    ) -> Judged:
        """What is found of what the model made, in the first process alone.

        Args:
            applied: what `apply` gave; something was made.
            evaluate: the cell's section.
            reference: the training images, at the resolution that is evaluated.
            meaningful: there is something to learn in the data.
            device: on which metrics may compute.
        """
        return Judged()
