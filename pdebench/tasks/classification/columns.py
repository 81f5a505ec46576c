"""What a classifier's cells leave beside their losses. Importing this imports no torch."""

from __future__ import annotations

from pdebench.column import Column
from pdebench.metrics.metric import Score

SCORES = (
    Score(
        "top1",
        "Top-1 accuracy",
        "share",
        higher_is_better=True,
        meaning="how often the likeliest class is the true one",
    ),
    Score(
        "top5",
        "Top-5 accuracy",
        "share",
        higher_is_better=True,
        meaning="how often the true class is among the five likeliest",
    ),
    Score("ece", "Calibration error", "share", meaning="how far confidence is from accuracy, 0 at best"),
)

COLUMNS: dict[str, Column] = {
    "top1_error": Column("Float64", "1 - top1: what a scaling law of the error is fitted to", evaluated=True),
    "classified_images": Column("Int64", "held-out images that the scores are of", evaluated=True),
    "classify_images_per_s": Column(
        "Float64",
        "images a second that the trained model classifies, evaluate.batch_size at a time on one device, median",
        title="inference",
        gate="cost",
        higher_is_better=True,
        timed=True,
        evaluated=True,
    ),
    "classify_images_per_s_q1": Column("Float64", "", timed=True, evaluated=True),
    "classify_images_per_s_q3": Column("Float64", "", timed=True, evaluated=True),
    "classify_images_per_s_n": Column("Int64", "batches timed, after the warm-up", timed=True, evaluated=True),
    "classify_mfu": Column(
        "Float64",
        "2 x MACs an image x classify_images_per_s, over one device's part of mfu_peak: a share. A lower bound where "
        "macs_uncounted lists operations",
        timed=True,
        evaluated=True,
    ),
}

AT_SIDES: dict[str, Column] = {
    "top1": Column(
        "Float64",
        "top-1 accuracy on held-out images of that side, in pixels, with the weights as trained",
        gate="learned",
        evaluated=True,
    ),
}
"""One for each of `evaluate.resolutions`: `top1_at_288`."""
