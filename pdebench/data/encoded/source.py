"""`encoded`: latents that an autoencoder made, as published code bases keep them.

Which layout lies at `data.path` is found out; see the modules beside this one. Rows are read when they are asked for,
so a set may be larger than memory. What a set is, is what its files are called and hold, with the space in which a
model sees it: the same latents under another scale are another set.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from pdebench.data.digests import of_autoencoder
from pdebench.data.encoded.layout import Latents
from pdebench.data.encoded.parts import ORDER, Parts, parts_of, rows_of, see_both
from pdebench.data.encoded.scaling import check_given, space_of
from pdebench.data.list_phrases import by_reason
from pdebench.data.rows import Subset
from pdebench.data.source import ImageSet, Source, SourceConfig, Split
from pdebench.data.space import Space
from pdebench.data.split import RECIPE as SPLIT_RECIPE
from pdebench.data.unit_variance import refuse_odd
from pdebench.errors import CellWarning, DataError

_RECIPE = "encoded-1"


class EncodedSource(Source):
    """Latents in files, of any number of channels and any side."""

    name = "encoded"
    brought = "latents"
    summary = (
        "latents that an autoencoder made, as LightningDiT, EDM2, REPA or fast-DiT keep them: data.path is their folder"
    )
    resolutions = None
    channels = 4
    takes = ("path", "validation", "channels", "autoencoder", "scale", "shift")
    dtype: Literal["uint8", "float32"] = "float32"

    def check(self, config: SourceConfig) -> None:
        """Raise DataError for a path without latents, or whose latents are of another shape than is asked for."""
        self.check_resolution(config)
        parts = parts_of(config)
        for latents in parts.all():
            _check_shape(config, latents)
        check_given(config, parts.train)
        if config.flip and parts.train.mirrored is None:
            raise DataError(
                f"data.flip: {parts.train.layout} have no latents of mirrored images, and a mirrored latent is none "
                "of a "
                "mirrored image: set data.flip: false"
            )
        see_both(parts)

    def class_count(self, config: SourceConfig) -> int | None:
        """One more than the largest label; None for latents without."""
        return _class_count(parts_of(config))

    def offered(self, config: SourceConfig) -> tuple[int, ...]:
        """That of the latents."""
        return (config.resolution,)

    def channels_of(self, config: SourceConfig) -> int:
        """Of a latent, as the suite says, or its files."""
        return config.channels or parts_of(config).train.channels

    def content(self, config: SourceConfig) -> str:
        """A digest of the files with their names, of the space and of the autoencoder, read afresh."""
        parts = parts_of(config, afresh=True)
        return _content(parts, space_of(config, parts.train)[0])

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split; warns of what was left out, and of what a set was taken for.

        Raises:
            DataError: its latents are not of about unit variance as a model would see them, or no numbers.
        """
        parts = parts_of(config, afresh=True)
        space, remark = space_of(config, parts.train)
        for said in _remarks(parts, remark):
            warnings.warn(said, CellWarning, stacklevel=2)
        latents, index = parts.of(split), rows_of(parts, split)
        images = Subset(latents.rows, index)
        refuse_odd(images, space, latents.root, latents.layout)
        count = _class_count(parts)
        return ImageSet(
            images,
            None if latents.labels is None else latents.labels[index],
            None if count is None else tuple(map(str, range(count))),
            self.name,
            config.resolution,
            split,
            hashlib.sha256(f"{_content(parts, space)} {split}".encode()).hexdigest(),
            sum(len(one.left_out) for one in parts.all()),
            None if latents.mirrored is None else Subset(latents.mirrored, index),
            space,
        )


def _check_shape(config: SourceConfig, latents: Latents) -> None:
    height, width = latents.rows.shape[2:]
    if height != width:
        raise DataError(f"data.path: the latents in {latents.root} have {height} x {width}, and only squares are taken")
    if config.resolution != height:
        raise DataError(
            f"data.resolution is {config.resolution}, but the latents in {latents.root} have {height} x {width}: set "
            "it to "
            f"{height}, the side of a latent"
        )
    if config.channels not in (None, latents.channels):
        raise DataError(
            f"data.channels is {config.channels}, but the latents in {latents.root} have {latents.channels}: leave it "
            "out"
        )


def _class_count(parts: Parts) -> int | None:
    labels = [one.labels for one in parts.all() if one.labels is not None]
    return 1 + max(int(one.max()) for one in labels) if labels else None


def _remarks(parts: Parts, space: str) -> Iterator[str]:
    if space:
        yield f"{parts.train.root}: {space}"
    for latents in parts.all():
        yield from (f"{latents.root}: {remark}" for remark in latents.remarks)
        if left_out := latents.left_out:
            names: dict[str, list[str]] = {}
            for one in left_out:
                names.setdefault(one.reason, []).append(one.name)
            there = len(left_out) + len(latents.members)
            yield f"{len(left_out):,} of {there:,} files in {latents.root} are left out: {by_reason(names)}"


# ---- content


def _content(parts: Parts, space: Space) -> str:
    about = [
        _RECIPE,
        SPLIT_RECIPE,
        ORDER.decode(),
        [(one.layout, one.digest()) for one in parts.all()],
        vars(replace(space, autoencoder=None)),
        of_autoencoder(space.autoencoder),
    ]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32]
