"""What a suite would cost, before anything runs: parameters, MACs, memory and time of each cell on a device.

Costs are counted (`plan/cost.py`); memory and time are predicted (`plan/trace.py`, `plan/roofline.py`) and
their columns say so: `predicted_...`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pdebench.data import registry
from pdebench.errors import ResultsError
from pdebench.plan.closed_form_check import disagreement
from pdebench.plan.devices import DATASHEETS, Device
from pdebench.plan.kept import Model, ModelCosts, Pass
from pdebench.plan.model_costs import Said, model_costs
from pdebench.plan.probe import this_device
from pdebench.plan.roofline import Rates, seconds_by_kind
from pdebench.plan.step import TrainingStep
from pdebench.results.store import PREDICTIONS, as_json, write_own
from pdebench.suite.build import build_of, input_size_of
from pdebench.suite.config import Cell
from pdebench.suite.load import Suite
from pdebench.tasks.registry import TASKS

THIS = "this"


@dataclass(frozen=True)
class Prediction:
    """One cell of a plan.

    Attributes:
        cell: its identity, as far as it is known before it runs.
        planned_as: the same of its record, by which the report finds it.
        model_name: as `create_model` takes it.
        resolution: pixels of its images.
        params: parameters.
        macs_forward: of one image.
        macs_by_kind: the same, of each kind of operation.
        flops_train: of the whole training.
        precision: as asked for, `auto` included.
        predicted_memory_bytes: peak of training on one of the cell's devices; null: nothing is trained.
        predicted_activation_bytes: what of it autograd keeps between forward and backward.
        predicted_bytes_moved: by one training step on one device; null: nothing is trained.
        predicted_fits: whether that memory is there; null: nothing is trained.
        predicted_fitting_batch: where it does not fit, about the largest train.batch_size that would; 0: none.
        predicted_step_seconds: of one optimiser step; null: nothing is trained.
        predicted_step_seconds_by_kind: the same, of each kind of operation.
        predicted_train_seconds: of all steps.
        predicted_sample_seconds: of all samples.
        predicted_road: by which products in Fourier space are counted, as the mixer has it; null: there are none.
    """

    cell: str
    planned_as: str
    model_name: str
    resolution: int
    params: int
    macs_forward: int
    macs_by_kind: dict[str, int]
    flops_train: float
    precision: str
    predicted_memory_bytes: int | None
    predicted_activation_bytes: int | None
    predicted_bytes_moved: int | None
    predicted_fits: bool | None
    predicted_fitting_batch: int | None
    predicted_step_seconds: float | None
    predicted_step_seconds_by_kind: dict[str, float] | None
    predicted_train_seconds: float
    predicted_sample_seconds: float
    predicted_road: str | None

    @property
    def predicted_seconds(self) -> float:
        """Of training and sampling."""
        return self.predicted_train_seconds + self.predicted_sample_seconds


@dataclass(frozen=True)
class Plan:
    """The predictions of a suite's cells, in its order, and the device that they are for.

    Attributes:
        warnings: of models whose cost by hand is not what was counted, as their cells will warn.
    """

    suite: Suite
    device: Device
    predictions: tuple[Prediction, ...]
    warnings: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data; every predicted number is called so."""
        cells = [asdict(prediction) for prediction in self.predictions]
        sizes = {} if self.suite.about_sizes is None else {"sizes": self.suite.about_sizes}
        warned = {"warnings": list(self.warnings)} if self.warnings else {}
        return {"suite": self.suite.name, "device": self.device.about(), **sizes, **warned, "cells": cells}

    def write(self, folder: Path) -> Path:
        """Leave the predictions in a results folder, where the report finds them.

        Raises:
            ResultsError: the folder cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_own(folder, PREDICTIONS, as_json(self.as_json()))
        except OSError as error:
            raise ResultsError(f"cannot write to the results folder {folder}: {error.strerror}") from None
        return folder / PREDICTIONS


def device_names() -> tuple[str, ...]:
    """What `--device` takes."""
    return (THIS, *DATASHEETS)


def make_plan(suite: Suite, device: str, said: Said = lambda done, of: None) -> Plan:
    """Predict every cell of a suite on a device; nothing is trained, and no data is read.

    Args:
        suite: what to plan.
        device: one of `device_names()`.
        said: told how many of how many models are looked at.

    Raises:
        CalibrationError: `this` cannot be probed.
        DataError: a data set whose number of classes is not to be had.
        ModelError: a model that cannot be built, or another package's mixer that fails.
    """
    cells = suite.planned()
    target = _device(suite, cells, device)
    classes = cache(registry.class_count)
    asked = [_asked(cell, classes(cell.data, TASKS[cell.task].target), target) for cell in cells]
    wanted: dict[Model, set[Pass]] = {}
    for model, training, sampled, sampling in asked:
        wanted.setdefault(model, set()).update([training] if training is not None else [])
        wanted.setdefault(sampled, set()).update([sampling] if sampling is not None else [])
    found = model_costs(wanted, said)
    predictions = tuple(_predictions(cells, asked, found, target))
    return Plan(suite, target, predictions, _wrong_by_hand(dict.fromkeys(one.model for one in asked), found))


def _wrong_by_hand(models: Iterable[Model], found_of: Mapping[Model, ModelCosts]) -> tuple[str, ...]:
    """Of each model whose cost by hand is not what was counted, the sentence that its cells will warn with."""
    said = (
        disagreement(model.name, dict(model.build), found_of[model].cost, found_of[model].params) for model in models
    )
    return tuple(sentence for sentence in said if sentence is not None)


def _device(suite: Suite, cells: Sequence[Cell], key: str) -> Device:
    if key != THIS:
        return DATASHEETS[key].device(key)
    limit = suite.limits.memory_gb
    return this_device([cell.train.precision for cell in cells], None if limit is None else int(limit * 1e9))


def _predictions(
    cells: Sequence[Cell], asked: Sequence[_Asked], found_of: Mapping[Model, ModelCosts], device: Device
) -> Iterator[Prediction]:
    """In the cells' order; what cells have in common, such as seeds, is counted once."""
    for cell, (model, training, sampled, sampling) in zip(cells, asked, strict=True):
        train, evaluate, found = cell.train, cell.evaluate, found_of[model]
        cost, rates = found.cost, _rates(cell, device)
        predicted: dict[str, Any] = dict.fromkeys(_OF_TRAINING)
        sample_seconds = 0.0
        if training is not None:
            predicted = _step(found.steps[training], cell, device)
        if sampling is not None and (drawn := TASKS[cell.task].passes(evaluate)) is not None:
            forward = sum(seconds_by_kind(found_of[sampled].steps[sampling].forward, rates).values())
            sample_seconds = forward / sampling.batch_size * (drawn.images / train.processes) * drawn.evaluations
        yield Prediction(
            cell=cell.id,
            planned_as=cell.planned_as,
            model_name=model.name,
            resolution=cell.data.resolution,
            params=found.params,
            macs_forward=cost.macs,
            macs_by_kind=cost.of_kinds(),
            flops_train=float(cost.flops_train_step(train.batch_size) * train.steps),
            precision=train.precision,
            predicted_train_seconds=(predicted["predicted_step_seconds"] or 0.0) * train.steps,
            predicted_sample_seconds=sample_seconds,
            predicted_road=next(
                (
                    found_of[one].steps[how].road
                    for one, how in ((model, training), (sampled, sampling))
                    if how is not None
                ),
                None,
            ),
            **predicted,
        )


class _Asked(NamedTuple):
    """What a cell's prediction rests on: its model, and the batches that a device sees at once, if it sees any.

    `sampled` is the model at the resolution, and of clips at the length, that is evaluated.
    """

    model: Model
    training: Pass | None
    sampled: Model
    sampling: Pass | None


def _asked(cell: Cell, classes: int | None, device: Device) -> _Asked:
    train, precision = cell.train, device.arithmetic(cell.train.precision)
    evaluation = TASKS[cell.task].passes(cell.evaluate)
    name, arguments = build_of(cell, classes)
    elsewhere = {**arguments, "input_size": input_size_of(registry.SOURCES[cell.data.name], cell.evaluated_on)}
    model, sampled = (
        Model(name, tuple((key, _plain(value)) for key, value in build.items())) for build in (arguments, elsewhere)
    )
    micro_batch = train.batch_size // (train.processes * train.accumulate)
    return _Asked(
        model,
        Pass(micro_batch, precision, cell.task, device.kind, device.capability) if train.steps else None,
        sampled if evaluation is not None else model,
        None if evaluation is None else Pass(evaluation.batch, precision, cell.task, device.kind, device.capability),
    )


def _plain(value: Any) -> Any:
    """A value that can be looked up: pairs in the place of a mapping, which `create_model` takes too."""
    return tuple(value.items()) if isinstance(value, dict) else value


def _rates(cell: Cell, device: Device) -> Rates:
    """What a cell reaches: from CUDA graphs a GPU need not wait for its host."""
    rates = device.rates[cell.train.precision]
    return replace(rates, latency=0.0) if cell.train.compile == "compile-graphs" and device.capability else rates


def _step(step: TrainingStep, cell: Cell, device: Device) -> dict[str, Any]:
    """What is predicted of one optimiser step on one of the cell's devices, whose micro-batch `step` is."""
    train, rates = cell.train, _rates(cell, device)
    operations = Counter({work: count * train.accumulate for work, count in (step.forward + step.backward).items()})
    operations += step.optimiser
    by_kind = seconds_by_kind(operations, rates)
    # micro-batches add to gradients that are there already, and so do the buffers in which devices exchange them
    extra = step.gradient_bytes * ((train.accumulate > 1) + (train.processes > 1 and not train.shard))
    if train.shard:  # two blocks' weights and gradients are together at a time, of all else each device has its part
        shared = (step.parameter_bytes + step.gradient_bytes) * (1 - 1 / train.processes)
        extra += 4 * step.gradient_bytes // max(1, cell.model.depth or 1) - int(shared)
    memory = step.peak_bytes + extra
    fits = memory <= device.memory
    left = device.memory - step.parameter_bytes - extra
    batch = max(0, int(train.batch_size * left / step.working_bytes))
    return {
        "predicted_memory_bytes": memory,
        "predicted_activation_bytes": step.held_bytes,
        "predicted_bytes_moved": sum(work.bytes * count for work, count in operations.items()),
        "predicted_fits": fits,
        "predicted_fitting_batch": None if fits else batch,
        "predicted_step_seconds": sum(by_kind.values()),
        "predicted_step_seconds_by_kind": by_kind,
    }


_OF_TRAINING = (
    "predicted_memory_bytes",
    "predicted_activation_bytes",
    "predicted_bytes_moved",
    "predicted_fits",
    "predicted_fitting_batch",
    "predicted_step_seconds",
    "predicted_step_seconds_by_kind",
)
