"""`packed`: what `pdebench data pack` and `encode` made, read at random from the disk and never held in memory."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path

from pdebench.data.arrays import header
from pdebench.data.digests import file_digests, of_autoencoder
from pdebench.data.list_phrases import by_reason
from pdebench.data.nouns import plural
from pdebench.data.packed.index import Index, PartFiles, read_index
from pdebench.data.rows import Extent, FileRows
from pdebench.data.source import SPLITS, ClassSizes, ImageSet, Source, SourceConfig, Split
from pdebench.data.space import Space
from pdebench.data.unit_variance import refuse_odd
from pdebench.errors import CellWarning, DataError
from pdebench.files.disk import expanded


class PackedSource(Source):
    """A folder that `pdebench data` packed."""

    name = "packed"
    brought = "packed images or latents"
    summary = "what `pdebench data pack` or `encode` made: decoded once, read from the disk, never held in memory"
    takes = ("path", "channels", "autoencoder", "scale", "shift", "frames")

    def check(self, config: SourceConfig) -> None:
        """Raise DataError where there is no packed set, or one of another side or without a split."""
        self.check_resolution(config)
        folder, index = _opened(config)
        height, width = index.shape[-2:]
        if (height, width) != (config.resolution, config.resolution):
            made = f"{height} px" if height == width else f"{height} x {width} px"
            raise DataError(
                f"data.resolution is {config.resolution}, and {folder} was packed at {made}: set it to that"
            )
        _refuse_other_frames(config, folder, index)
        if index.space is None and (given := _given(config)):
            raise DataError(f"data.{given}: {folder} holds images, not latents: leave it out")
        if index.space is not None and config.flip and not index.mirrored:
            raise DataError(
                f"data.flip: {folder} has no latents of mirrored images, and a mirrored latent is none of a mirrored "
                "image: set data.flip: false, or encode the images again with --flip"
            )
        if config.channels not in (None, _channels(index)):
            raise DataError(f"data.channels is {config.channels}, and {folder} has {_channels(index)}")
        space_of(index, config)
        for split in SPLITS:
            if not any(len(part.splits[split].labels) for part in index.parts if split in part.splits):
                raise DataError(f"data.path: the {split} split of {folder} is empty: pack it again with more images")

    def class_count(self, config: SourceConfig) -> int | None:
        """Number of classes; None for a set without."""
        folder, index = _opened(config)
        _refuse_other_frames(config, folder, index)
        names = index.class_names
        return None if names is None else len(names)

    def offered(self, config: SourceConfig) -> tuple[int, ...]:
        """That at which it was packed."""
        return (config.resolution,)

    def class_sizes(self, config: SourceConfig) -> ClassSizes | None:
        """As the index has them."""
        index = _opened(config)[1]
        if (names := index.class_names) is None:
            return None
        sizes: Counter[tuple[str, Split | None]] = Counter()
        for part in index.parts:
            for split, one in part.splits.items():
                sizes.update((names[label], split) for label in one.labels)
        return sizes

    def channels_of(self, config: SourceConfig) -> int:
        """Those of the images, or of a latent."""
        return _channels(_opened(config)[1]) if config.channels is None else config.channels

    def drawable(self, config: SourceConfig) -> bool:
        """Whether what models make of it can be looked at as RGB."""
        index = _opened(config)[1]
        return index.space is not None or (index.dtype == "|u1" and index.shape[0] == 3)

    def content(self, config: SourceConfig) -> str:
        """A digest of every file, of the labels and of the space. PartFiles that are not touched are not read again."""
        folder, index = _opened(config)
        found = hashlib.sha256(repr((index.shape, index.dtype, index.class_names)).encode())
        if (space := space_of(index, config)) is not None and index.space is not None:
            own = index.space.autoencoder_sha256 if config.autoencoder is None else of_autoencoder(config.autoencoder)
            found.update(repr((replace(space, autoencoder=None), own)).encode())
        _verify(folder, index)
        for part in index.parts:
            for split in SPLITS:
                if (one := part.splits.get(split)) is not None:
                    found.update(f"{split} {one.sha256} {one.mirrored_sha256} {one.labels}\n".encode())
        return found.hexdigest()[:32]

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split; warns, once a text, of what was left out or is not as its owner may think."""
        import numpy as np

        folder, index = _opened(config)
        for remark in (*_of_skipped(index), *index.remarks):
            warnings.warn(remark, CellWarning, stacklevel=2)
        parts = [
            (PartFiles(folder, n), part.splits[split]) for n, part in enumerate(index.parts) if split in part.splits
        ]
        labels = np.fromiter(chain.from_iterable(part.labels for _, part in parts), np.int64)

        def rows(*, mirrored: bool) -> FileRows:
            extents = []
            for files, part in parts:
                begin = len(header(index.dtype, (len(part.labels), *index.shape)))
                extents.append(Extent(files.rows(split, mirrored=mirrored), begin, len(part.labels)))
            return FileRows(extents, index.shape, index.dtype)

        images, space, names = rows(mirrored=False), space_of(index, config), index.class_names
        if space is not None:
            refuse_odd(images, space, folder, "packed latents")
        checksum = hashlib.sha256(repr((index.shape, index.dtype)).encode())
        for _, part in parts:
            checksum.update(f"{part.sha256} {part.mirrored_sha256} {part.labels}\n".encode())
        return ImageSet(
            images,
            labels if names is not None else None,
            None if names is None else tuple(names),
            self.name,
            config.resolution,
            split,
            checksum.hexdigest(),
            index.skipped,
            rows(mirrored=True) if index.mirrored else None,
            space,
        )


def _refuse_other_frames(config: SourceConfig, folder: Path, index: Index) -> None:
    if index.frames != config.frames:
        holds = "images" if index.frames is None else f"clips of {index.frames} frames"
        do = "leave it out" if index.frames is None else f"set it to {index.frames}"
        raise DataError(f"data.frames is {config.frames or 'not given'}, and {folder} holds {holds}: {do}")


def space_of(index: Index, config: SourceConfig) -> Space | None:
    """The space of latents, as the index has it or as it is given; None for images.

    Raises:
        DataError: numbers are given for another number of channels.
    """
    if (found := index.space) is None:
        return None
    channels = _channels(index)
    for key in ("scale", "shift"):
        if (given := getattr(config, key)) is not None and len(given) not in (1, channels):
            raise DataError(
                f"data.{key} has {len(given)} numbers, and the latents {channels} channels: give one or all"
            )
    return Space(
        config.shift or found.shift,
        config.scale or found.scale,
        found.spread,  # type: ignore[arg-type]  # one of the two, by its pattern
        config.autoencoder or found.autoencoder or None,  # of made-up latents there is none
    )


def _channels(index: Index) -> int:
    """Of what a model sees."""
    spread = index.space is not None and index.space.spread is not None
    return index.shape[0] // 2 if spread else index.shape[0]


def _opened(config: SourceConfig) -> tuple[Path, Index]:
    if config.path in (None, Path()):
        raise DataError("data set 'packed' needs data.path, the folder that `pdebench data pack` made")
    folder = expanded(config.path)  # type: ignore[arg-type]
    if not folder.is_dir():
        raise DataError(f"data.path: there is no folder {folder}; a relative path begins at its suite's file")
    return folder, read_index(folder)


def _given(config: SourceConfig) -> str | None:
    return next((key for key in ("autoencoder", "scale", "shift") if getattr(config, key)), None)


def _verify(folder: Path, index: Index) -> None:
    """See that every file holds what was packed.

    Raises:
        DataError: one does not.
    """
    expected: dict[Path, str] = {}
    for number, part in enumerate(index.parts):
        files = PartFiles(folder, number)
        for split, one in part.splits.items():
            expected[files.rows(split)] = one.sha256
            if one.mirrored_sha256 is not None:
                expected[files.rows(split, mirrored=True)] = one.mirrored_sha256
    for path, found in zip(expected, file_digests(list(expected)), strict=True):
        if found != expected[path]:
            raise DataError(
                f"data.path: {path} is not as it was packed: remove it, and run the same `pdebench data` command again"
            )


def _of_skipped(index: Index) -> list[str]:
    names: dict[str, list[str]] = {}
    for part in index.parts:
        for name, reason in part.skipped:
            names.setdefault(reason, []).append(name)
    left_out = sum(map(len, names.values()))
    said = (
        [
            f"{plural(left_out, 'image')} of {index.made_from} {'was' if left_out == 1 else 'were'} left "
            f"out: {by_reason(names)}"
        ]
        if left_out
        else []
    )
    if enlarged := sum(part.enlarged for part in index.parts):
        side = index.shape[-1]
        said.append(
            f"{plural(enlarged, 'image')} of {index.made_from} {'is' if enlarged == 1 else 'are'} "
            f"smaller than {side} px and {'was' if enlarged == 1 else 'were'} enlarged"
        )
    if paged := sum(part.paged for part in index.parts):
        said.append(
            f"{plural(paged, 'image')} of {index.made_from} {'has' if paged == 1 else 'have'} several "
            "pages, of which the first is used"
        )
    return said
