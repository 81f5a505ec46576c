"""What `train:` may say: what every task is trained by, and what generation is. Importing this imports no torch.

Descriptions of fields are what an editor shows: they go into the JSON Schema of a suite file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Beta = Annotated[float, Field(ge=0, lt=1)]


class TrainSection(BaseModel):
    """How a model learns, by AdamW, whatever it learns; a task adds keys in a subclass, see `Task.training`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    steps: int = Field(ge=0, description="Optimiser steps; 0 trains nothing, for suites that only measure.")
    batch_size: int = Field(gt=0, description="Images in a step, over all devices.")
    lr: float = Field(gt=0, description="AdamW's learning rate, after the warmup.")
    schedule: Literal["constant", "cosine", "linear"] = Field(
        default="constant",
        description="The learning rate after the warmup: held, or down to 0 along a cosine or a line.",
    )
    warmup: int = Field(default=0, ge=0, description="Steps over which the learning rate rises from 0.")
    weight_decay: float = Field(
        default=0.0, ge=0, description="AdamW's decoupled decay of the weights of linear layers and convolutions."
    )
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.999), description="AdamW's two decay rates of the moments.")
    clip: float | None = Field(default=None, gt=0, description="Largest norm of the gradient; null does not clip.")
    ema: float = Field(
        default=0.9999, ge=0, lt=1, description="Decay of the moving average of weights that is sampled from."
    )
    ema_warmup: bool = Field(
        default=True,
        description="Begin that average with a decay of at most (1 + step) / (10 + step), as TensorFlow does: its mean "
        "age is a tenth of the steps at first. false: a fixed decay, as DiT's, of a mean age of 1 / (1 - ema) steps.",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto", description="Arithmetic in training; auto takes bf16 where the device is fast at it."
    )
    init: Path | None = Field(
        default=None,
        description="A checkpoint of pdebench to begin with, of any task: what has the same name and shape is taken. A "
        "relative path begins at the suite's file. null: random weights.",
    )
    init_content: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{32}$",
        description="Digest of that checkpoint, filled in where a cell is run; where a suite gives it, another one is "
        "refused.",
    )
    seed: int = Field(
        default=0, ge=0, lt=2**63, description="Seed of the weights, the order of the data and the noise."
    )
    compile: Literal["eager", "compile", "compile-graphs", "compile-max"] = Field(
        default="eager",
        description="How the model runs, in sampling too: as written, through torch.compile, from CUDA graphs of that "
        "(on one GPU), or with its autotuning, and on a GPU from CUDA graphs too.",
    )
    devices: int = Field(
        default=1,
        ge=1,
        description="GPUs, or processes on a CPU, that share each batch, and the sampling; of each node.",
    )
    nodes: int = Field(
        default=1, ge=1, description="Machines of so many devices each, that SLURM or torchrun gives a run together."
    )
    shard: bool = Field(
        default=False,
        description="Share weights, their averages, gradients and moments out over the devices, by fully_shard, where "
        "they do not fit on each.",
    )
    accumulate: int = Field(
        default=1, ge=1, description="Micro-batches that a device takes its share of a batch in, to save memory."
    )

    @model_validator(mode="after")
    def _batch_is_shared_out(self) -> Self:
        if self.batch_size % (parts := self.processes * self.accumulate):
            of_nodes = ("nodes x ", f"{self.nodes} x ") if self.nodes > 1 else ("", "")
            product = f"{of_nodes[0]}devices x accumulate, {of_nodes[1]}{self.devices} x {self.accumulate}"
            message = f"batch_size {self.batch_size} is not divisible by {product}; take a multiple of {parts}"
            raise PydanticCustomError("cross_field", "{message}", {"message": message, "field": "batch_size"})
        return self

    @model_validator(mode="after")
    def _graphs_are_of_one_device(self) -> Self:
        if self.compile == "compile-graphs" and self.processes > 1:
            message = (
                f"compile-graphs runs on one device, not on {self.processes}: take compile, or leave out devices and "
                "nodes"
            )
            context = {"message": message, "field": "compile", "shared": ["devices", "nodes"]}
            raise PydanticCustomError("cross_field", "{message}", context)
        return self

    @model_validator(mode="after")
    def _weights_can_be_shared_out(self) -> Self:
        why = None
        if self.shard and self.processes == 1:
            why = "shard: true shares weights out among devices, but train.devices is 1; give it several"
        elif self.shard and self.compile != "eager":
            why = f"shard: true runs as written, not by {self.compile}; leave one of shard and compile out"
        if why is not None:
            raise PydanticCustomError("cross_field", "{message}", {"message": why, "field": "shard"})
        return self

    @property
    def processes(self) -> int:
        """Those of a cell, on all nodes together."""
        return self.nodes * self.devices

    @property
    def of_the_model(self) -> dict[str, Any]:
        """Arguments of `create_model` that it decides; what is as it would be without being said is not said."""
        return {}


class ViTSection(TrainSection):
    """What a ViT is trained by, whatever it learns: the shell that nothing is conditioned in."""

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


# Parameters of the times that are trained at: whose they are, and what they are where a suite does not say.
_OF_TIMES = {"times_mean": ("lognormal", 0.0), "times_std": ("lognormal", 1.0), "times_shift": ("shifted", 3.0)}


class TrainConfig(TrainSection):
    """How the model learns, by AdamW."""

    time_scale: float = Field(
        default=1000.0,
        gt=0,
        description="What times in [0, 1] are multiplied by before the network sees them: 1000 as in ZigMa's code, "
        "which is the range that DiT's embedding was made for; SiT's has 1.",
    )
    times: Literal["uniform", "lognormal", "shifted"] = Field(
        default="uniform",
        description="What times in [0, 1], 0 at noise and 1 at the image, are drawn from: uniform; lognormal, SD3's "
        "logit-normal; shifted, uniform and then moved as SD3's (arXiv 2403.03206).",
    )
    times_mean: float | None = Field(
        default=None, description="Of lognormal: the mean of logit(t), below 0 towards noise. null: 0."
    )
    times_std: float | None = Field(
        default=None, gt=0, description="Of lognormal: the standard deviation of logit(t). null: 1."
    )
    times_shift: float | None = Field(
        default=None, gt=0, description="Of shifted: above 1 towards noise, as evaluate.time_shift. null: 3."
    )
    prediction: Literal["velocity", "x"] = Field(
        default="velocity",
        description="What the network puts out: the velocity, or the image, whose loss is that of the velocity "
        "(x - x_t) / max(1 - t, .05) (arXiv 2511.13720). Held-out losses are the velocity's in both cases.",
    )
    label_dropout: float = Field(
        default=0.1, ge=0, le=1, description="Share of labels hidden, for classifier-free guidance."
    )

    @model_validator(mode="after")
    def _times_have_their_own_parameters(self) -> Self:
        for key, (kind, default) in _OF_TIMES.items():
            if self.times == kind and getattr(self, key) is None:
                object.__setattr__(self, key, default)  # filled in; frozen from here on
            elif self.times != kind and getattr(self, key) is not None:
                message = (
                    f"{key} is an option of times: {kind}, but times is {self.times}; leave it out, or take {kind}"
                )
                context = {"message": message, "field": key, "shared": ["times"]}
                raise PydanticCustomError("cross_field", "{message}", context)
        return self
