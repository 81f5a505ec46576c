"""What is kept of a published result: which model, learnt and sampled how, and where the numbers stand."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pdebench.anchors.printed import Printed

Metric = Literal["fid", "is", "kid"]
Sampler = Literal["ddpm", "euler", "heun", "dopri5", "euler_maruyama", "dpm-solver"]

IMAGENET = "ImageNet-1K"


class Written(BaseModel):
    """Base of all parts: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Recipe(Written):
    """How a model was trained, in the words of a suite's `train:`; keys that are left out are not known."""

    lr: float = Field(default=0.0, gt=0, description="AdamW's learning rate.")
    schedule: Literal["constant", "cosine"] = Field(default="constant", description="Of the learning rate.")
    warmup: int = Field(default=0, ge=0, description="Steps over which the rate rises.")
    weight_decay: float = Field(default=0.0, ge=0, description="AdamW's decoupled decay.")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="AdamW's decay rates of the moments.")
    clip: float | None = Field(default=None, description="Largest norm of the gradient; null does not clip.")
    ema: float = Field(default=0.9999, ge=0, lt=1, description="Decay of the average of weights that is sampled from.")
    ema_warmup: bool = Field(default=False, description="Whether that average begins with a smaller decay.")
    time_scale: float = Field(default=1.0, gt=0, description="What times in [0, 1] are multiplied by.")
    label_dropout: float = Field(default=0.1, ge=0, le=1, description="Share of labels hidden.")

    def known(self) -> dict[str, Any]:
        """The keys that are known, with their values."""
        return {key: getattr(self, key) for key in type(self).model_fields if key in self.model_fields_set}


class Reproduction(Written):
    """The same number by somebody else, or by the authors another time."""

    metric: Metric = Field(default="fid", description="Of which of the values.")
    value: Printed
    how: str = Field(min_length=1, description="Whose it is, and what was otherwise.")


class WhereRead(Written):
    """Where the numbers stand, and which text they were read in."""

    arxiv: str = Field(pattern=r"^\d{4}\.\d{5}$", description="The paper whose result it is.")
    where: str = Field(min_length=1, description="The table or section of it, or its repository's file.")
    repository: str | None = Field(default=None, pattern=r"^[\w.-]+/[\w.-]+$", description="Its code on GitHub.")
    read: str = Field(min_length=1, description="The text that the numbers were read in: this paper or one citing it.")


class Anchor(Written):
    """One published result of one model. What a text does not say is null, and never guessed."""

    family: str = Field(min_length=1, description="As the paper calls it: DiT, SiT, DiG.")
    backbone: str | None = Field(
        default=None, description="The family here that is this model; null: none is. SiT's backbone is DiT's."
    )
    size: str | None = Field(default=None, description="As the paper calls it: S, B, L, XL, H.")
    patch: int | None = Field(default=None, gt=0, description="Side of a patch, in pixels of the image or the latent.")
    data: str = Field(default=IMAGENET, min_length=1, description="What was learnt.")
    conditioning: Literal["class", "text", "none"] | None = Field(
        default="class", description="What the model is told."
    )
    resolution: int = Field(gt=0, description="Side of the images, in pixels.")
    space: Literal["latents", "pixels"] = Field(description="What the backbone sees.")
    downsampling: int | None = Field(default=None, gt=0, description="Side of an image over that of its latent.")
    channels: int | None = Field(default=None, gt=0, description="Channels of a latent.")
    decoder: str | None = Field(default=None, description="The autoencoder's decoder that the samples went through.")
    objective: Literal["noise", "velocity"] | None = Field(
        default=None, description="What is predicted: the noise of a diffusion, or the velocity of a flow."
    )
    steps: int | None = Field(default=None, gt=0, description="Optimiser steps.")
    images: Printed | None = Field(default=None, description="Millions of training images seen.")
    batch_size: int | None = Field(default=None, gt=0, description="Images in a step.")
    train: Recipe = Recipe()
    guidance: float | None = Field(default=None, ge=1, description="Classifier-free guidance scale; 1 is none.")
    guidance_channels: int | None = Field(
        default=None, gt=0, description="Channels of the latent that are guided, from the first."
    )
    guidance_interval: tuple[float, float] | None = Field(
        default=None, description="Times of the flow, 0 noise and 1 data, between which there is guidance; null: all."
    )
    sampler: Sampler | None = Field(default=None, description="What draws the samples.")
    nfe: int | None = Field(
        default=None, gt=0, description="Evaluations of the network for one image; the second of guidance not counted."
    )
    samples: int | None = Field(default=None, gt=0, description="Images that the scores are of.")
    values: dict[Metric, Printed] = Field(min_length=1, description="The scores, as printed.")
    weights: Literal["inception-2015"] | None = Field(default=None, description="Of the network that they rest on.")
    reference: Literal["train", "validation"] | None = Field(
        default=None, description="The images that they are measured against, all of that split."
    )
    evaluator: str | None = Field(default=None, description="The program that computed them.")
    params: Printed | None = Field(default=None, description="Millions of parameters.")
    compute: Printed | None = Field(
        default=None, description="Billions of operations in one image's forward pass, whatever the paper calls them."
    )
    compute_counts: Literal["macs", "flops", "not said"] | None = Field(
        default=None, description="What those are: multiply-accumulates, or both operations of each."
    )
    spread: tuple[Reproduction, ...] = Field(default=(), description="The same result by others.")
    source: WhereRead
    note: str = Field(default="", description="What else a reader has to know.")

    @property
    def name(self) -> str:
        """The model in short: `DiT-XL/2`."""
        return "-".join(filter(None, [self.family, self.size])) + (f"/{self.patch}" if self.patch else "")

    @property
    def tokens(self) -> int | None:
        """Tokens of an image; None where the patch is not known."""
        if self.patch is None:
            return None
        return (self.resolution // (self.downsampling or 1) // self.patch) ** 2

    def as_json(self) -> dict[str, Any]:
        """Everything as plain data, printed numbers as numbers."""
        found = self.model_dump(mode="json", exclude={"train"})
        found["train"] = self.train.model_dump(mode="json", exclude_unset=True)
        found["values"] = {name: float(value) for name, value in self.values.items()}
        for key in ("images", "params", "compute"):
            found[key] = None if found[key] is None else float(found[key])
        for one in found["spread"]:
            one["value"] = float(one["value"])
        return {"name": self.name, **found}

    @model_validator(mode="after")
    def _latents_are_described(self) -> Self:
        said = self.downsampling is not None and self.channels is not None
        if self.space == "latents" and not said:
            raise ValueError("latents have downsampling and channels: give both")
        if self.space == "pixels" and (self.downsampling or self.channels or self.decoder):
            raise ValueError("pixels have no downsampling, channels or decoder: leave them out")
        return self

    @model_validator(mode="after")
    def _guidance_is_there(self) -> Self:
        if (self.guidance_channels or self.guidance_interval) and self.guidance in (None, 1):
            raise ValueError("guidance_channels and guidance_interval are of a guidance above 1: give it")
        return self

    @model_validator(mode="after")
    def _compute_is_named(self) -> Self:
        if (self.compute is None) != (self.compute_counts is None):
            raise ValueError("compute and compute_counts go together: give both, or neither")
        return self


class AnchorGroup(Written):
    """Entries that share what they would all say, such as the rows of one table."""

    shared: dict[str, Any] = Field(default_factory=dict, description="Keys of every entry; an entry's own come first.")
    anchors: tuple[dict[str, Any], ...] = Field(min_length=1, description="One entry a row.")


class FamilyFile(Written):
    """One file: a family's published results."""

    family: str = Field(min_length=1, description="As the paper calls it.")
    backbone: str | None = Field(default=None, description="The family here that is this model, if any.")
    groups: tuple[AnchorGroup, ...] = Field(min_length=1)
