"""`pdebench evaluate`: scores of samples that somebody made, or of finished cells, without training again."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from pdebench.data import registry
from pdebench.data.picture_folder import FrameFolders, PictureFolder
from pdebench.data.rows import Rows
from pdebench.errors import MetricError, ResultsError
from pdebench.metrics import quality
from pdebench.metrics.columns import COLUMNS as OF_METRICS
from pdebench.metrics.npz import Npz
from pdebench.metrics.reference import Reference
from pdebench.metrics.registry import METRICS
from pdebench.ops.precision import cast_once
from pdebench.results.record_schema import trimmed
from pdebench.results.store import Results, read_json, write_json
from pdebench.run.cell import MADE
from pdebench.run.checkpoint import read_checkpoint
from pdebench.run.drawing import Said
from pdebench.run.sampling import sample_checkpoint
from pdebench.suite.config import Cell, DataConfig
from pdebench.system.distributed import ALONE
from pdebench.tasks.generation.decoding import Decoder
from pdebench.tasks.generation.evaluation import SamplesEvaluation
from pdebench.tasks.generation.learner import GenerationLearner, title_of

HISTORY = "evaluations.json"


@dataclass(frozen=True)
class Scores:
    """What was found of one set of samples: scores, and what has to be known of them.

    Attributes:
        what: was scored.
        columns: of a record.
        size: of the samples, such as `64 x 64 px`.
        reference_size: of the images that they are compared with; None: of statistics alone, which do not say it.
    """

    what: str
    columns: Mapping[str, Any]
    size: str
    reference_size: str | None


def reference_of(data: DataConfig) -> Reference:
    """The training images of a data set, latents decoded.

    Raises:
        DataError: they are not there.
        ModelError: what decodes them cannot be loaded.
    """
    found = registry.load(data, "train")
    name = title_of(found)
    if found.space is None or not found.space.autoencoder:
        return Reference(name, found.images, found.checksum)
    return Reference(f"{name}, decoded", Decoder(found.space, _device()).decoded(found.seen), found.checksum)


def evaluate_samples(what: Path, reference: Reference, names: Sequence[str]) -> Scores:
    """Score a folder of pictures, or of folders of the frames of clips, or ADM's file of samples.

    Raises:
        DataError: it is neither.
        MetricError: a metric cannot be computed of it, or the reference is of another size.
    """
    clips = any(METRICS.find(name).of != "images" for name in names)
    samples: Rows
    if clips and what.is_dir():
        samples = FrameFolders(what)
    else:
        samples = PictureFolder(what) if what.is_dir() else Npz(what).images()
    quality.check_reference(names, reference)
    quality.check_size(names, samples.shape, reference)
    quality.check(names, len(samples))
    return _scored(str(what), samples, reference, quality.evaluate(names, samples, reference, device=_device()))


def _scored(what: str, samples: Rows, reference: Reference, columns: Mapping[str, Any]) -> Scores:
    other = None if reference.images is None else quality.pixels(reference.images.shape)
    return Scores(what, columns, quality.pixels(samples.shape), other)


def evaluate_checkpoint(
    checkpoint: Path,
    reference: Reference,
    names: Sequence[str],
    count: int,
    seeds: Sequence[int],
    said: Said,
    **how: Any,
) -> Iterator[Scores]:
    """Draw samples of a checkpoint, once for each seed, and score them; they stay beside it, as ADM's files or frames.

    `how` is as `sample_checkpoint` takes it.

    Raises:
        ModelError, ResultsError: as `sample_checkpoint`.
        MetricError: a metric cannot be computed, or the reference is of another size than what it draws.
    """
    quality.check_reference(names, reference)
    quality.check(names, count)
    found = read_checkpoint(checkpoint)
    sides = found.model.sides
    if found.space is None:  # latents are decoded first
        quality.check_size(names, sides, reference)
    clips = len(sides) == 3
    quality.check_kind(names, sides[0] if clips else None, f"the model of {checkpoint}")
    for seed in seeds:
        out = checkpoint.with_name(f"samples_{count}_seed{seed}{'' if clips else '.npz'}")
        sample_checkpoint(checkpoint, out, count=count, seed=seed, said=said, **how)
        yield evaluate_samples(out, reference, names)


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of a score over seeds, and the ends of its 95% interval by Student's t; of three values or more."""
    from scipy.stats import t

    mean, error = statistics.fmean(values), statistics.stdev(values) / len(values) ** 0.5
    half = error * float(t.ppf(0.975, len(values) - 1))
    return mean, mean - half, mean + half


def evaluate_results(
    folder: Path, reference: Reference | None, names: Sequence[str], count: int | None, said: Said
) -> Iterator[Scores]:
    """Draw samples of each finished cell, as its suite asks, and put their scores into its record.

    What the record had of scores is computed again, so that all are of the same samples and reference; `HISTORY`,
    beside it, keeps what was there. A cell that was being drawn when this was interrupted goes on.

    Args:
        folder: of results.
        reference: None: the images that each cell was trained on.
        names: metrics, beside those that the record has; none: those of the suite.
        count: of samples; None: as the suite has it.
        said: told how many cells are done.

    Raises:
        ResultsError: there is no finished cell with samples to draw.
        MetricError: a cell's task draws none, or a metric cannot be computed.
    """
    results = Results(folder)
    cells = [cell for cell in _finished(results) if (results.cell(cell.id) / "checkpoint.safetensors").is_file()]
    if not cells:
        raise ResultsError(f"{folder} has no finished cell with a checkpoint: run its suite first")
    for cell in cells:
        if not isinstance(cell.evaluate, SamplesEvaluation):
            raise MetricError(f"cell {cell.id} is of the task {cell.task}, which draws no samples")
    asked = [(cell, *_asked(cell, results, names, count)) for cell in cells]
    own: dict[DataConfig, Reference] = {}
    for cell, wanted, samples in asked:  # all that can be known to fail, before anything is drawn
        quality.check_images(wanted, registry.SOURCES.find(cell.data.name), cell.data)
        if reference is not None:
            quality.check_reference(wanted, reference)
            if cell.data not in own:
                own[cell.data] = reference_of(cell.data)
            if (images := own[cell.data].images) is not None:  # what is drawn is as large, latents decoded
                quality.check_size(wanted, images.shape, reference)
        quality.check(wanted, samples)
    for done, (cell, wanted, samples) in enumerate(asked):
        said(done, len(asked))
        yield _evaluate_cell(cell, results, reference, wanted, samples)
    said(len(asked), len(asked))


def _finished(results: Results) -> Iterator[Cell]:
    for identity in results.plan():
        record, cell = results.record(identity), results.config(identity)
        if cell is not None and record is not None and record["status"] == "done":
            yield cell


def _asked(cell: Cell, results: Results, names: Sequence[str], count: int | None) -> tuple[list[str], int]:
    """The metrics and the number of samples of a cell."""
    record = results.record(cell.id) or {}
    before = [name for name, metric in METRICS.items() if record.get(metric.scores[0].column) is not None]
    wanted = list(dict.fromkeys([*before, *(names or getattr(cell.evaluate, "metrics", ()))]))
    if not wanted:
        raise MetricError("the suite asks for no metric: name some with --metrics; see `pdebench list metrics`")
    if not (samples := count or getattr(cell.evaluate, "samples", 0)):
        raise MetricError(f"cell {cell.id} draws no samples: say how many with --samples")
    return wanted, samples


def _evaluate_cell(
    cell: Cell, results: Results, reference: Reference | None, names: Sequence[str], samples: int
) -> Scores:
    folder, device = results.cell(cell.id), _device()
    found = read_checkpoint(folder / "checkpoint.safetensors")
    learner = found.learner
    assert isinstance(learner, GenerationLearner)  # of a cell that draws samples
    if (elsewhere := cell.evaluated_on) != cell.data:
        other = "resolution" if elsewhere.resolution != cell.data.resolution else "number of frames"
        raise MetricError(f"cell {cell.id} is evaluated at another {other} than it was trained at: run it for that")
    record = results.record(cell.id)
    assert record is not None
    training = registry.load(cell.data, "train")
    evaluate = cell.evaluate.model_copy(update={"samples": samples, "metrics": tuple(names)})
    assert isinstance(evaluate, SamplesEvaluation)  # its learner is generation's
    model = found.model.to(device)
    applied = learner.apply(
        model, evaluate, training, training, weights="averaged", world=ALONE,
        arithmetic=cast_once(model, record.get("precision_used") or "fp32", device), folder=folder / MADE,
        watch=lambda event: None,
    )  # fmt: skip
    if applied.made is None:
        raise MetricError(f"samples of cell {cell.id} came out NaN or infinite: none is measured")
    compared = reference or reference_of(cell.data)
    columns = quality.evaluate(names, applied.made, compared, device=device)
    _put(folder, record, columns)
    shutil.rmtree(folder / MADE)
    return _scored(cell.id, applied.made, compared, columns)


def _put(folder: Path, record: Mapping[str, Any], columns: Mapping[str, Any]) -> None:
    """Put scores into a record, and what was there into the history beside it."""
    evaluated = OF_METRICS.keys() | {column for metric in METRICS.values() for column in metric.columns}
    before = {name: record[name] for name in sorted(evaluated) if record.get(name) is not None}
    path = folder / HISTORY
    found = read_json(path, "a history of scores", "remove it to begin another")
    kept = [] if found is None else found["evaluations"]
    if before:
        write_json(path, {"evaluations": [*kept, {"until": datetime.now(UTC).isoformat(timespec="seconds"), **before}]})
    left = {name: value for name, value in record.items() if name not in evaluated}
    write_json(folder / "record.json", trimmed({**left, **columns}))


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
