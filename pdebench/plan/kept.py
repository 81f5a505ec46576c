"""What a plan found of a model, kept in the user's cache: the same plan again counts nothing and imports no torch.

An entry is one model with one set of batches. Its name is a digest of all that decides its content, as in
`plan/cost_cache.py`, of the code that traces a step, and of the packages that tasks of others come from. What cannot be
kept, or was altered, is found again.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pdebench
from pdebench.files.seal import read_sealed
from pdebench.models.package_code import digest_of_package
from pdebench.plan.cost_cache import entry_of, keep_entry
from pdebench.plan.counted import CountedCost
from pdebench.plan.step import Operation, Operations, TrainingStep
from pdebench.tasks.registry import TASKS

_ROOM = "plans"
_LARGEST = 2**24  # bytes of an entry: some hundred operations a batch
_COUNTERS = ("forward", "backward", "optimiser")


class Model(NamedTuple):
    """A model to look at.

    Attributes:
        name: FAMILY-SIZE/PATCH.
        build: further arguments of `create_model`, as pairs.
    """

    name: str
    build: tuple[tuple[str, Any], ...]


class Pass(NamedTuple):
    """A batch to trace a model's training step with.

    Attributes:
        batch_size: images.
        precision: `fp32` or `bf16`.
        task: what is learned.
        device: whose roads in Fourier space are taken, `cpu` or `cuda`.
        capability: the first digit of a GPU's compute capability.
    """

    batch_size: int
    precision: str
    task: str = "generation"
    device: str = "cpu"
    capability: int = 0


class ModelCosts(NamedTuple):
    """What was found of one model.

    Attributes:
        cost: of one image's forward pass.
        params: parameters.
        steps: traced, of each batch.
    """

    cost: CountedCost
    params: int
    steps: dict[Pass, TrainingStep]


def kept(model: Model, passes: Iterable[Pass]) -> ModelCosts | None:
    """What was found of a model with these batches; None where it is not in the cache."""
    if (path := _entry(model, passes)) is None or (found := read_sealed(path, _LARGEST)) is None:
        return None
    with suppress(LookupError, TypeError, ValueError):  # of another layout, under a checksum that holds
        steps = {Pass(*one["pass"]): TrainingStep(**_read(one["step"])) for one in found["steps"]}
        return ModelCosts(CountedCost(**found["cost"]), found["params"], steps)
    return None


def keep(model: Model, found: ModelCosts) -> None:
    """Put it into the cache; a full or read-only disk costs the next plan its time."""
    if (path := _entry(model, found.steps)) is None:
        return
    steps = [{"pass": list(one), "step": _written(step)} for one, step in found.steps.items()]
    keep_entry(path, {"cost": asdict(found.cost), "params": found.params, "steps": steps})


def _written(step: TrainingStep) -> dict[str, Any]:
    """A step as JSON has it; operations stay in their order, since sums of floats depend on it."""
    rows = {name: [[*one, count] for one, count in getattr(step, name).items()] for name in _COUNTERS}
    return {**vars(step), **rows}


def _read(step: dict[str, Any]) -> dict[str, Any]:
    return {**step, **{name: _counter(step[name]) for name in _COUNTERS}}


def _counter(rows: Iterable[list[Any]]) -> Operations:
    return Counter({Operation(*one): count for *one, count in rows})


def _entry(model: Model, passes: Iterable[Pass]) -> Path | None:
    asked = {key: value for key, value in os.environ.items() if key.startswith("PDEBENCH_") and "CACHE" not in key}
    batches = sorted(passes)
    learnt = [digest_of_package(package) for package in _packages({one.task for one in batches})]
    if None in learnt:
        return None
    return entry_of(model.name, dict(model.build), _ROOM, _source(), [list(one) for one in batches], asked, learnt)


def _packages(tasks: Iterable[str]) -> list[str]:
    """The packages that tasks come from which are not ours: their losses are part of a step."""
    return sorted({type(TASKS[task]).__module__.partition(".")[0] for task in tasks if task not in TASKS.built_in})


@cache
def _source() -> str:
    """A digest of the code that traces, beside that which counts."""
    package = Path(pdebench.__file__).parent
    files = [*(package / "plan" / name for name in ("trace.py", "step.py", "counted.py", "kept.py"))]
    files += sorted((package / "tasks").rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
