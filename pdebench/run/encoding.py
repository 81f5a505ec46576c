"""A set of images encoded once, by an autoencoder on one or several devices, into a packed set of latents."""

from __future__ import annotations

import hashlib
import json
import queue
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pdebench.data import registry
from pdebench.data.packed.images import refuse_maps
from pdebench.data.packed.index import FORMAT, Index, PartFiles, SpaceFound, read_part, write_index
from pdebench.data.packed.samples import samples
from pdebench.data.packed.writer import PartWriter, Said, prepared, rows_of_a_part
from pdebench.data.source import SPLITS, ImageSet, Sample, Skipped, SourceConfig, Split
from pdebench.errors import CellWarning, DataError, out_of_memory, refused_by_system
from pdebench.models.autoencoder import Autoencoder, load

FIRST_BATCH = {"cuda": 64, "cpu": 8}  # images at a time; halved where memory runs out


@dataclass
class _Encoder:
    """An autoencoder on its device, and how many images it takes at once."""

    network: Autoencoder
    batch: int

    def rows(self, pixels: torch.Tensor) -> np.ndarray:
        """Encode any number of images, in batches that fit."""
        found: list[torch.Tensor] = []
        begin = 0
        while begin < len(pixels):
            try:
                found.append(self.network.encode(pixels[begin : begin + self.batch]))
            except RuntimeError as error:
                if not out_of_memory(error) or self.batch == 1:
                    raise
                self.batch //= 2
                torch.cuda.empty_cache()
                continue
            begin += self.batch
        return torch.cat(found).numpy()


def encode(
    config: SourceConfig, out: Path, autoencoder: str, *,
    devices: Sequence[torch.device], flip: bool, precision: str, download: bool, said: Said,
) -> Index:  # fmt: skip
    """Encode a set of images at its resolution; what an interrupted call has done is not done again.

    Args:
        config: which set, and the side of the images.
        out: the folder that is made, or gone on with.
        autoencoder: a folder, or a name on the hub.
        devices: what encodes, each with weights of its own.
        flip: encode the mirrored images, too.
        precision: `fp16` or `fp32`, of what is kept.
        download: fetch the autoencoder where it is not there.
        said: told of progress.

    Returns:
        The index, which is written.

    Raises:
        DataError: the set cannot be read, or the folder not be written, or something else lies there.
        ModelError: the autoencoder cannot be loaded, or does not take these images.
    """
    registry.check(config)
    refuse_maps(registry.SOURCES[config.name], config)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CellWarning)
        sets = {split: registry.load(config, split) for split in SPLITS}
    images = sets["train"].images
    if sets["train"].space is not None or images.shape[1] != 3 or images.dtype != np.uint8:
        raise DataError(f"data set '{config.name}' has no RGB images of 8 bits, which an autoencoder takes")
    if images.ndim != 4:
        raise DataError(f"data set '{config.name}' has clips, and an autoencoder of images takes none: train on pixels")
    encoders = [
        _Encoder(load(autoencoder, device, download=download), FIRST_BATCH.get(device.type, 8)) for device in devices
    ]
    probe = encoders[0].rows(torch.from_numpy(np.array(images[:1])))
    shape, kind = probe.shape[1:], "<f2" if precision == "fp16" else "<f4"
    size = rows_of_a_part((*shape, 1 + flip), np.dtype(kind).itemsize)
    network = encoders[0].network
    about = [FORMAT, [one.checksum for one in sets.values()], network.sha256, list(shape), kind, flip]
    of = hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]
    spans = [(split, begin) for split in SPLITS for begin in range(0, len(sets[split]), size)]
    missing = prepared(out, of, len(spans))
    idle: queue.SimpleQueue[_Encoder] = queue.SimpleQueue()
    for one in encoders:
        idle.put(one)

    def make(number: int) -> None:
        encoder, (split, begin) = idle.get(), spans[number]
        try:
            with PartWriter(PartFiles(out, number), of, shape, kind, flip) as part:
                _encoded(encoder, sets[split], split, range(begin, min(begin + size, len(sets[split]))), part)
        finally:
            idle.put(encoder)

    try:
        with ThreadPoolExecutor(len(encoders)) as pool:
            try:
                for done, _ in enumerate(pool.map(make, missing), len(spans) - len(missing) + 1):
                    said(done, len(spans))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        parts = [read_part(PartFiles(out, number), of) for number in range(len(spans))]
        if None in parts:
            raise DataError(f"{out} was changed while it was written: run the same command again")
        space, names = network.space, sets["train"].class_names
        index = Index(
            format=FORMAT, of=of, made_from=f"data set '{config.name}', by {autoencoder}",
            class_names=None if names is None else list(names), shape=shape, dtype=kind, mirrored=flip,
            space=SpaceFound(
                shift=space.shift, scale=space.scale, spread=space.spread, autoencoder=_lasting(autoencoder),
                autoencoder_sha256=network.sha256,
            ),
            parts=[part for part in parts if part is not None],
            remarks=list(dict.fromkeys(str(one.message) for one in caught)),
            left_out=sets["train"].skipped,
        )  # fmt: skip
        write_index(out, index)
    except OSError as error:
        raise DataError(f"cannot write to {out}: {refused_by_system(error) or error}") from error
    return index


def _encoded(encoder: _Encoder, images: ImageSet, split: Split, span: range, part: PartWriter) -> None:
    kept = np.dtype(part.kind)
    largest = float(np.finfo(kept).max)
    for begin in range(span.start, span.stop, at_once := 64):
        found = list(samples(images, begin, min(begin + at_once, span.stop)))
        for one in found:
            if isinstance(one, Skipped):
                part.add(one)
        sound = [one for one in found if isinstance(one, Sample)]
        if not sound:
            continue
        pixels = torch.from_numpy(np.stack([one.pixels for one in sound]))
        turned = [pixels, pixels.flip(-1)][: 1 + part.mirrored]
        rows = [encoder.rows(one) for one in turned]
        if not all(np.isfinite(one).all() and np.abs(one).max() < largest for one in rows):
            raise DataError(
                f"the latents of images {begin} to {begin + len(found)} of the {split} split are not finite, or too "
                "large to be kept: take --precision fp32, or another autoencoder"
            )
        for at, sample in enumerate(sound):
            part.append(split, sample.label, *(one[at].astype(kept) for one in rows))


def _lasting(autoencoder: str) -> str:
    """A folder by its whole path, since the set is used from elsewhere; a hub's name as it is."""
    folder = Path(autoencoder).expanduser()
    return str(folder.absolute()) if folder.is_dir() else autoencoder
