"""What `train:` may say of segmentation beside what a ViT is trained by. Importing this imports no torch."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pdebench.tasks.training import ViTSection

Factor = Annotated[float, Field(gt=0, le=16)]


class SegmentationTraining(ViTSection):
    """How a segmenter learns, by AdamW."""

    rescale: tuple[Factor, Factor] | None = Field(
        default=None,
        description="Factors between which a training image and its map are scaled before they are cropped to their "
        "own side again, at a random place; what a smaller one leaves free is grey, and ignored. ADE20K's protocol has "
        "[0.5, 2.0]. null: whole images.",
    )

    @model_validator(mode="after")
    def _lower_factor_first(self) -> Self:
        if self.rescale is not None and self.rescale[0] > self.rescale[1]:
            low, high = self.rescale
            message = f"rescale is [{low:g}, {high:g}]; give the lower factor first"
            raise PydanticCustomError("cross_field", "{message}", {"message": message, "field": "rescale"})
        return self
