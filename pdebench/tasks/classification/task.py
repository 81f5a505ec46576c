"""Classification of images, as a suite asks for it. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pdebench.data.list_phrases import few
from pdebench.data.source import ClassSizes, Source, SourceConfig, Split
from pdebench.errors import DataError
from pdebench.tasks.classification.columns import AT_SIDES, COLUMNS, SCORES
from pdebench.tasks.classification.evaluation import ClassificationEvaluation
from pdebench.tasks.classification.training import ClassificationTraining
from pdebench.tasks.task import Conflict, Outputs, Task

if TYPE_CHECKING:
    from pdebench.tasks.classification.learner import ClassificationLearner


class ClassificationTask(Task):
    """The class of an image; of its shell see `Backbone`: nothing is conditioned, and the tokens' mean is read."""

    name = "classification"
    summary = "the class of an image, by a ViT around each mixer: no times, no labels, no adaLN"
    evaluation = ClassificationEvaluation
    training = ClassificationTraining
    scores = SCORES
    columns = COLUMNS
    at_sides = AT_SIDES
    conventions = (
        (
            "Shell",
            "Nothing is conditioned: a pre-norm ViT around each mixer, without times, labels, adaLN and gates, whose "
            "tokens are averaged before the last linear layer. A family’s name is that of its mixer: DiT’s, attention, "
            "makes this shell a ViT without a class token.",
        ),
        (
            "Accuracy and calibration",
            "Of the averaged weights, on all that is held out, as it is. The calibration error is that of Guo et al. "
            "2017 over 15 bins of confidence of equal width: the mean gap between confidence and accuracy, 0 at best. "
            "Held-out losses are cross-entropies without label smoothing, training losses with all that training does.",
        ),
    )

    def outputs(self, classes: int | None, channels: int) -> Outputs:
        """A number for each class, by the image alone."""
        return Outputs(num_classes=None, head="vector", out_channels=classes, conditioned=False)

    def learner(self, train: Any) -> ClassificationLearner:
        """Cross-entropy with what the section asks for."""
        from pdebench.tasks.classification.augmentation import Augmentation
        from pdebench.tasks.classification.learner import ClassificationLearner

        augmentation = Augmentation(train.randaugment, train.crop, train.erasing)
        return ClassificationLearner(train.smoothing, train.mixup, train.cutmix, augmentation)

    def looked_at(self) -> ClassificationLearner:
        """Plain cross-entropy."""
        from pdebench.tasks.classification.learner import ClassificationLearner

        return ClassificationLearner()

    def conflict(self, train: Any, evaluate: ClassificationEvaluation) -> Conflict | None:
        """Images are mixed in pairs, on one device at one time."""
        parts = train.processes * train.accumulate
        if not train.mixes or (train.batch_size // parts) % 2 == 0:
            return None
        return Conflict(
            ("train", "batch_size"),
            f"{'mixup' if train.mixup else 'cutmix'} mixes images in pairs, and {train.batch_size // parts} images are "
            f"taken at a time; take a multiple of {2 * parts}",
            (("train", "mixup"), ("train", "cutmix"), ("train", "devices"), ("train", "accumulate")),
        )

    def check(
        self, source: Source, data: SourceConfig, classes: int | None, train: Any, evaluate: ClassificationEvaluation
    ) -> None:
        """See `Task`: there have to be classes to tell apart, each with something to learn, and pictures where
        pictures are changed."""
        if classes is None or classes < 2:
            has = "has no classes" if classes is None else f"has {classes} class"
            raise DataError(
                f"data set '{source.name}' {has}, and classification tells classes apart: take a set with two or more"
            )
        _refuse_unlearnable(source, source.class_sizes(data) or {})
        asked, channels = train.changes_pictures, source.channels_of(data)
        if asked and (source.dtype != "uint8" or channels not in (1, 3)):
            what = f"images of {channels} channels" if source.dtype == "uint8" else "numbers that are no pictures"
            raise DataError(
                f"data set '{source.name}' holds {what}, and train.{asked[0]} changes grey or RGB pictures: leave it "
                "out"
            )

    def told(self, evaluate: ClassificationEvaluation) -> Mapping[str, str]:
        """At how many other resolutions it is evaluated."""
        return {"sides": f"at {', '.join(map(str, evaluate.sides))} px"} if evaluate.sides else {}


def _refuse_unlearnable(source: Source, sizes: ClassSizes) -> None:
    """Refuse classes of which nothing can be learned and tested: no split of one sample has it on both sides.

    That a class of several has none held out is left to chance, or to folders that say the split; a cell says it.

    Raises:
        DataError: there are such classes.
    """
    found: dict[str, dict[Split | None, int]] = {}
    for (name, split), count in sizes.items():
        found.setdefault(name, {})[split] = count
    lone = [name for name, held in found.items() if sum(held.values()) == 1]
    untrained = [name for name, held in found.items() if not held.get("train") and not held.get(None)]
    for names, lack in (
        (lone, "one sample, which can be trained on or held out, and not both"),
        (untrained, "nothing to train on, only what is held out, so that none of that can be told"),
    ):
        if names:
            named = few(f"'{name}'" for name in names)
            who = f"class {named} has" if len(names) == 1 else f"{len(names)} of {len(found)} classes have"
            told = "" if len(names) == 1 else f": {named}"
            raise DataError(
                f"data set '{source.name}': {who} {lack}{told}; classification needs both of each class, so add to it, "
                "or take it out"
            )


CLASSIFICATION = ClassificationTask()
