"""Segmentation of images, as a suite asks for it. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pdebench.data.source import Source, SourceConfig
from pdebench.errors import DataError
from pdebench.metrics.metric import Score
from pdebench.tasks.segmentation.columns import COLUMNS
from pdebench.tasks.segmentation.training import SegmentationTraining
from pdebench.tasks.task import Evaluation, Outputs, Passes, Task

if TYPE_CHECKING:
    from pdebench.tasks.segmentation.learner import SegmentationLearner


class SegmentationTask(Task):
    """The class of every pixel, by a linear map of every token (Segmenter's linear decoder, arXiv 2105.05633)."""

    name = "segmentation"
    summary = "the class of every pixel, by a linear map of every token, upsampled bilinearly"
    scores = (
        Score(
            "miou",
            "Mean IoU",
            "share",
            higher_is_better=True,
            meaning="what the true and the told pixels of a class share, of all that either has; the mean over classes",
        ),
        Score(
            "pixel_accuracy",
            "Pixel accuracy",
            "share",
            higher_is_better=True,
            meaning="the share of pixels whose class is told right",
        ),
        Score(
            "boundary_f",
            "Boundary F score",
            "share",
            higher_is_better=True,
            meaning="how well the borders between classes lie where the true ones do, from 0 to 1",
        ),
    )
    training = SegmentationTraining
    columns = COLUMNS
    conventions = (
        (
            "Shell",
            "Nothing is conditioned: a pre-norm ViT around each mixer, without times, labels, adaLN and gates. One "
            "linear layer maps every token to the classes, upsampled bilinearly to pixels. A family’s name is that of "
            "its mixer.",
        ),
        (
            "IoU, accuracy and boundaries",
            "Of the averaged weights, on all held-out images, whole. Mean IoU and pixel accuracy are of the confusion "
            "matrix of all images together, the boundary F score a mean over images (Csurka et al. 2013), its "
            "tolerance .0075 of the diagonal and at least a pixel. Pixels of no known class do not count.",
        ),
    )
    target = "maps"

    def outputs(self, classes: int | None, channels: int) -> Outputs:
        """Logits of the classes at every token, of images alone."""
        return Outputs(None, head="tokens", out_channels=classes or 1, conditioned=False)

    def learner(self, train: Any) -> SegmentationLearner:
        """Cross-entropy of images that are scaled as the section says."""
        from pdebench.tasks.segmentation.learner import SegmentationLearner

        return SegmentationLearner(train.rescale)

    def looked_at(self) -> SegmentationLearner:
        """Plain cross-entropy."""
        from pdebench.tasks.segmentation.learner import SegmentationLearner

        return SegmentationLearner()

    def check(self, source: Source, data: SourceConfig, classes: int | None, train: Any, evaluate: Evaluation) -> None:
        """See `Task`: there have to be maps, and pictures where they are scaled."""
        if classes is None:
            raise DataError(
                f"data set '{source.name}' has no maps of the classes of pixels, which the task segmentation learns: "
                "take one that has, such as sprites or masks (`pdebench data list`)"
            )
        if train.rescale is not None and source.dtype != "uint8":
            raise DataError(
                f"data set '{source.name}' holds numbers that are no pictures, and train.rescale scales pictures: "
                "leave it out"
            )

    def passes(self, evaluate: Evaluation) -> Passes | None:
        """Every held-out image goes through the network once; how many they are is known where the data are."""
        return None


SEGMENTATION = SegmentationTask()
