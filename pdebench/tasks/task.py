"""What a task is: a `Task` says what may be asked of it and what comes out. Importing this imports no torch.

A package outside this one adds a task with an entry point in the group `pdebench.tasks` that resolves to a `Task`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

from pdebench.column import Column
from pdebench.data.source import Source, SourceConfig, Target
from pdebench.metrics.metric import Score
from pdebench.models.shell import Head
from pdebench.tasks.training import TrainConfig, TrainSection

if TYPE_CHECKING:
    from pdebench.tasks.learner import Learner


class Evaluation(BaseModel):
    """What is measured of a trained model; what every task can be asked."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    batch_size: int = Field(default=64, gt=0, description="Images at a time.")
    resolution: int | None = Field(
        default=None,
        gt=0,
        description="Side, in pixels, at which to evaluate and to measure the loss again (`val_loss_transfer`) with "
        "the weights as trained; null: where they were trained.",
    )
    frames: int | None = Field(
        default=None,
        gt=0,
        description="Of clips: frames at which to evaluate and to measure the loss again (`val_loss_transfer`) with "
        "the weights as trained; null: as many as were trained on.",
    )
    every: int | None = Field(
        default=None,
        gt=0,
        description="Steps between evaluations of the validation loss, which always ends training.",
    )

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of images, in pixels, at which the trained weights are looked at beside `resolution`."""
        return ()


class Training(Protocol):
    """The part of a suite's `train:` section, as `TrainConfig` has it, that tasks read."""

    @property
    def steps(self) -> int:
        """Optimiser steps."""

    @property
    def time_scale(self) -> float:
        """What times in [0, 1] are multiplied by before the network sees them."""

    @property
    def label_dropout(self) -> float:
        """Share of labels hidden."""

    @property
    def times(self) -> Literal["uniform", "lognormal", "shifted"]:
        """What times are drawn from."""

    @property
    def times_mean(self) -> float | None:
        """Of logit(t), with `lognormal`."""

    @property
    def times_std(self) -> float | None:
        """Of logit(t), with `lognormal`."""

    @property
    def times_shift(self) -> float | None:
        """Of `shifted`."""

    @property
    def prediction(self) -> Literal["velocity", "x"]:
        """What the network puts out."""


@dataclass(frozen=True)
class LookedAt:
    """The `train:` section of a model that is only looked at."""

    steps: int = 0
    time_scale: float = 1000.0
    label_dropout: float = 0.0
    times: Literal["uniform", "lognormal", "shifted"] = "uniform"
    times_mean: float | None = None
    times_std: float | None = None
    times_shift: float | None = None
    prediction: Literal["velocity", "x"] = "velocity"


class Outputs(NamedTuple):
    """What a model of the task is given beside images, and what it puts out; arguments of `create_model`.

    Attributes:
        num_classes: classes that it is conditioned on; None: it sees no labels.
        head: `field`, a value at every pixel, `tokens`, one at every token, or `vector`, one for the whole image.
        out_channels: of what comes out; None: as many as the images have.
        conditioned: it is given times, and labels where there are any; False: images alone, by a shell without both.
    """

    num_classes: int | None
    head: Head = "field"
    out_channels: int | None = None
    conditioned: bool = True


class Passes(NamedTuple):
    """What an evaluation asks of a model: `images`, `batch` at once, each through the network so often."""

    batch: int
    images: int
    evaluations: int


@dataclass(frozen=True)
class Conflict:
    """Keys of a cell that do not go together.

    Attributes:
        where: the key to blame, `(section, key)`.
        message: why, and what to do.
        shared: the other keys that it takes to be wrong.
    """

    where: tuple[str, str]
    message: str
    shared: tuple[tuple[str, str], ...] = ()


class Task(ABC):
    """What is learned. Subclasses set the attributes.

    Attributes:
        name: as a suite writes it.
        summary: one line for lists.
        evaluation: what `evaluate:` may ask of it, with defaults.
        training: what `train:` may say; other keys are refused.
        samples: whether it makes images that metrics may score.
        conventions: what a reader of a report has to know of its numbers, each with a heading.
        at_sides: columns that it fills once for each of `Evaluation.sides`, as `NAME_at_SIDE`.
        scores: what it fills of columns that judge a model beside its losses and the scores of metrics.
        columns: what else it fills; of another package's task, all begin with the task's name.
        target: what of the data it learns: `labels` of images, or `maps` of their pixels. It decides which classes
            `outputs` and `check` are told the number of, and what a learner gets as labels.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    evaluation: ClassVar[type[Evaluation]] = Evaluation
    training: ClassVar[type[TrainSection]] = TrainConfig
    samples: ClassVar[bool] = False
    conventions: ClassVar[tuple[tuple[str, str], ...]] = ()
    at_sides: ClassVar[Mapping[str, Column]] = {}
    scores: ClassVar[tuple[Score, ...]] = ()
    columns: ClassVar[Mapping[str, Column]] = {}
    target: ClassVar[Target] = "labels"

    @abstractmethod
    def outputs(self, classes: int | None, channels: int) -> Outputs:
        """What models put out for images of `channels` channels and of so many classes; None: without labels."""

    @property
    def conditioned(self) -> bool:
        """Whether models are given times, and labels where there are any."""
        return self.outputs(None, 1).conditioned

    @abstractmethod
    def learner(self, train: Any) -> Learner:
        """The task at work on a cell, whose section is a `Task.training`; imports torch."""

    def recall(self, about: Mapping[str, str]) -> Learner:
        """The learner of a checkpoint, from the texts of JSON that `Learner.about` became.

        Raises:
            ValueError: they say nothing that could have been.
        """
        return self.looked_at()

    def looked_at(self) -> Learner:
        """The learner of a model that is only looked at, or costed."""
        return self.learner(LookedAt())

    def conflict(self, train: Any, evaluate: Any) -> Conflict | None:
        """What is wrong with what is asked of a cell, seen from its sections alone."""
        return None

    def check(  # noqa: B027 (most ask for nothing)
        self, source: Source, data: SourceConfig, classes: int | None, train: Any, evaluate: Any
    ) -> None:
        """See that what is asked of cells can be done with these data, before anything is trained.

        Raises:
            DataError: the data cannot serve it.
            MetricError: a metric's extractor or weights are missing, or it would say nothing.
        """

    def fills(self, evaluate: Any) -> Sequence[Score]:
        """The scores that a cell fills: the task's own, and those of the metrics that are asked for."""
        return self.scores

    def passes(self, evaluate: Any) -> Passes | None:
        """The forward passes that `evaluate:` asks of a trained model; None: none."""
        return None

    def told(self, evaluate: Any) -> Mapping[str, str]:
        """What its cost depends on, in a word or two each, for the table of a plan."""
        return {}
