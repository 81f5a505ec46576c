"""What `evaluate:` may ask of a classifier. Importing this imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from pdebench.files.validators import distinct
from pdebench.tasks.task import Evaluation

Side = Annotated[int, Field(gt=0)]


class ClassificationEvaluation(Evaluation):
    """What is measured of a trained classifier: always its scores on all held-out images, and its speed."""

    resolutions: Annotated[tuple[Side, ...], AfterValidator(distinct)] = Field(
        default=(),
        description="Sides, in pixels, at which its accuracy is measured too, with the weights as trained: the "
        "columns top1_at_SIDE.",
    )

    @property
    def sides(self) -> tuple[int, ...]:
        """Those of `resolutions`."""
        return self.resolutions
