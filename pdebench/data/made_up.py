"""A made-up data set of a few images, so that a suite can be tried from end to end where its data are not.

Images are blurred noise, in two classes and two splits; latents are noise of unit variance. Both are packed, as
`pdebench data` packs the real ones. Nothing can be learned from them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pdebench.data.packed.index import FORMAT, Index, Part, PartFiles, SpaceFound, read_part, write_index
from pdebench.data.packed.writer import PartWriter, prepared
from pdebench.data.source import SPLITS, Split

COUNTS: dict[Split, int] = {"train": 32, "validation": 8}
CLASSES = 2


def make_up(
    folder: Path, side: int, channels: int, frames: int | None = None, *, latents: bool, labelled: bool = True
) -> None:
    """Write a packed set of `channels` x `side` x `side`, or leave the one that is there; with `frames` of clips.

    Raises:
        DataError: something else lies there.
        OSError: it cannot be written.
    """
    import numpy as np

    kind = "<f4" if latents else "|u1"
    shape: tuple[int, ...] = (channels, side, side) if frames is None else (channels, frames, side, side)
    of = hashlib.sha256(repr(("made up", FORMAT, shape, kind, labelled)).encode()).hexdigest()[:32]
    random = np.random.default_rng([side, channels])
    coarse_shape = (*shape[:-2], 4, 4)
    if prepared(folder, of, 1):
        with PartWriter(PartFiles(folder, 0), of, shape, kind) as part:
            for split in SPLITS:
                for number in range(COUNTS[split]):
                    label = number % CLASSES
                    rows = random.standard_normal(shape, np.float32)
                    if not latents:
                        coarse = random.integers(0, 256, coarse_shape).repeat(-(-side // 4), -2)
                        rows = coarse.repeat(-(-side // 4), -1)[..., :side, :side].astype(np.uint8)
                    part.append(split, label if labelled else -1, rows)
    made: Part | None = read_part(PartFiles(folder, 0), of)
    assert made is not None
    space = SpaceFound(shift=(0.0,), scale=(1.0,), spread=None, autoencoder="", autoencoder_sha256="")
    names = [str(label) for label in range(CLASSES)] if labelled else None
    index = Index(
        format=FORMAT, of=of, made_from="nothing", class_names=names, shape=shape,  # type: ignore[arg-type]  # of 3 or 4
        dtype=kind, mirrored=False, space=space if latents else None, parts=[made], remarks=["its images are made up"],
    )  # fmt: skip
    write_index(folder, index)
