"""`pdebench probe`: what checkpoints have learned, by layer and noise level, kept beside each in `probe.json`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pdebench.data import registry
from pdebench.data.rows import Rows
from pdebench.data.source import ImageSet
from pdebench.errors import DataError, ModelError, ResultsError
from pdebench.measure.probes import (
    PROBES,
    REVISION,
    Counted,
    Probe,
    ProbedPlace,
    ProbeScores,
    Protocol,
    read_probes,
    write_probes,
)
from pdebench.measure.probing import BATCH, block_features, pixel_features
from pdebench.models.backbone import Backbone, create_model
from pdebench.ops.precision import cast_once, resolve_precision
from pdebench.results.store import Results, read_config
from pdebench.run.checkpoint import Checkpoint, read_checkpoint
from pdebench.stats.linear_probe import linear_probe
from pdebench.stats.nearest_neighbours import neighbours_vote
from pdebench.stats.proportion import Share
from pdebench.suite.build import resolved
from pdebench.suite.config import Cell, DataConfig
from pdebench.tasks.generation.drawn import digest_of
from pdebench.tasks.learner import Learner

TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
IMAGES = 50_000
HELD_OUT = 50_000  # images, at most: all that ImageNet has
FEATURES = 2**31  # bytes of features that stand in memory at once; of more, a model is called again for the next layers

Said = Callable[[int, int], None]
"""ProbeScores how many features are judged, and of how many."""


@dataclass(frozen=True)
class Asked:
    """What is asked of each checkpoint.

    Attributes:
        layers: the first is 0; none: all.
        times: 0 noise, 1 the image; none: `TIMES`. A task without noise has one, the image.
        images: training images, at most.
        data: the images; None: those that the cell was trained on.
        seed: of the noise.
        precision: of the features: `fp32`, `bf16` or `auto`.
        device: None: a GPU, else the CPU.
        batch_size: images at a time.
    """

    layers: tuple[int, ...] = ()
    times: tuple[float, ...] = ()
    images: int = IMAGES
    data: DataConfig | None = None
    seed: int = 0
    precision: str = "fp32"
    device: str | None = None
    batch_size: int = BATCH


def probe_checkpoint(checkpoint: Path, asked: Asked, said: Said = lambda done, of: None) -> Probe:
    """Probe what was not probed before, and keep it beside the checkpoint; what comes back is what was asked for.

    What is done of an interrupted call is kept: the same call goes on.

    Raises:
        ModelError: the file is no checkpoint, has no such layer or time, or its features are not finite.
        DataError: the images are not there, are not what the model takes, or have no labels, or too few.
        ResultsError: nobody says which images, or what was kept cannot be read or written.
    """
    return _probed(checkpoint, asked, said, _Splits())


def _probed(checkpoint: Path, asked: Asked, said: Said, splits: _Splits) -> Probe:
    _check(asked)
    device = _device(asked.device)
    found = read_checkpoint(checkpoint)
    cell = _cell_of(checkpoint)
    layers = asked.layers or tuple(range(len(found.model.blocks)))
    _check_layers(str(checkpoint), layers, len(found.model.blocks))
    times = _times(found.learner, asked.times)
    path = checkpoint.with_name(PROBES)
    if not os.access(path.absolute().parent, os.W_OK):
        raise ResultsError(f"cannot write {path}, where what is found is kept: mend its folder, or copy the checkpoint")
    kept = read_probes(path)
    data = _data_of(checkpoint, cell, asked.data)
    sets = _Sets.fitting(data, found, asked.images, splits.of(data, checkpoint))
    probe = _begun(found, cell, data, sets, asked, resolve_precision(asked.precision, device))
    probe = next((one for one in kept if one.protocol == probe.protocol), probe)
    # other data, numbers or arithmetic stand beside it; what other weights had is of no more use
    others = [one for one in kept if one.protocol != probe.protocol and one.protocol.weights == probe.protocol.weights]
    work = _Job(found, sets, asked, device)
    for more in work.done(probe, layers, times, said):
        probe = more
        write_probes(path, [*others, probe])
    return probe.at(layers, times)


def probe_results(folder: Path, asked: Asked, said: Said = lambda done, of: None) -> Iterator[tuple[str, Probe]]:
    """Probe each finished cell of a results folder that has a checkpoint, one after another; gives their identities.

    Raises:
        ResultsError: there is none.
        ModelError, DataError: as `probe_checkpoint`; what can be known to fail of any fails before the first is probed.
    """
    _check(asked)
    _device(asked.device)
    results = Results(folder)
    cells = [cell for cell in _finished(results) if (results.cell(cell.id) / "checkpoint.safetensors").is_file()]
    if not cells:
        raise ResultsError(f"{folder} has no finished cell with a checkpoint: run its suite first")
    for cell in cells:
        if registry.class_count(asked.data or cell.data) is None:
            raise _without_labels(asked.data or cell.data)
        _check_layers(f"cell {cell.id}", asked.layers, _depth(cell))
        read_probes(results.cell(cell.id) / PROBES)
    splits = _Splits()
    for done, cell in enumerate(cells):

        def say(part: int, of: int, done: int = done) -> None:
            said(done * of + part, len(cells) * of)

        yield cell.id, _probed(results.cell(cell.id) / "checkpoint.safetensors", asked, say, splits)


# ---- what is asked


def _check(asked: Asked) -> None:
    for time in asked.times:
        if not 0 < time < 1:
            raise ModelError(f"--times: {time:g} is not between 0, which is noise, and 1, which is the image")


def _check_layers(who: str, layers: Sequence[int], depth: int) -> None:
    for layer in layers:
        if not 0 <= layer < depth:
            raise ModelError(f"{who} has no layer {layer}: its layers are 0 to {depth - 1}")


def _depth(cell: Cell) -> int:
    """How many layers a cell's model has, without building it."""
    model = cell.model
    asked = {**model.dimensions, **model.options}
    return resolved(f"{model.family}-{model.size}/{model.patch}", asked).dimensions.depth


def _times(learner: Learner, asked: Sequence[float]) -> tuple[float, ...]:
    if len(learner.times) > 1:
        return tuple(asked) or TIMES
    if asked:
        raise ModelError(f"a model of the task {learner.task} is shown images without noise: leave --times out")
    return (1.0,)


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError):
        raise ModelError(f"--device {name}: there is no such device here; take cpu, or cuda:0 and so on") from None
    return device


def _finished(results: Results) -> Iterator[Cell]:
    for identity in results.plan():
        record, cell = results.record(identity), results.config(identity)
        if cell is not None and record is not None and record["status"] == "done":
            yield cell


def _cell_of(checkpoint: Path) -> Cell | None:
    try:
        return read_config(checkpoint.absolute().parent)
    except FileNotFoundError:
        return None


def _data_of(checkpoint: Path, cell: Cell | None, given: DataConfig | None) -> DataConfig:
    if given is not None:
        return given
    if cell is None:
        raise ResultsError(
            f"there is no config.yaml beside {checkpoint}, which says what it was trained on: name the images with "
            "--data"
        )
    return cell.data


# ---- the images


class _Splits:
    """Both splits of the set that was asked for last: most cells of a folder are of one, which is read through once."""

    def __init__(self) -> None:
        self._last: tuple[DataConfig, ImageSet, ImageSet] | None = None

    def of(self, data: DataConfig, checkpoint: Path) -> tuple[ImageSet, ImageSet]:
        """Training and held-out images, which have labels and are what `checkpoint` was trained on, if it was.

        Raises:
            DataError: they are not there, have none, or are others by now.
        """
        if self._last is None or self._last[0] != data:
            if registry.class_count(data) is None:
                raise _without_labels(data)
            if data.content is not None and (now := registry.content(data)) != data.content:
                raise DataError(
                    f"the images in {data.path or data.name} changed since {checkpoint} was trained (content "
                    f"{data.content[:8]} then, {str(now)[:8]} now): put them back, or name others with --data"
                )
            self._last = data, registry.load(data, "train"), registry.load(data, "validation")
        return self._last[1:]


@dataclass(frozen=True)
class _Sets:
    """Two splits with their labels, as many images of each as are used."""

    training: Rows
    labels: NDArray[np.int64]
    held_out: Rows
    held_out_labels: NDArray[np.int64]
    checksums: tuple[str, str]

    @staticmethod
    def fitting(data: DataConfig, found: Checkpoint, most: int, splits: tuple[ImageSet, ImageSet]) -> _Sets:
        """The first so many training images, and the held-out ones.

        Raises:
            DataError: the model takes others, or they are too few, or of too few classes.
        """
        training, held_out = splits
        images, shape = training.seen.shape[1:], (found.model.in_channels, *found.model.sides)
        if tuple(images) != shape:
            raise DataError(
                f"data set '{data.name}' has images of {_sides(images)}, and the model takes {_sides(shape)}: name a "
                "set of those, or give --resolution"
            )
        for one, least in ((training, 4), (held_out, 1)):
            if one.labels is None:
                raise _without_labels(data)
            if len(one) < least:
                raise DataError(
                    f"data set '{data.name}' has {len(one)} images in its {one.split} split, which are too few to "
                    f"probe: it takes {least} at least"
                )
        labels, held_out_labels = _labels(training, most), _labels(held_out, HELD_OUT)
        classes, counts = np.unique(labels, return_counts=True)
        if len(classes) < 2:
            raise DataError(
                f"the {len(labels)} training images of '{data.name}' are of one class: there is nothing to tell apart; "
                "name another set, or take more with --images"
            )
        if counts.max() < 2:
            raise DataError(
                f"the {len(labels)} training images of '{data.name}' are each of another class: a probe takes two of "
                "one at least; name another set, or take more with --images"
            )
        return _Sets(
            _First(training.seen, len(labels)), labels, _First(held_out.seen, len(held_out_labels)), held_out_labels,
            (training.checksum, held_out.checksum),
        )  # fmt: skip

    def judged(self, training: NDArray[np.float32], held_out: NDArray[np.float32]) -> ProbeScores:
        """Both classifiers of features of the two splits."""
        asked = (training, self.labels, held_out, self.held_out_labels)
        probed = linear_probe(*asked)
        return ProbeScores(
            linear=_counted(probed.held_out), tuning=_counted(probed.tuning), penalty=probed.penalty,
            converged=probed.converged, neighbours=_counted(neighbours_vote(*asked)),
        )  # fmt: skip


class _First:
    """The first rows of others: see `Rows`."""

    def __init__(self, rows: Rows, count: int) -> None:
        self._rows, self.shape = rows, (count, *rows.shape[1:])
        self.dtype, self.ndim = rows.dtype, rows.ndim

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice) -> NDArray[np.generic]:
        part: NDArray[np.generic] = self._rows[slice(*index.indices(len(self)))]
        return part


def _labels(images: ImageSet, most: int) -> NDArray[np.int64]:
    assert images.labels is not None
    return np.asarray(images.labels[:most], np.int64)


def _without_labels(data: DataConfig) -> DataError:
    where = f" in {data.path}" if data.path else ""
    return DataError(
        f"data set '{data.name}'{where} has no labels, so there is nothing to probe for: name another with --data"
    )


def _sides(shape: Sequence[int]) -> str:
    return f"{shape[0]} channels of {' x '.join(map(str, shape[1:]))} px"


def _counted(share: Share) -> Counted:
    return Counted(hits=share.hits, trials=share.trials)


# ---- the work


def _begun(found: Checkpoint, cell: Cell | None, data: DataConfig, sets: _Sets, asked: Asked, precision: str) -> Probe:
    """A probe of which nothing is found yet."""
    classes, counts = np.unique(sets.labels, return_counts=True)
    protocol = Protocol(
        revision=REVISION, weights=digest_of(found.model), training=sets.checksums[0], held_out=sets.checksums[1],
        training_images=len(sets.labels), held_out_images=len(sets.held_out_labels), precision=precision,
        seed=asked.seed, initial_seed=asked.seed if cell is None else cell.train.seed,
    )  # fmt: skip
    largest = int((sets.held_out_labels == classes[counts.argmax()]).sum())
    return Probe(
        model=found.name, task=found.learner.task, data=f"{data.name}, {data.resolution} px",
        own_data=cell is not None and data == cell.data, protocol=protocol, classes=len(classes),
        unknown=int((~np.isin(sets.held_out_labels, classes)).sum()),
        largest=Counted(hits=largest, trials=len(sets.held_out_labels)),
        label_unknown=found.model.num_classes is not None and getattr(found.learner, "label_dropout", None) == 0,
    )  # fmt: skip


@dataclass(frozen=True)
class _Job:
    """What is to be probed, where and how."""

    found: Checkpoint
    sets: _Sets
    asked: Asked
    device: torch.device

    def done(self, probe: Probe, layers: Sequence[int], times: Sequence[float], said: Said) -> Iterator[Probe]:
        """The probe with more and more of what is missing; at least once, if only to say that nothing is."""
        held = {which: {(one.layer, one.time) for one in getattr(probe, which)} for which in ("trained", "initial")}
        missing = [
            (which, time, [layer for layer in layers if (layer, time) not in held[which]])
            for time in times
            for which in ("trained", "initial")
        ]
        total = 1 + len(layers) * len(times) * 2
        left = sum(len(of) for _, _, of in missing) + (probe.pixels is None)
        if not left:
            said(total, total)
            return
        said(total - left, total)
        if probe.pixels is None:
            features = (pixel_features(self.found.learner, rows) for rows in (self.sets.training, self.sets.held_out))
            probe = probe.model_copy(update={"pixels": self.sets.judged(*features)})
            left -= 1
            said(total - left, total)
            yield probe
        models = {"trained": self.found.model, "initial": self._initial(probe.protocol.initial_seed)}
        for which, time, wanted in missing:
            if not wanted:
                continue
            for place in self._places(models[which], wanted, time, probe.protocol.precision):
                places = sorted([*getattr(probe, which), place], key=lambda one: (one.time, one.layer))
                probe = probe.model_copy(update={which: tuple(places)})
                left -= 1
                said(total - left, total)
            yield probe

    def _initial(self, seed: int) -> Backbone:
        """The model as it was before training, as a cell makes it."""
        torch.manual_seed(seed)
        return create_model(self.found.name, **self.found.build).eval().requires_grad_(False)

    def _places(self, model: Backbone, layers: Sequence[int], time: float, precision: str) -> Iterator[ProbedPlace]:
        """What layers know at a time; features of as many as fit into memory are made in one pass."""
        model.to(self.device)
        width = model.pos_embed.shape[-1]
        at_once = max(1, FEATURES // (4 * width * (len(self.sets.training) + len(self.sets.held_out))))
        before: tuple[NDArray[np.float32], NDArray[np.float32], ProbeScores] | None = None
        for begin in range(0, len(layers), at_once):
            part = layers[begin : begin + at_once]
            with cast_once(model, precision, self.device):
                both = [
                    block_features(
                        model, self.found.learner, rows, layers=part, share=time, seed=self.asked.seed, split=split,
                        batch_size=self.asked.batch_size,
                    )
                    for split, rows in enumerate((self.sets.training, self.sets.held_out))
                ]  # fmt: skip
            for layer, training, held_out in zip(part, *both, strict=True):
                # blocks whose gates are closed, as adaLN-zero's are before training, pass tokens through
                if before is not None and np.array_equal(before[0], training) and np.array_equal(before[1], held_out):
                    judged = before[2]
                else:
                    judged = self.sets.judged(training, held_out)
                before = training, held_out, judged
                yield ProbedPlace(**judged.model_dump(), layer=layer, time=time)
        model.cpu()
