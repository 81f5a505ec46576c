"""Run one cell: data, model, training, measurement, evaluation, record."""

from __future__ import annotations

import io
import json
import math
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pdebench.data import registry as data_registry
from pdebench.data.source import ImageSet
from pdebench.errors import CellWarning, ModelError
from pdebench.files.disk import expanded
from pdebench.measure.efficiency import mfu_columns, peak_of
from pdebench.measure.largest_batch import Trial, largest_batch
from pdebench.measure.memory import PeakMemory, analytic_bytes
from pdebench.measure.operators import graph_breaks, step_counts
from pdebench.measure.parts import measure_part
from pdebench.measure.probes import PROBES
from pdebench.measure.spatial.findings import SPATIAL
from pdebench.measure.spatial.survey import IMAGES, survey
from pdebench.models.backbone import Backbone, create_model
from pdebench.models.grid import grid_of
from pdebench.models.package_code import source_of
from pdebench.models.registry import FAMILIES
from pdebench.models.transfer import at_resolution
from pdebench.ops.precision import cast_once, resolve_precision
from pdebench.plan.closed_form_check import disagreement, idle_parameters
from pdebench.plan.cost_cache import cached_cost
from pdebench.results.class_names import names_column
from pdebench.results.store import write_atomic, write_json
from pdebench.run.checkpoint import write_checkpoint
from pdebench.run.preflight import refuse_graphs
from pdebench.run.starting import begin_with
from pdebench.suite.build import build_of, input_size_of
from pdebench.suite.config import Cell
from pdebench.suite.measured_sizes import matched_columns
from pdebench.suite.resolved import init_content
from pdebench.system.distributed import ALONE, World
from pdebench.system.durations import after_warmup, spread
from pdebench.system.machine import device_name
from pdebench.tasks.columns import at_side
from pdebench.tasks.learner import Applied, Learner
from pdebench.tasks.registry import TASKS
from pdebench.train.batches import Images, as_trained_on
from pdebench.train.compiled import compile_in_place, graphed, graphs_bytes
from pdebench.train.loop import Progress, Trained, train
from pdebench.train.state import Snapshots

MADE = "made"  # what a task makes, until it is judged
OF_THE_CELL = ("record.json", "timings.json", SPATIAL, PROBES)  # what no task may leave in a cell's folder
VALIDATION_BATCH = 64  # images at a time, at most

Watch = Callable[[dict[str, Any]], None]


def run_cell(
    cell: Cell,
    folder: Path,
    watch: Watch = lambda event: None,
    snapshots: Snapshots | None = None,
    world: World = ALONE,
) -> dict[str, Any]:
    """Train, measure and evaluate a cell, leaving its files in `folder`.

    Every process of `world` does: training, validation and sampling are shared out, and the first alone writes, judges
    the samples and measures; the others come back when nothing more is asked of them.

    Args:
        cell: what to run.
        folder: the cell's folder; it exists.
        watch: told of each stage and of progress in it.
        snapshots: where training keeps its state, and takes it up again.
        world: the processes that share the cell.

    Returns:
        The measured columns of the record, complete in the first process.

    Raises:
        Diverged: the training loss became NaN or infinite.
        Interrupted: `snapshots` was told to end, and has the state.
        DataError, ModelError, MetricError, SlotError: what the checks before the run could not see.
    """
    device = world.device
    refuse_graphs([cell], gpu=device.type == "cuda")
    precision = resolve_precision(cell.train.precision, device)
    watch({"stage": "data"})
    with world.one_after_the_first():  # it downloads and decodes for all
        data_registry.verify(cell.data, cell.data.content)
        training, held_out = (data_registry.load(cell.data, split) for split in ("train", "validation"))
    target = TASKS[cell.task].target
    names = training.map_names if target == "maps" else training.class_names
    classes = None if names is None else len(names)
    name, build = build_of(cell, classes)
    cost, params = cached_cost(name, build)
    if said := disagreement(name, build, cost, params):
        warnings.warn(said, CellWarning, stacklevel=2)
    row: dict[str, Any] = {
        "model_name": name,
        "family_revision": FAMILIES[cell.model.family].revision,
        "family_source": source_of(FAMILIES[cell.model.family]),
        **matched_columns(cell, folder.parent.parent),
        "params": params,
        "params_idle": idle_parameters(name, build),
        "tokens": math.prod(grid_of(build["input_size"], cell.model.patch, cell.model.patch_frames)),
        "macs_forward": cost.macs,
        "macs_uncounted": ", ".join(cost.uncounted),
        "flops_train_step": cost.flops_train_step(cell.train.batch_size),
        "flops_train": float(cost.flops_train_step(cell.train.batch_size) * cell.train.steps),
        "channels": build["in_channels"],
        "classes": classes,
        "class_names": names_column(names),
        "train_images": len(training),
        "val_images": len(held_out),
        "data_checksum": training.checksum,
        "data_skipped": training.skipped,
        "precision_used": precision,
    }

    learner = TASKS[cell.task].learner(cell.train)
    learner.warn(cell.evaluate, training)
    images, validation = as_trained_on(training, target), as_trained_on(held_out, target)
    memory = PeakMemory(device)
    torch.manual_seed(cell.train.seed)
    model = create_model(name, **build).to(device)
    if cell.train.init is not None:
        if (held := init_content(cell.train)) != cell.train.init_content:
            raise ModelError(
                f"train.init: {cell.train.init} is another checkpoint than when this cell was begun ({held})"
            )
        row["initialised_from"] = begin_with(expanded(cell.train.init), model, name, cell.task)
    compile_in_place(model, cell.train.compile, device)
    row |= {"mixer_implementation": model.mixer_implementation, **analytic_bytes(model)}
    watch({"stage": "model", "mixer_implementation": model.mixer_implementation})
    # no more than training has at once: the peak of memory is training's, and what can be trained can be validated
    at_once = min(VALIDATION_BATCH, cell.train.batch_size // (cell.train.processes * cell.train.accumulate))

    def validate(candidate: nn.Module, held_out: Images = validation) -> float | None:
        if not len(held_out.pixels):  # random data hold nothing out: there is nothing to be found in them
            return None
        with cast_once(candidate, precision, device):
            return learner.validation_loss(
                candidate, held_out.seen, held_out.targets, batch_size=at_once, device=device, world=world
            )

    def report(progress: Progress) -> None:
        watch({"stage": "train", **asdict(progress)})

    timings: dict[str, Any] = {}
    if cell.train.steps:
        trained = train(
            model, images, cell.train, learner=learner, device=device, precision=precision, flip=cell.data.flip,
            validate_every=cell.evaluate.every, validate=validate, watch=report, snapshots=snapshots,
            world=world,
        )  # fmt: skip
        subject = trained.ema
        compile_in_place(subject, cell.train.compile, device)
        row |= {"peak_memory_bytes": memory.read(), "peak_memory_kind": memory.kind}
        row |= _learned(cell, trained) | {"val_loss_ema": validate(subject)}
        timings |= {"train_step_seconds": trained.step_seconds, "data_wait_seconds": trained.data_seconds}
        timings["timed_from_step"] = trained.timed_from
        if world.first:
            _write_curve(trained, folder)
            write_checkpoint(subject, name, build, learner, folder, training.space, names)
    else:
        subject = model.eval()
    learnt = subject
    reference, sampled = training, build
    if (elsewhere := cell.evaluated_on) != cell.data:
        with world.one_after_the_first():
            reference, held_out = (data_registry.load(elsewhere, split) for split in ("train", "validation"))
        moved = input_size_of(data_registry.SOURCES[cell.data.name], elsewhere)
        sampled = {**build, "input_size": moved}
        subject = at_resolution(subject, name, build, moved)
        row["val_loss_transfer"] = validate(subject, as_trained_on(held_out, target))
    applied = learner.apply(
        subject, cell.evaluate, reference, held_out, weights="averaged" if cell.train.steps else "initial",
        world=world, arithmetic=cast_once(subject, precision, device), folder=folder / MADE, watch=watch,
    )  # fmt: skip
    row |= _own(row, applied.columns, learner.task)
    timings |= applied.seconds
    for side in cell.evaluate.sides:
        there = cell.data.model_copy(update={"resolution": side})
        with world.one_after_the_first():
            images_there = data_registry.load(there, "validation")
        moved = input_size_of(data_registry.SOURCES[cell.data.name], there)
        own = side == cell.data.resolution
        seen_there = learnt if own else at_resolution(learnt, name, build, moved)
        found = learner.at_side(
            seen_there, cell.evaluate, images_there, world=world, arithmetic=cast_once(seen_there, precision, device)
        )
        row |= _own(row, {at_side(column, side): value for column, value in found.items()}, learner.task)
    if graphed(cell.train.compile, device):
        row["graphs_bytes"] = graphs_bytes(torch.cuda.memory_snapshot())
    world.leave()
    if not world.first:
        return row
    row |= _utilisation(cell, row, name, sampled, world)
    if applied.made is not None:
        judged = _judged(cell, learner, applied, reference, device, folder, watch)
        row |= _own(row, judged, learner.task)
    for part in cell.measure.parts:
        watch({"stage": "measure", "part": part})
        columns, timings[f"{part}_seconds"] = measure_part(
            part, model, batch_size=cell.train.batch_size, precision=precision, device=device,
            compile_mode=cell.train.compile, seconds=cell.measure.seconds,
        )  # fmt: skip
        row |= columns
    if cell.measure.spatial:
        row |= _survey(learner, learnt, validation if len(held_out) else images, folder, watch)
    if cell.measure.operators and cell.train.compile == "eager":
        row |= step_counts(model, precision=precision, device=device)
    elif cell.measure.operators:
        row["graph_breaks"] = graph_breaks()
    if cell.measure.largest_batch:
        watch({"stage": "measure", "part": "largest batch"})
        trial = Trial(name, build, cell.task, cell.train.model_dump(mode="json"), precision, cell.train.batch_size)
        row |= largest_batch(trial, cell.measure.search_seconds)
    write_json(folder / "timings.json", timings)
    shutil.rmtree(folder / MADE, ignore_errors=True)  # last of all: it would have to be made again
    return row


def _learned(cell: Cell, trained: Trained) -> dict[str, Any]:
    """What training itself tells: losses, and the time of its steps."""
    losses = trained.curve.train_loss
    tail = losses[-max(1, len(losses) // 10) :]
    return {
        "resumed_from_step": trained.resumed_from,
        "resumed_bit_exact": trained.bit_exact,
        "images_seen": trained.curve.images[-1],
        "train_loss": sum(tail) / len(tail),
        "val_loss": trained.curve.val_loss[-1],
        **_timed(cell, trained),
    }


def _timed(cell: Cell, trained: Trained) -> dict[str, Any]:
    """The time of the steps that ran as this process does; what others took says nothing of them."""
    seconds, waits = trained.step_seconds[trained.timed_from :], trained.data_seconds[trained.timed_from :]
    if left := trained.timed_from:
        warnings.warn(
            f"{left} of {len(trained.step_seconds)} steps were timed under other conditions (a machine, threads, or "
            "cells beside them) and are left out of the timings",
            CellWarning,
            stacklevel=2,
        )
    if not seconds:
        return {}
    steps = spread(after_warmup(seconds))
    compiled = cell.train.compile != "eager" and trained.resumed_from is None
    return {
        "compile_seconds": seconds[0] - steps.median if compiled else None,
        "train_seconds": None if left else sum(seconds),
        **steps.columns("train_step_ms", 1000),
        "train_images_per_s": cell.train.batch_size / steps.median,
        "train_joules_per_image": trained.joules_an_image,
        "data_wait_ms_median": spread(after_warmup(waits)).median * 1000,
    }


def _utilisation(
    cell: Cell, row: Mapping[str, Any], name: str, sampled: dict[str, Any], world: World
) -> dict[str, Any]:
    """How much of its devices' peak the cell reached in what was timed.

    Args:
        cell: what was run.
        row: what was found.
        name, sampled: what builds the model that drew samples, which may be of another resolution than was trained on.
        world: the processes, each with a device of its own.
    """
    tf32 = torch.backends.cuda.matmul.fp32_precision == "tf32"
    peak = peak_of(device_name(), row["precision_used"], world.size, tf32=tf32)
    flops, classified = None, None
    if "classify_images_per_s" in row:
        classified = 2 * cached_cost(name, sampled)[0].macs
    # in another arithmetic than the cell's there is no peak to hold it to
    if peak is not None and "sample_images_per_s" in row and row["sampled_from"].endswith("cast once"):
        cost, _ = cached_cost(name, sampled)
        flops = 2 * cost.macs * row["sample_passes_mean"]
    return mfu_columns(peak, row, flops, classified)


def _survey(learner: Learner, model: nn.Module, images: Images, folder: Path, watch: Watch) -> dict[str, Any]:
    """What the mixers do in space, on the first held-out images where there are any; the details go into a file."""
    assert isinstance(model, Backbone)
    watch({"stage": "measure", "part": "space"})
    found = survey(model.eval(), learner.to_model(torch.from_numpy(np.array(images.seen[:IMAGES]))), learner=learner)
    write_json(folder / SPATIAL, json.loads(found.model_dump_json()))
    return found.columns()


def _write_curve(trained: Trained, folder: Path) -> None:
    import pyarrow as pa  # not pandas, nor `pa.array`, which asks for it: it takes a fresh process .3 s to import
    import pyarrow.parquet as pq

    def column(name: str, values: list[Any]) -> pa.Array:
        known = np.packbits([value is not None for value in values], bitorder="little")
        kind = pa.int64() if name in ("step", "images") else pa.float64()
        numbers = np.array([0 if value is None else value for value in values], kind.to_pandas_dtype())
        return pa.Array.from_buffers(kind, len(values), [pa.py_buffer(known.tobytes()), pa.py_buffer(numbers)])

    table = pa.table({name: column(name, values) for name, values in asdict(trained.curve).items()})
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    write_atomic(folder / "curve.parquet", buffer.getvalue())


def _judged(
    cell: Cell,
    learner: Learner,
    applied: Applied,
    reference: ImageSet,
    device: torch.device,
    folder: Path,
    watch: Watch,
) -> dict[str, Any]:
    """The columns of what the trained model made; its files are written."""
    watch({"stage": "evaluate"})
    meaningful = data_registry.SOURCES[cell.data.name].meaningful
    judged = learner.judge(applied, cell.evaluate, reference, meaningful=meaningful, device=device)
    for name in judged.files:
        if Path(name).name != name or Path(name).suffix not in (".png", ".webp", ".json") or name in OF_THE_CELL:
            raise ModelError(
                f"the task {learner.task} leaves a file {name!r}: a task leaves pictures and lists, NAME.png, "
                f"NAME.webp and NAME.json, but not {', '.join(OF_THE_CELL)}"
            )
    for name, content in judged.files.items():
        write_atomic(folder / name, content)
    return dict(judged.columns)


def _own(row: Mapping[str, Any], columns: Mapping[str, Any], task: str) -> Mapping[str, Any]:
    """The columns of a task, which has none of those that every task's cells have.

    Raises:
        ModelError: it has.
    """
    if taken := sorted(row.keys() & columns.keys()):
        raise ModelError(f"the task {task} fills {taken[0]!r}, which the cell has filled: give its column another name")
    return columns
