"""Generation of images by flow matching, as a suite asks for it. Importing this imports no torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pdebench.data.source import Source, SourceConfig
from pdebench.errors import DataError, MetricError, printable
from pdebench.metrics import quality
from pdebench.metrics.metric import Score
from pdebench.metrics.registry import METRICS
from pdebench.tasks.generation.columns import COLUMNS
from pdebench.tasks.generation.evaluation import GenerationEvaluation, SamplesEvaluation
from pdebench.tasks.task import Conflict, LookedAt, Outputs, Passes, Task, Training

if TYPE_CHECKING:
    from pdebench.tasks.generation.learner import GenerationLearner


class GenerationTask(Task):
    """Images from noise, given their class where there are classes."""

    name = "generation"
    summary = "images from noise by flow matching, given their class where there are classes"
    evaluation: ClassVar[type[SamplesEvaluation]] = GenerationEvaluation
    samples = True
    conventions = (
        (
            "Fréchet distance and FID",
            "FID means the 2015 Inception weights and nothing else; with another extractor the column is named for it. "
            "It falls as samples are added, so rows with different sample counts are never one curve.",
        ),
    )
    columns = COLUMNS

    def outputs(self, classes: int | None, channels: int) -> Outputs:
        """A velocity for every value of an image, given the class."""
        return Outputs(classes)

    def learner(self, train: Training) -> GenerationLearner:
        """The objective at work with the section's times, prediction and label dropout."""
        from pdebench.tasks.generation.training_times import TrainingTimes

        times = TrainingTimes(train.times, train.times_mean, train.times_std, train.times_shift)
        return self.at_work(train.time_scale, train.label_dropout, train.prediction, times)

    def at_work(self, *known: Any) -> GenerationLearner:
        """Flow matching with the attributes of a `GenerationLearner`."""
        from pdebench.tasks.generation.learner import GenerationLearner

        return GenerationLearner(*known)

    def recall(self, about: Mapping[str, str]) -> GenerationLearner:
        """See `Task`; a checkpoint of before there was a choice says nothing."""
        from pdebench.tasks.generation.training_times import UNIFORM, times_from

        keys = ("time_scale", "label_dropout", "prediction", "times")
        known = {key: json.loads(about[key]) for key in keys if key in about}
        time_scale, dropout = float(known.get("time_scale", LookedAt.time_scale)), known.get("label_dropout")
        drops = dropout is None or (type(dropout) in (int, float) and 0 <= dropout <= 1)
        if not (math.isfinite(time_scale) and time_scale > 0 and drops):
            raise ValueError(f"its time_scale or label_dropout is none: {printable(str(known))}")
        if (prediction := known.get("prediction", LookedAt.prediction)) not in ("velocity", "x"):
            raise ValueError(f"what it predicts is unknown: {printable(str(prediction))[:40]}")
        times = times_from(known["times"]) if "times" in known else UNIFORM
        return self.at_work(time_scale, dropout, prediction, times)

    def conflict(self, train: Training, evaluate: SamplesEvaluation) -> Conflict | None:
        """Guidance works by an answer without a label, which has to be learned."""
        if evaluate.guidance == 1 or train.label_dropout > 0:
            return None
        return Conflict(
            ("evaluate", "guidance"),
            f"{evaluate.guidance:g} guides away from the answer without a label, which is never trained with "
            "train.label_dropout 0; set that to .1, or leave guidance out",
            (("train", "label_dropout"),),
        )

    def check(
        self, source: Source, data: SourceConfig, classes: int | None, train: Training, evaluate: SamplesEvaluation
    ) -> None:
        """See `Task`."""
        quality.check(evaluate.metrics, evaluate.samples)
        _refuse_meaningless(source, train, evaluate)
        channels = source.channels_of(data)
        quality.check_images(evaluate.metrics, source, data)
        if (guided := evaluate.guidance_channels) is not None and guided > channels:
            raise DataError(
                f"evaluate.guidance_channels is {guided}, but data set '{source.name}' has {channels} channels: "
                f"guide at most so many, or all with null"
            )
        if evaluate.guidance != 1 and evaluate.samples and classes is None:
            raise DataError(
                f"evaluate.guidance is {evaluate.guidance:g}, but data set '{source.name}' has no classes to guide by: "
                "leave guidance out, or take labelled data"
            )

    def fills(self, evaluate: SamplesEvaluation) -> Sequence[Score]:
        """Those of the metrics."""
        return [score for name in evaluate.metrics for score in METRICS[name].scores]

    def passes(self, evaluate: SamplesEvaluation) -> Passes | None:
        """Each sample goes through the network once an evaluation, twice where it is guided; of dopri5 a guess."""
        if not evaluate.samples:
            return None
        return Passes(min(evaluate.samples, evaluate.batch_size), evaluate.samples, evaluate.expected_passes)

    def told(self, evaluate: SamplesEvaluation) -> Mapping[str, str]:
        """How many samples, and the evaluations of the network for each."""
        return {"samples": f"{evaluate.samples} samples", **evaluate.told}


def _refuse_meaningless(source: Source, train: Training, evaluate: SamplesEvaluation) -> None:
    if not evaluate.metrics:
        return
    if not source.meaningful:
        raise MetricError(
            f"data set '{source.name}' is random numbers, so a metric of samples says nothing: leave "
            "evaluate.metrics out, or take other data"
        )
    if not train.steps:
        raise MetricError(
            "train.steps is 0, so a metric of samples says nothing of the model: leave evaluate.metrics out, or train"
        )


GENERATION = GenerationTask()
