"""What `train:` may say of a classifier beside what every task is trained by. Importing this imports no torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pdebench.tasks.training import TrainSection


class ClassificationTraining(TrainSection):
    """How a classifier learns, by AdamW: everything that changes images or labels is off until it is asked for.

    DeiT's values (arXiv 2012.12877, table 9) stand with the keys.
    """

    smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Label smoothing: the share of the target that all classes have. DeiT .1."
    )
    mixup: float = Field(
        default=0.0,
        ge=0,
        description="Alpha of mixup (arXiv 1710.09412): neighbours of a batch are mixed, with their labels, by one "
        "number from Beta(alpha, alpha) a batch. 0: never. DeiT .8. Beside cutmix a batch has either, with chance 1/2.",
    )
    cutmix: float = Field(
        default=0.0,
        ge=0,
        description="Alpha of cutmix (arXiv 1905.04899): a box of each image is its neighbour's. 0: never. DeiT 1.",
    )
    randaugment: int = Field(
        default=0,
        ge=0,
        le=30,
        description="Magnitude of RandAugment (arXiv 1909.13719), of 30: two operations an image, torchvision's. 0: "
        "none. DeiT has 9, of timm's operations.",
    )
    crop: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Least share of an image's area that a random crop keeps, whose sides are 3:4 to 4:3 and which is "
        "resized to the image's. null: whole images. DeiT .08, of files, not of images cut square before.",
    )
    erasing: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of images of which a box of 2 to 33% becomes noise (arXiv 1708.04896). DeiT .25.",
    )
    stochastic_depth: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Share of images for which a branch of the last block is left out (arXiv 1603.09382), rising "
        "linearly from 0 at the first. DeiT .1.",
    )

    @property
    def of_the_model(self) -> dict[str, Any]:
        """Its stochastic depth."""
        return {"stochastic_depth": self.stochastic_depth} if self.stochastic_depth else {}

    @property
    def mixes(self) -> bool:
        """Whether images of a batch are mixed with each other."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def changes_pictures(self) -> tuple[str, ...]:
        """The keys that are set and want pictures, of 8 bits."""
        asked = {"randaugment": self.randaugment, "crop": self.crop, "erasing": self.erasing}
        return tuple(key for key, value in asked.items() if value)
