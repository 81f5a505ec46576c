"""What `evaluate:` may ask of generated images. Importing this imports no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from pdebench.files.validators import distinct, registered
from pdebench.metrics.registry import METRICS
from pdebench.tasks.task import Evaluation

MetricName = Annotated[str, AfterValidator(lambda name: registered(name, METRICS))]


class SamplesEvaluation(Evaluation):
    """What is measured of a trained model that makes images of noise, however it does."""

    samples: int = Field(default=0, ge=0, description="Images to generate for the metrics; 0 generates none.")
    nfe: int = Field(default=50, gt=0, description="Evaluations of the network for one image; heun spends two a step.")
    guidance: float = Field(default=1.0, ge=0, description="Classifier-free guidance scale; 1 is none.")
    guidance_channels: int | None = Field(
        default=None,
        gt=0,
        description="Channels that are guided, from the first; null: all. DiT and SiT guide 3 of a latent's 4.",
    )
    metrics: Annotated[tuple[MetricName, ...], AfterValidator(distinct)] = Field(
        default=(), description="Quality metrics of the samples; see `pdebench list metrics`."
    )

    @model_validator(mode="after")
    def _metrics_have_samples(self) -> Self:
        if self.metrics and not self.samples:
            message = "metrics are asked for but samples is 0; set evaluate.samples, or leave metrics out"
            raise PydanticCustomError("cross_field", "{message}", {"message": message, "field": "metrics"})
        return self

    @model_validator(mode="after")
    def _guided_channels_need_guidance(self) -> Self:
        if self.guidance_channels is not None and self.guidance == 1:
            message = "guidance_channels says where guidance works, but guidance is 1; set that, or leave this out"
            raise PydanticCustomError("cross_field", "{message}", {"message": message, "field": "guidance_channels"})
        return self


class GenerationEvaluation(SamplesEvaluation):
    """What is measured of a trained model."""

    sampler: Literal["euler", "heun"] = Field(default="heun", description="Solver of the flow's equation.")

    @model_validator(mode="after")
    def _heun_takes_two(self) -> Self:
        if self.sampler == "heun" and self.nfe % 2:
            message = f"nfe {self.nfe} is odd, but heun spends two evaluations a step; make it even, or take euler"
            raise PydanticCustomError("cross_field", "{message}", {"message": message, "field": "nfe"})
        return self
