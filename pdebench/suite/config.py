"""The sections of a suite and the cell they make, as pydantic models; importing this imports no torch.

Descriptions of fields are what an editor shows: they go into the JSON Schema of a suite file.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pdebench.data.registry import SOURCES
from pdebench.errors import DimensionError
from pdebench.files.validators import distinct, known, registered
from pdebench.files.yaml_source import dump_yaml
from pdebench.models.registry import FAMILIES, Dimensions
from pdebench.models.shell_options import ShellOptions
from pdebench.models.sizes import SIZES
from pdebench.suite.identity import identity_of
from pdebench.tasks.registry import TASKS
from pdebench.tasks.task import Evaluation
from pdebench.tasks.training import TrainConfig as TrainConfig
from pdebench.tasks.training import TrainSection

FamilyName = Annotated[str, AfterValidator(lambda name: registered(name, FAMILIES))]
SizeName = Annotated[str, AfterValidator(lambda name: known("size", name, SIZES))]
DataName = Annotated[str, AfterValidator(lambda name: registered(name, SOURCES))]
DEFAULT_TASK = "generation"
TaskName = Annotated[str, AfterValidator(lambda name: registered(name, TASKS)), Field(description="What is learned.")]


class Section(BaseModel):
    """Base of every section: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """The images to learn."""

    name: DataName = Field(description="A registered data set; see `pdebench list data`.")
    resolution: int = Field(gt=0, description="Side of the square images, in pixels.")
    path: Path | None = Field(
        default=None,
        description="Where a set of your own lies, a folder for most. A relative path begins at the suite's file.",
    )
    validation: Path | None = Field(
        default=None,
        description="Where what is held out lies, if not in `path`: of the same kind.",
    )
    set: str | None = Field(
        default=None,
        min_length=1,
        description="Which set of a library: `CIFAR10` of torchvision, a name on the hub, or what classes are.",
    )
    download: bool = Field(default=False, description="Let the library, or apt, fetch a set that is not here yet.")
    classes: int | None = Field(
        default=None, ge=0, description="Number of classes, 0: none, to plan without the set; null: as the set has it."
    )
    channels: int | None = Field(
        default=None, gt=0, description="Channels of a latent; null: as the set has it, which has to be there then."
    )
    autoencoder: str | None = Field(
        default=None,
        min_length=1,
        description="What decodes latents: a folder of a diffusers autoencoder, or its name on the hub.",
    )
    scale: tuple[float, ...] | None = Field(
        default=None,
        min_length=1,
        description="What latents are multiplied by after `shift`: a list of one number, or of each channel's; null: "
        "as the set or its autoencoder says.",
    )
    shift: tuple[float, ...] | None = Field(
        default=None, min_length=1, description="What is subtracted from latents first, likewise."
    )
    frames: int | None = Field(
        default=None, gt=0, description="Frames of a clip, of a set of clips; null: the set is of still images."
    )
    frame_stride: int = Field(
        default=1, gt=0, description="Of clips: 1 takes every frame of a video, 2 every second, and so on."
    )
    flip: bool = Field(default=True, description="Mirror training images left to right at random.")
    content: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{32}$",
        description="Digest of what the data set holds, filled in where a cell is run; where a suite gives it, other "
        "data are refused.",
    )


class ModelConfig(Section):
    """The backbone: a token mixer's family in the one shell.

    The family's own options stand beside these keys; those left out are filled in with its defaults.
    """

    model_config = ConfigDict(extra="allow")

    family: FamilyName = Field(description="The token mixer; see `pdebench list models`.")
    size: SizeName = Field(description="Depth, width and heads by name: S to XL are DiT's, smaller ones are for CPUs.")
    patch: int = Field(gt=0, description="Side of a patch in pixels; one patch is one token.")
    patch_frames: int = Field(default=1, gt=0, description="Frames of a patch of clips; images have none.")
    depth: int | None = Field(default=None, gt=0, description="Blocks, in place of the size's.")
    width: int | None = Field(default=None, gt=0, description="Channels of a token, in place of the size's.")
    heads: int | None = Field(default=None, gt=0, description="Heads of the mixer, in place of the size's.")
    mlp_hidden: int | None = Field(default=None, gt=0, description="Hidden width of the MLP, in place of the family's.")

    @model_validator(mode="after")
    def _fill_in_options_and_dimensions(self, info: ValidationInfo) -> Self:
        family = FAMILIES[self.family]
        if info.context is not None:  # the shell, on which the MLP's hidden width depends
            family = family.in_shell(info.context)
        options = family.options.model_validate_json(json.dumps(self.options), strict=True)
        if self.__pydantic_extra__ is not None:
            self.__pydantic_extra__.update(options.model_dump(mode="json"))
        try:
            dimensions = family.dimensions(self.size, options, **self.dimensions)
        except DimensionError as error:
            shared = ["heads", "width"] if family.heads else []
            context = {"message": str(error), "field": error.key, "shared": shared}
            raise PydanticCustomError("cross_field", "{message}", context) from None
        for name, value in dimensions._asdict().items():
            object.__setattr__(self, name, value)  # frozen from here on
        return self

    @property
    def dimensions(self) -> dict[str, int | None]:
        """Depth, width, heads and the MLP's hidden width; null is what the family has none of."""
        return {name: getattr(self, name) for name in Dimensions._fields}

    @property
    def resolved(self) -> Dimensions:
        """The same, typed; a model has a depth and a width from where it is read."""
        assert self.depth is not None
        assert self.width is not None
        return Dimensions(self.depth, self.width, self.heads, self.mlp_hidden)

    @property
    def options(self) -> dict[str, Any]:
        """The family's options, defaults included; `FAMILIES[family].options(**options)` types them."""
        return dict(self.__pydantic_extra__ or {})


class MeasureConfig(Section):
    """What is measured of the model beside its training and sampling."""

    parts: Annotated[tuple[Literal["mixer", "block"], ...], AfterValidator(distinct)] = Field(
        default=(),
        description="Parts to time by themselves, forward and backward, in batches of train.batch_size: the first "
        "block's token mixer, or the whole block.",
    )
    seconds: float = Field(default=2.0, gt=0, description="Seconds to spend on timing each part, at least.")
    largest_batch: bool = Field(
        default=False, description="Find the largest training batch that fits, by doubling from train.batch_size."
    )
    search_seconds: float = Field(default=120.0, gt=0, description="Seconds after which that search ends.")
    spatial: bool = Field(
        default=False,
        description="Measure what every mixer does in space: receptive field, impulse and frequency response, shift "
        "error, and of a PDE its learned physics.",
    )
    operators: bool = Field(
        default=False,
        description="Count the operators that a forward and backward pass dispatches and the bytes kept between them; "
        "where the model is compiled, its graph breaks.",
    )


class BudgetConfig(Section):
    """What a cell may spend on training, in place of `train.steps`, which follow from it where the suite is read."""

    train_flops: float = Field(
        gt=0, description="FLOPs of the whole training: 3 x 2 x MACs of a forward pass x images. Steps are rounded."
    )


class MatchConfig(Section):
    """Every family is resized to the cost of one, to 2%: see `pdebench/suite/matching.py`."""

    by: Literal["params", "macs", "step_time", "peak_memory"] = Field(
        description="What is made equal: parameters or MACs of a forward pass, which are worked out, or the time of a "
        "training step or its peak memory, which `pdebench run` measures on its machine before the first cell."
    )
    to: FamilyName = Field(description="The family that keeps its sizes, and whose cost the others are given.")
    seconds: float = Field(
        default=1800.0, gt=0, description="Of what is measured: seconds to spend on a size, after which it is refused."
    )


class LimitsConfig(Section):
    """What one cell may take; a cell that takes more ends as `timeout` or `oom`, and the others go on."""

    seconds: float | None = Field(
        default=None,
        gt=0,
        description="Wall-clock seconds of a cell, which is then asked to save its state and ended in 5 s, with all "
        "it started; null: no limit.",
    )
    memory_gb: float | None = Field(
        default=None,
        gt=0,
        description="Host memory of a cell, all of its processes together, in GB of 10^9 bytes; null: no limit.",
    )


_TIME = re.compile(r"(\d+-)?\d+(:\d+){0,2}")
_GRES = re.compile(r"[a-z]+(:[A-Za-z][\w.-]*)?(:[1-9]\d*)?")
_MEMORY = re.compile(r"[1-9]\d*[KMGT]?")
_WORD = re.compile(r"[\w.,:@&|*()\[\]+-]+")


def _written(pattern: re.Pattern[str], what: str) -> AfterValidator:
    """Refuse what is not written so; what passes cannot end its line in the script that sbatch reads."""

    def check(value: str | int) -> str:
        if not pattern.fullmatch(str(value)) or str(value).startswith("-"):
            raise PydanticCustomError("written", "{message}", {"message": f"must be {what}, not {value!r}"})
        return str(value)

    return AfterValidator(check)


SlurmWord = Annotated[str, _written(_WORD, "one word, as sbatch takes it")]


class SlurmConfig(Section):
    """What a cell asks of SLURM; one of `train.devices` N asks for N times the gres, cpus and mem, on each node."""

    partition: SlurmWord | None = Field(default=None, description="Partition; null: the cluster's default.")
    account: SlurmWord | None = Field(default=None, description="Account that is charged.")
    qos: SlurmWord | None = Field(default=None, description="Quality of service.")
    constraint: SlurmWord | None = Field(default=None, description="Features that a node must have.")
    time: Annotated[str | int, _written(_TIME, "minutes or [days-]hours:minutes:seconds")] | None = Field(
        default=None,
        description="Time limit, in minutes or as [days-]hours:minutes:seconds. A cell that needs longer saves its "
        "state and is queued again. null: the partition's.",
    )
    gres: Annotated[str, _written(_GRES, "such as gpu, gpu:1 or gpu:a100:1")] | None = Field(
        default=None, description="GPUs for each device of a cell, such as gpu:1 or gpu:a100:1; null: a cell on a CPU."
    )
    cpus: int | None = Field(default=None, gt=0, description="CPUs for each device of a cell.")
    mem: Annotated[str | int, _written(_MEMORY, "such as 32G, or a number of MiB")] | None = Field(
        default=None, description="Host memory for each device of a cell, such as 32G, or a number of MiB."
    )
    notice: int = Field(
        default=120, gt=0, description="Seconds before the time limit at which a cell saves its state and is requeued."
    )


class ExecutionConfig(Section):
    """How cells are run; nothing here changes what a cell is, so it is no part of its identity."""

    timing: Literal["alone", "shared"] = Field(
        default="alone",
        description="alone: a cell has its device, or the CPU, to itself, and is timed. shared: cells may share a CPU, "
        "with one worker or several and with other runs; what they would have measured of time is left out.",
    )
    isolation: Literal["fresh", "warm"] = Field(
        default="fresh",
        description="fresh: every cell starts a new process. warm: cells are forks of one process that has imported "
        "torch but touched no device, which saves seconds a cell where cells are many and short; a cell on several "
        "devices starts new ones all the same.",
    )
    checkpoint_seconds: float = Field(
        default=300.0, ge=0, description="Seconds between saved states of a training, from which it can go on."
    )
    slurm: SlurmConfig | None = Field(
        default=None, description="What a cell asks of SLURM, with `pdebench run --executor slurm`."
    )


# The name is a folder's: without '/' and '.', it cannot climb out of the results folder.
SuiteName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        max_length=64,
        description="Name of the study and of its results folder: lower-case letters, digits, '-' and '_'.",
    ),
]


class Header(Section):
    """What a suite says of itself."""

    suite: SuiteName
    description: str = Field(default="", description="What the study asks, in a sentence or two.")
    task: TaskName = DEFAULT_TASK


SECTIONS: dict[str, type[BaseModel]] = {
    "data": DataConfig,
    "shell": ShellOptions,
    "model": ModelConfig,
    "train": TrainSection,  # what every task is trained by
    "evaluate": Evaluation,  # what every task can be asked
    "measure": MeasureConfig,
}
# What a suite gives and sweeps: the sections of a cell, and what is resolved into them.
GIVEN: dict[str, type[BaseModel]] = {**SECTIONS, "budget": BudgetConfig}


def given(task: str) -> dict[str, type[BaseModel]]:
    """What a suite of that task gives and sweeps."""
    return {**GIVEN, "train": TASKS[task].training, "evaluate": TASKS[task].evaluation}


class Cell(Section):
    """One point of a suite's grid, with every default written out.

    `id` says which experiment this is: the same point in two suites has one id.
    """

    suite: SuiteName
    task: TaskName = DEFAULT_TASK
    data: DataConfig
    shell: ShellOptions = ShellOptions()
    model: SerializeAsAny[ModelConfig]
    train: SerializeAsAny[TrainSection]
    evaluate: SerializeAsAny[Evaluation] = Field(default_factory=dict, validate_default=True)  # type: ignore[arg-type]
    measure: MeasureConfig = MeasureConfig()

    @field_validator("train", "evaluate", mode="plain")
    @classmethod
    def _as_its_task_has_it(cls, value: Any, info: ValidationInfo) -> BaseModel:
        assert info.field_name is not None
        kind = given(info.data["task"])[info.field_name] if "task" in info.data else None
        if kind is None:  # there is no such task, which is said of it
            return Evaluation()
        return value if isinstance(value, kind) else kind.model_validate_json(json.dumps(value), strict=True)

    @field_validator("model", mode="plain")
    @classmethod
    def _in_its_shell(cls, value: Any, info: ValidationInfo) -> ModelConfig:
        if isinstance(value, ModelConfig):
            return value
        return ModelConfig.model_validate_json(json.dumps(value), strict=True, context=info.data.get("shell"))

    @model_validator(mode="after")
    def _as_the_family_has_it(self) -> Self:
        object.__setattr__(self, "shell", self.shell.resolved_for(FAMILIES[self.model.family]))  # frozen from here on
        return self

    @cached_property
    def id(self) -> str:
        """Which experiment this is: see `identity.py`."""
        return identity_of(self.config())

    @property
    def planned_as(self) -> str:
        """What a cell and its plan have in common: its identity whatever its data hold and its device computes in."""
        return self.with_sections(
            data=self.data.model_copy(update={"content": None}),
            train=self.train.model_copy(update={"precision": "auto", "init_content": None}),
        ).id

    @property
    def evaluated_on(self) -> DataConfig:
        """Its data at the resolution, and of clips at the length, at which the trained model is evaluated."""
        asked = {"resolution": self.evaluate.resolution, "frames": self.evaluate.frames}
        return self.data.model_copy(update={key: value for key, value in asked.items() if value is not None})

    def with_sections(self, **sections: BaseModel) -> Cell:
        """The cell with other sections, and so with another identity."""
        return Cell(**{**{name: getattr(self, name) for name in Cell.model_fields}, **sections})

    def config(self) -> dict[str, Any]:
        """Everything as nested plain data: text, numbers, booleans, None, lists and dicts."""
        return self.model_dump(mode="json")

    def flat(self) -> dict[str, Any]:
        """What makes the cell, one dotted key a value: `task`, `data.name`, ... (not the suite's name)."""
        config = self.config()
        nested = {f"{section}.{key}": value for section in SECTIONS for key, value in config[section].items()}
        return {"task": config["task"], **nested}

    def to_yaml(self) -> str:
        """The cell as `config.yaml` holds it."""
        return dump_yaml(self.config())
