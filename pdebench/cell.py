"""Run one cell: data, model, training, measurement, evaluation, record."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from pdebench.config import Cell
from pdebench.data import registry as data_registry
from pdebench.data.source import ImageSet
from pdebench.measure import cost, quality
from pdebench.measure.largest_batch import Trial, largest_batch
from pdebench.measure.memory import PeakMemory, analytic_bytes
from pdebench.measure.parts import measure_part
from pdebench.measure.speed import after_warmup, spread
from pdebench.models.backbone import Backbone, create_model
from pdebench.models.transfer import at_resolution
from pdebench.store import write_atomic, write_json
from pdebench.tasks import generation
from pdebench.training import Images, Progress, Trained, autocast, resolve_precision, train
from pdebench.training_state import Snapshots

# Samples start from this noise whatever the training seed: families are compared from the same starting points.
NOISE_SEED = 1234
GRID = 8  # samples.png shows GRID x GRID images

Watch = Callable[[dict[str, Any]], None]


def run_cell(
    cell: Cell, folder: Path, watch: Watch = lambda event: None, snapshots: Snapshots | None = None
) -> dict[str, Any]:
    """Train, measure and evaluate a cell, leaving its files in `folder`.

    Args:
        cell: what to run.
        folder: the cell's folder; it exists.
        watch: told of each stage and of progress in it.
        snapshots: where training keeps its state, and takes it up again.

    Returns:
        The measured columns of the record.

    Raises:
        Diverged: the training loss became NaN or infinite.
        Interrupted: `snapshots` was told to end, and has the state.
        DataError, ModelError, MetricError: what the checks before the run could not see.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = resolve_precision(cell.train.precision, device)
    watch({"stage": "data"})
    training, held_out = (data_registry.load(cell.data, split) for split in ("train", "validation"))
    classes = None if training.class_names is None else len(training.class_names)
    name = f"{cell.model.family}-{cell.model.size}/{cell.model.patch}"
    build = {
        "input_size": cell.data.resolution,
        "in_channels": data_registry.SOURCES[cell.data.name].channels,
        "num_classes": classes,
        **cell.model.dimensions,
        **cell.model.options,
    }
    counted, params = cost.count_by_name(name, **build)
    row: dict[str, Any] = {
        "model_name": name,
        "params": params,
        "tokens": (cell.data.resolution // cell.model.patch) ** 2,
        "macs_forward": counted.macs,
        "macs_uncounted": ", ".join(counted.uncounted),
        "flops_train_step": counted.flops_train_step(cell.train.batch_size),
        "flops_train": float(counted.flops_train_step(cell.train.batch_size) * cell.train.steps),
        "classes": classes,
        "train_images": len(training),
        "val_images": len(held_out),
        "data_checksum": training.checksum,
        "data_skipped": training.skipped,
        "precision_used": precision,
    }

    memory = PeakMemory(device)
    torch.manual_seed(cell.train.seed)
    model = create_model(name, **build).to(device)
    _compile(model, cell.train.compile)
    row |= {"mixer_implementation": model.mixer_implementation, **analytic_bytes(model)}
    watch({"stage": "model", "mixer_implementation": model.mixer_implementation})
    images, validation = _tensors(training), _tensors(held_out)

    def validate(candidate: nn.Module, held_out: Images = validation) -> float:
        with autocast(precision, device):
            return generation.validation_loss(candidate, held_out.pixels.to(device), _to(held_out.labels, device))

    def report(progress: Progress) -> None:
        watch({"stage": "train", **asdict(progress)})

    timings: dict[str, Any] = {}
    if cell.train.steps:
        trained = train(
            model, images, cell.train, device=device, precision=precision, flip=cell.data.flip,
            validate_every=cell.evaluate.every, validate=validate, watch=report, snapshots=snapshots,
        )  # fmt: skip
        subject = trained.ema
        _compile(subject, cell.train.compile)
        row |= {"peak_memory_bytes": memory.read(), "peak_memory_kind": memory.kind}
        row |= _learned(cell, trained) | {"val_loss_ema": validate(subject)}
        timings |= {"train_step_seconds": trained.step_seconds, "data_wait_seconds": trained.data_seconds}
        _write_curve(trained, folder)
        _write_checkpoint(subject, name, build, folder)
    else:
        subject = model.eval()
    reference = training
    if (side := cell.evaluate.resolution or cell.data.resolution) != cell.data.resolution:
        elsewhere = cell.data.model_copy(update={"resolution": side})
        reference, held_out = (data_registry.load(elsewhere, split) for split in ("train", "validation"))
        subject = at_resolution(subject, name, build, side)
        row["val_loss_transfer"] = validate(subject, _tensors(held_out))
    if cell.evaluate.samples:
        row |= _evaluate(cell, subject, reference, device, precision, folder, timings, watch)
    for part in cell.measure.parts:
        watch({"stage": "measure", "part": part})
        columns, timings[f"{part}_seconds"] = measure_part(
            part, model, batch_size=cell.train.batch_size, precision=precision, device=device,
            seconds=cell.measure.seconds,
        )  # fmt: skip
        row |= columns
    if cell.measure.largest_batch:
        watch({"stage": "measure", "part": "largest batch"})
        trial = Trial(name, build, cell.train.model_dump(mode="json"), precision, cell.train.batch_size)
        row |= largest_batch(trial, cell.measure.search_seconds)
    write_json(folder / "timings.json", timings)
    return row


def _compile(model: nn.Module, mode: str) -> None:
    """From now on the model is called as `train.compile` says; its weights and their names stay."""
    if mode != "eager":
        model.compile(mode="max-autotune" if mode == "compile-max" else "default")


def _tensors(images: ImageSet) -> Images:
    """Copies: a cached set is a read-only memory map."""
    labels = None if images.labels is None else torch.from_numpy(np.array(images.labels))
    return Images(torch.from_numpy(np.array(images.images)), labels)


def _to(tensor: Tensor | None, device: torch.device) -> Tensor | None:
    return None if tensor is None else tensor.to(device)


def _learned(cell: Cell, trained: Trained) -> dict[str, Any]:
    """What training itself tells: losses, and the time of its steps."""
    losses, steps = trained.curve.train_loss, spread(after_warmup(trained.step_seconds))
    tail = losses[-max(1, len(losses) // 10) :]
    compiled = cell.train.compile != "eager" and trained.resumed_from is None
    return {
        "compile_seconds": trained.step_seconds[0] - steps.median if compiled else None,
        "resumed_from_step": trained.resumed_from,
        "images_seen": trained.curve.images[-1],
        "train_loss": sum(tail) / len(tail),
        "val_loss": trained.curve.val_loss[-1],
        "train_seconds": sum(trained.step_seconds),
        **steps.columns("train_step_ms", 1000),
        "train_images_per_s": cell.train.batch_size / steps.median,
        "data_wait_ms_median": spread(after_warmup(trained.data_seconds)).median * 1000,
    }


def _write_curve(trained: Trained, folder: Path) -> None:
    import pandas as pd

    write_atomic(folder / "curve.parquet", pd.DataFrame(asdict(trained.curve)).to_parquet(index=False))


def _write_checkpoint(ema: nn.Module, name: str, build: dict[str, Any], folder: Path) -> None:
    """The averaged weights, with what `create_model` needs to take them up again."""
    from safetensors.torch import save

    weights = {key: value.contiguous() for key, value in ema.state_dict().items()}
    write_atomic(folder / "checkpoint.safetensors", save(weights, {"model": name, "build": json.dumps(build)}))


def load_checkpoint(path: Path) -> Backbone:
    """Rebuild a model from a cell's checkpoint, in eval mode; reading it runs no code from the file.

    Raises:
        ModelError: the file is no checkpoint of pdebench.
    """
    from safetensors import SafetensorError, safe_open

    from pdebench.errors import ModelError

    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        model = create_model(about["model"], **json.loads(about["build"]))
        model.load_state_dict(weights)
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
        raise ModelError(f"{path} is not a checkpoint of pdebench ({str(error).splitlines()[0]})") from None
    return model.eval()


def _evaluate(
    cell: Cell,
    model: nn.Module,
    reference: ImageSet,
    device: torch.device,
    precision: str,
    folder: Path,
    timings: dict[str, Any],
    watch: Watch,
) -> dict[str, Any]:
    """Sample from the averaged weights, time it, and measure the samples against the training images."""
    count, size = cell.evaluate.samples, cell.evaluate.batch_size
    noise_of = Generator().manual_seed(NOISE_SEED)
    # the classes of the training set in its own (mixed, fixed) order: samples follow its class frequencies
    labels = None if reference.labels is None else torch.from_numpy(np.resize(reference.labels, count).copy())
    batches, seconds = [], []
    for begin in range(0, count, size):
        watch({"stage": "sample", "step": begin, "steps": count})
        shape = (min(size, count - begin), reference.images.shape[1], reference.resolution, reference.resolution)
        noise = torch.randn(shape, generator=noise_of).to(device)
        given = None if labels is None else labels[begin : begin + len(noise)].to(device)
        started = time.perf_counter()
        with autocast(precision, device):
            drawn = generation.sample(
                model, noise, given,
                sampler=cell.evaluate.sampler, nfe=cell.evaluate.nfe, guidance=cell.evaluate.guidance,
            )  # fmt: skip
        batches.append(generation.to_pixels(drawn).cpu())  # .cpu() waits for the device
        seconds.append(time.perf_counter() - started)
    samples = torch.cat(batches)
    if samples.shape[1] == 3:
        write_atomic(folder / "samples.png", png_grid(samples[: GRID * GRID], columns=GRID))
    rates = [len(batch) / one for batch, one in zip(batches, seconds, strict=True)]
    speed = spread(rates[1:] or rates)
    timings["sample_batch_seconds"] = seconds
    row: dict[str, Any] = {
        "sample_seconds": sum(seconds),
        "sample_images_per_s": speed.median,
        "sample_images_per_s_q1": speed.q1,
        "sample_images_per_s_q3": speed.q3,
        "sample_images_per_s_n": speed.n,
    }
    if cell.evaluate.metrics:
        watch({"stage": "evaluate"})
        row |= quality.evaluate(
            cell.evaluate.metrics, samples, np.asarray(reference.images),
            reference_name=f"{reference.name}/{reference.split}/{reference.resolution}px",
            reference_checksum=reference.checksum, device=device,
        )  # fmt: skip
    return row


def png_grid(images: Tensor, columns: int) -> bytes:
    """uint8 images (N, 3, H, W) side by side as a PNG."""
    from PIL import Image
    from torchvision.utils import make_grid

    picture = make_grid(images, nrow=columns, padding=2, pad_value=255)
    buffer = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(buffer, "PNG")
    return buffer.getvalue()
