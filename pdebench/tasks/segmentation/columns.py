"""The columns beside scores that segmentation fills: its error, on what it was measured, and how fast."""

from __future__ import annotations

from pdebench.column import Column

PICTURE = "segmented.png"
"""Beside them in a cell's folder: images, their true maps and those that were predicted."""

COLUMNS: dict[str, Column] = {
    "miou_error": Column("Float64", "1 - miou, which a law of scaling can be fitted to", evaluated=True),
    "segmented_images": Column("Int64", "held-out images whose maps were predicted", evaluated=True),
    "segmented_classes": Column("Int64", "classes that occur in their maps or in those predicted", evaluated=True),
    "segmented_images_per_s": Column(
        "Float64",
        "held-out images segmented a second, upsampled to pixels, median over rounds of a batch a device",
        title="segmenting",
        gate="cost",
        higher_is_better=True,
        timed=True,
        evaluated=True,
    ),
    "segmented_images_per_s_q1": Column("Float64", "", timed=True, evaluated=True),
    "segmented_images_per_s_q3": Column("Float64", "", timed=True, evaluated=True),
    "segmented_images_per_s_n": Column(
        "Int64", "rounds timed, the first left out where there are more", timed=True, evaluated=True
    ),
}
