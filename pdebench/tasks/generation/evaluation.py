"""What `evaluate:` may ask of generated images. Importing this imports no torch."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import fields
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from pdebench.errors import SamplingError
from pdebench.files.validators import distinct, registered
from pdebench.metrics.registry import METRICS
from pdebench.tasks.generation.options import LEAST_TOLERANCE, NFE, TOLERANCE, Diffusion, Sampler, SamplingOptions
from pdebench.tasks.task import Evaluation

Time = Annotated[float, Field(ge=0, le=1)]
MetricName = Annotated[str, AfterValidator(lambda name: registered(name, METRICS))]


class SamplesEvaluation(Evaluation):
    """What is measured of a trained model that makes images of noise, however it does."""

    samples: int = Field(default=0, ge=0, description="Images to generate for the metrics; 0 generates none.")
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

    @property
    def asked(self) -> dict[str, Any]:
        """What decides the samples, besides their number and what they are made of."""
        left = {"samples", "metrics", "batch_size", "resolution", "frames", "every"}
        return self.model_dump(mode="json", exclude=left)

    @property
    def arithmetic(self) -> str:
        """In what the network computes, where it need not be what it was trained in."""
        return "cast once"

    @property
    @abstractmethod
    def expected_passes(self) -> int:
        """Passes through the network for one sample, as far as can be said before."""

    @property
    @abstractmethod
    def told(self) -> dict[str, str]:
        """What the cost of a sample depends on, in a word or two each."""


class GenerationEvaluation(SamplesEvaluation):
    """What is measured of a model of the flow."""

    sampler: Sampler = Field(
        default="heun",
        description="Solver of the flow's equation: euler and heun take fixed steps, dopri5 those that its tolerance "
        "lets it (by torchdiffeq, in float32); euler_maruyama solves SiT's stochastic equation (arXiv 2401.08740).",
    )
    nfe: int | None = Field(
        default=None,
        gt=0,
        description=f"Evaluations of the network for one image, a guided one counting once; heun spends two a step. "
        f"null: {NFE}, and with dopri5 what it takes.",
    )
    tolerance: float | None = Field(
        default=None,
        ge=LEAST_TOLERANCE,
        lt=1,
        description="Of dopri5: error that a step may have, relative and absolute, for each image. "
        f"null: {TOLERANCE:g}.",
    )
    diffusion: Diffusion | None = Field(
        default=None,
        description="Of euler_maruyama: the coefficient D of its noise, by the names of SiT's code (arXiv 2401.08740, "
        "where w is 2 D, and SBDM's is w^KL). null: sigma.",
    )
    time_shift: float = Field(
        default=1.0,
        gt=0,
        description="Moves the steps as SD3 does (arXiv 2403.03206): above 1 towards noise; 1 leaves them even.",
    )
    guidance_interval: tuple[Time, Time] | None = Field(
        default=None,
        description="Times between which images are guided, [low, high] with 0 at noise and 1 at the image "
        "(arXiv 2404.07724); outside one pass is enough. null: always.",
    )

    @model_validator(mode="after")
    def _sampling_goes_together(self) -> Self:
        try:
            how = self.sampling
        except SamplingError as error:
            context = {"message": str(error), "field": error.key, "shared": list(error.shared)}
            raise PydanticCustomError("cross_field", "{message}", context) from None
        for key in ("nfe", "tolerance", "diffusion"):
            object.__setattr__(self, key, getattr(how, key))  # filled in; frozen from here on
        return self

    @property
    def sampling(self) -> SamplingOptions:
        """How samples are drawn."""
        return SamplingOptions(**{field.name: getattr(self, field.name) for field in fields(SamplingOptions)})

    @property
    def arithmetic(self) -> str:
        """Of dopri5 float32: it would take rounding for the velocity's own roughness."""
        return "in float32" if self.sampler == "dopri5" else "cast once"

    @property
    def expected_passes(self) -> int:
        """Passes through the network for one sample, a guided evaluation being two; of dopri5 a guess."""
        return self.sampling.expected_passes

    @property
    def told(self) -> dict[str, str]:
        """Evaluations of the network, and guidance."""
        how = self.sampling
        told = {"nfe": f"dopri5 (nfe {how.expected_nfe} assumed)" if how.nfe is None else f"nfe {how.nfe}"}
        if self.guidance != 1:
            low, high = self.guidance_interval or (0, 1)
            told["guidance"] = f"guidance {self.guidance:g}" + f" in [{low:g}, {high:g}]" * (high - low < 1)
        return told
