"""What was found of each class: what a cell's `classes.json` holds, and what a report reads. Imports no torch.

A file of these may come from anybody: lists are bounded, numbers are shares, and nothing else is read.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

CLASSES = "classes.json"
MOST = 2**15

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class ClassScores(BaseModel):
    """Of each class, in the order of the data set: its name, the share of known pixels that are of it, and its IoU.

    The IoU of a class that is in no map, true or predicted, is null.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=MOST)]
    pixels: list[Share]
    iou: list[Share | None]

    @model_validator(mode="after")
    def _are_of_the_same_classes(self) -> Self:
        if not len(self.names) == len(self.pixels) == len(self.iou):
            raise ValueError("its lists are of different lengths")
        return self
