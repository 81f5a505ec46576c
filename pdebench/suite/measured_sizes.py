"""Sizes that were measured: at which a family's training step takes the time, or the memory, of a reference's.

They stand in `matched.json` of a results folder, one machine's. Who measures them is `run/matching/`; who reads a suite
finds them here, so that a run that is taken up again, a second process and a plan have the same cells. Until they are
measured, a cell has the size at which its family has the reference's MACs, and the suite says so. Importing this
imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pdebench.data.nouns import plural
from pdebench.data.registry import SOURCES
from pdebench.errors import ModelError, PdebenchError, ResultsError, refused_by_system
from pdebench.files.disk import read_plain
from pdebench.files.seal import unsealed
from pdebench.files.yaml_source import read_file
from pdebench.models.registry import FAMILIES, Dimensions
from pdebench.suite import matching
from pdebench.suite.config import Cell, MatchConfig
from pdebench.suite.paths import default_results
from pdebench.tasks.registry import TASKS

MEASURED = {"step_time": "time of a training step", "peak_memory": "peak memory of training"}
FILE = "matched.json"
LARGEST = 4 * 2**20  # bytes of the file

# Of `train` what changes neither the time nor the memory of a step, so that cells that differ in it have one size.
COSTS_NOTHING = frozenset(
    {
        "steps", "lr", "schedule", "warmup", "weight_decay", "betas", "ema", "ema_warmup", "init", "init_content",
        "seed", "time_scale", "times", "times_mean", "times_std", "times_shift", "label_dropout",
    }
)  # fmt: skip


@dataclass(frozen=True)
class SizeQuestion:
    """At which size does the model of a cell cost what a reference's does?

    Attributes:
        cell: one that has the model, at whatever size.
        by: what is to be equal, a key of `MEASURED`.
        to: the reference's family.
    """

    cell: Cell
    by: str
    to: str

    @cached_property
    def about(self) -> dict[str, Any]:
        """All that its answer depends on but the machine: plain data."""
        config, model = self.cell.config(), self.cell.model
        data = {key: config["data"][key] for key in ("name", "set", "resolution", "classes", "channels", "frames")}
        return {
            "by": self.by,
            "to": self.to,
            "task": self.cell.task,
            "data": data,
            "shell": config["shell"],
            "model": {key: value for key, value in config["model"].items() if key not in model.dimensions},
            "train": {key: value for key, value in config["train"].items() if key not in COSTS_NOTHING},
        }

    @property
    def key(self) -> str:
        """The same as one text."""
        return key_of(self.about)

    @property
    def reference(self) -> Cell:
        """The cell with the reference in the place of its family, at its own size and with its default options."""
        family, other, model = FAMILIES[self.cell.model.family], FAMILIES[self.to], self.cell.model
        sections = {name: getattr(self.cell, name) for name in Cell.model_fields}
        asked = {"family": self.to, "size": model.size, "patch": model.patch, "patch_frames": model.patch_frames}
        return Cell(**{**sections, "shell": self.cell.shell.for_another(family, other), "model": asked})

    @property
    def of_the_reference(self) -> bool:
        """Whether the model is the reference, which costs what it costs."""
        own, other = self.at(self.own), self.reference
        return (own.model, own.shell) == (other.model, other.shell)

    @property
    def own(self) -> Dimensions:
        """The family's dimensions at that size."""
        model = self.cell.model
        family = FAMILIES[model.family].in_shell(self.cell.shell)
        return family.dimensions(model.size, family.options(**model.options))

    def at(self, dimensions: Dimensions) -> Cell:
        """The cell at other dimensions."""
        return self.cell.with_sections(model=self.cell.model.model_copy(update=dimensions._asdict()))

    def until_measured(self) -> Dimensions:
        """A size to go on with until there is an answer: that of equal MACs, or else the family's own."""
        setting = match_setting(self.cell, "macs")
        family, reference = FAMILIES[self.cell.model.family], FAMILIES[self.to]
        with suppress(ModelError):
            return matching.match(
                family.in_shell(self.cell.shell), family.options(**self.cell.model.options),
                reference.in_shell(self.cell.shell.for_another(family, reference)), setting,
            )  # fmt: skip
        return self.own

    def __str__(self) -> str:
        """`PDE-SSM-DiT-S/2 at 64 px, batch 32`."""
        model = self.cell.model
        return (
            f"{model.family}-{model.size}/{model.patch} at {self.cell.data.resolution} px, "
            f"batch {self.cell.train.batch_size}"
        )


def key_of(about: Mapping[str, Any]) -> str:
    """What a size is asked of, as one text."""
    return json.dumps(about, sort_keys=True)


def match_setting(cell: Cell, by: matching.By) -> matching.MatchSetting:
    """What a cell's family and its reference have in common."""
    sides, model = SOURCES[cell.data.name].sides(cell.data), cell.model
    return matching.MatchSetting(
        model.size, model.patch, cell.data.resolution, by, TASKS[cell.task].conditioned, model.patch_frames,
        sides if len(sides) == 3 else None,
    )  # fmt: skip


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Tried(_Kept):
    """Dimensions that were measured: the candidate's cost over the reference's, with its interval.

    Attributes:
        depth, width, heads, mlp_hidden: the dimensions.
        ratio: an estimate, from `pairs` (the ratio of each pair of fresh processes).
        low, high: its 95% interval; null where it was plain before there was one.
    """

    depth: int = Field(gt=0)
    width: int = Field(gt=0)
    heads: int | None = Field(default=None, gt=0)
    mlp_hidden: int | None = Field(default=None, gt=0)
    ratio: float = Field(gt=0)
    low: float | None = Field(default=None, gt=0)
    high: float | None = Field(default=None, gt=0)
    pairs: list[float] = Field(min_length=1)

    @property
    def dimensions(self) -> Dimensions:
        """Of the candidate."""
        return Dimensions(self.depth, self.width, self.heads, self.mlp_hidden)


class MatchedSize(_Kept):
    """An answer.

    Attributes:
        of: the question, as `SizeQuestion.about` has it.
        size: what was found.
        earlier: what was measured before it, and is farther off.
        seconds: that all of it took.
        measured_at: UTC.
    """

    of: dict[str, Any]
    size: Tried
    earlier: list[Tried]
    seconds: float
    measured_at: str


class MatchedSizes(_Kept):
    """What `matched.json` holds: answers, and the machine that they are of."""

    machine: dict[str, Any]
    sizes: list[MatchedSize]

    @cached_property
    def _by_key(self) -> dict[str, MatchedSize]:
        return {key_of(size.of): size for size in self.sizes}

    def find(self, question: SizeQuestion) -> MatchedSize | None:
        """The answer to a question, if there is one."""
        return self._by_key.get(question.key)

    def joined(self, other: MatchedSize) -> MatchedSizes:
        """These and one more."""
        return MatchedSizes(machine=self.machine, sizes=[*self.sizes, other])

    @property
    def where(self) -> str:
        """The machine, for a sentence."""
        device, cpu = self.machine.get("device"), self.machine.get("cpu")
        threads, torch = self.machine.get("threads"), self.machine.get("torch_version")
        return f"{cpu if device == 'cpu' else device} ({plural(threads or 1, 'thread')}, torch {torch})"


def read_sizes(folder: Path) -> MatchedSizes | None:
    """What was measured for a results folder; None where nothing was yet.

    Raises:
        ResultsError: the file there is damaged, or cannot be read.
    """
    path = folder / FILE
    try:
        held = json.loads(read_plain(path, LARGEST))
        if not isinstance(held, dict):
            raise ValueError("it holds no keys and values")
        return MatchedSizes.model_validate_json(json.dumps(unsealed(held)))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        why = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (OSError, ValueError, RecursionError) as error:
        if said := refused_by_system(error):
            raise ResultsError(f"cannot read {path}: {said}") from None
        why = str(error).splitlines()[0]
    raise ResultsError(f"{path} holds no measured sizes: {why}; delete it to have them measured again")


def sizes_folder(suite: str, file: str, results: Path | None) -> Path:
    """The results folder whose sizes a suite has: the one that is named, the suite's own, or the default."""
    if results is not None:
        return results
    own = Path(file).parent
    return own if (own / FILE).is_file() else default_results(suite)


def not_measured(questions: Iterable[SizeQuestion]) -> str:
    """A sentence on sizes that nobody measured yet."""
    asked = list(questions)
    names = sorted({f"{one.cell.model.family}-{one.cell.model.size}/{one.cell.model.patch}" for one in asked})
    sizes, are = ("sizes that match", "are") if len(asked) > 1 else ("size that matches", "is")
    about = f"{len(asked)} {sizes} {asked[0].to} by {asked[0].by}"
    return f"{about} {are} not measured yet ({', '.join(names)})"


def matched_columns(cell: Cell, results: Path) -> dict[str, Any]:
    """The columns of a record that say what its size was matched by; none where it was not, or nobody can say."""
    with suppress(PdebenchError, ValidationError, TypeError):
        asked = MatchConfig.model_validate(read_file(results / "suite.yaml").data.get("match"))
        found: dict[str, Any] = {"matched_by": asked.by, "matched_to": asked.to}
        if asked.by in MEASURED and (size := _size_of(cell, asked, read_sizes(results))) is not None:
            found |= {"matched_ratio": size.ratio, "matched_ratio_low": size.low, "matched_ratio_high": size.high}
        return found
    return {}


def _size_of(cell: Cell, asked: MatchConfig, sizes: MatchedSizes | None) -> Tried | None:
    """What was measured of a cell as it runs, whose suite may have said `train.precision: auto`."""
    for precision in (cell.train.precision, "auto"):
        train = cell.train.model_copy(update={"precision": precision})
        question = SizeQuestion(cell.with_sections(train=train), asked.by, asked.to)
        found = None if sizes is None else sizes.find(question)
        if found is not None and found.size.dimensions == cell.model.resolved:
            return found.size
    return None
