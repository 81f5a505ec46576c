"""`masks`, `ade20k`, `cityscapes`: photographs with the class of every pixel in a mask beside them.

Both are cropped to the same centred square; the photograph is resized with antialiasing, the mask by its nearest pixel,
so that no class is ever blended with another. What the set is, is what its files hold: see `MasksSource.content`.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

from pdebench.data import pixels
from pdebench.data.cache import cached
from pdebench.data.digests import file_digests
from pdebench.data.left_out import warn_of
from pdebench.data.masks import classes, pairs, values
from pdebench.data.masks.pairs import Pair
from pdebench.data.source import IGNORED, ImageSet, Sample, Skipped, Source, SourceConfig, Split
from pdebench.data.split import RECIPE as SPLIT_RECIPE
from pdebench.data.split import split_of
from pdebench.errors import DataError, refused_by_system
from pdebench.files import disk

_RECIPE = "masks-1"
_LARGEST = 2**30  # bytes of a file
_LOOKED_AT = 256  # pairs whose headers are read before a run; all are read when they are decoded
NAMES = "classes.txt"


class PairedSource(Source):
    """Photographs and masks in two folders, at any resolution."""

    brought = "images and masks"
    resolutions = None

    @abstractmethod
    def pairs(self, config: SourceConfig) -> list[Pair]:
        """The pairs of the set.

        Raises:
            DataError: there are none, or files that are no pairs.
        """

    @abstractmethod
    def map_classes(self, config: SourceConfig) -> tuple[str, ...]:
        """The classes of pixels."""

    def check(self, config: SourceConfig) -> None:
        """Raise DataError for what is no pair; of the first few, for masks of other sizes or of colours."""
        self.check_resolution(config)
        self.map_classes(config)
        for pair in self.pairs(config)[:_LOOKED_AT]:
            image, mask = _header(pair.image), _header(pair.mask)
            if mask is not None and (said := values.channels_refused(str(pair.mask), mask.mode)):
                raise DataError(said)
            if image is not None and mask is not None:
                _refuse_other_size(pair, image.size, mask.size)

    def class_count(self, config: SourceConfig) -> int | None:
        """None: an image has no label."""
        return None

    def most_cached(self, config: SourceConfig) -> int:
        """Every pair."""
        return len(self.pairs(config))

    def content(self, config: SourceConfig) -> str:
        """A digest of every image's and mask's bytes with their split, and of the classes: names do not matter."""
        return _content_of(self._known(config), self.map_classes(config))

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split; warns of what was left out or enlarged.

        Raises:
            DataError: a mask is of another size, or has values that are no classes; or nothing is left.
        """
        names, known = self.map_classes(config), self._known(config)
        where = f"{config.path}"
        entry = cached(
            self.name, config.resolution, _content_of(known, names), split,
            lambda: _decode(known, config.resolution), len(known), maps=True,
        )  # fmt: skip
        warn_of(where, entry, config.resolution)
        if not len(entry.images):
            raise DataError(
                f"data.path: the {split} split of {where} is empty ({entry.decoded} images in all): add images, or put "
                "some into train/ and some into val/"
            )
        return ImageSet(
            entry.images, None, None, self.name, config.resolution, split, entry.checksum, len(entry.skipped),
            maps=entry.maps, map_names=names,
        )  # fmt: skip

    def _known(self, config: SourceConfig) -> list[tuple[str, str, Pair]]:
        """The pairs with the digests of their image and mask, in the order of those: fixed, and mixed."""
        found = self.pairs(config)
        digests = file_digests([path for pair in found for path in (pair.image, pair.mask)])
        return sorted(zip(digests[::2], digests[1::2], found, strict=True), key=lambda item: item[:2])


def _content_of(known: Sequence[tuple[str, str, Pair]], names: tuple[str, ...]) -> str:
    about = [_RECIPE, SPLIT_RECIPE, pixels.DECODE_RECIPE, names]
    held = sorted((image, mask, pair.split or "", pair.coding.classes) for image, mask, pair in known)
    return hashlib.sha256(json.dumps([about, held]).encode()).hexdigest()[:32]


def _header(path: Path) -> pixels.PictureHeader | None:
    try:
        with disk.open_plain(path, follow=True) as file:
            return pixels.header(file)
    except (OSError, disk.NotPlain) as error:
        raise DataError(f"cannot read {path}: {refused_by_system(error) or error}") from None


def _refuse_other_size(pair: Pair, image: tuple[int, int], mask: tuple[int, int]) -> None:
    if image != mask:
        sizes = [f"{width} x {height}" for width, height in (mask, image)]
        raise DataError(
            f"data.path: the mask {pair.mask} is {sizes[0]} px, and its image is {sizes[1]}: give them one size"
        )


def _decode(known: Sequence[tuple[str, str, Pair]], resolution: int) -> Iterator[Sample | Skipped]:
    for image_digest, mask_digest, pair in known:
        yield _decoded(pair, _read(pair.image, image_digest), _read(pair.mask, mask_digest), resolution)


def _read(path: Path, digest: str) -> bytes:
    data = disk.read_plain(path, _LARGEST, follow=True)
    if hashlib.sha256(data).hexdigest() != digest:
        raise DataError(f"data.path: {path} was changed while it was read: run again once nobody writes there")
    return data


def _decoded(pair: Pair, image_data: bytes, mask_data: bytes, resolution: int) -> Sample | Skipped:
    import numpy as np
    from PIL import Image

    try:
        image, pages = pixels.read(image_data)
    except pixels.Damaged as error:
        return Skipped(pair.name, str(error))
    try:
        mask = values.read_mask(mask_data, str(pair.mask), pair.coding)
    except pixels.Damaged as error:
        return Skipped(pair.name, f"its mask: {error}")
    _refuse_other_size(pair, image.size, mask.shape[::-1])
    box = pixels.centred_square(image.size)
    small = Image.fromarray(mask).crop(box).resize((resolution, resolution), Image.Resampling.NEAREST)
    classes_seen = np.asarray(small)
    if (classes_seen == IGNORED).all():
        return Skipped(pair.name, "every pixel of its mask is ignored")
    return Sample(
        pair.split or split_of(image_data),
        pixels.resize(image, resolution, box),
        enlarged=min(image.size) < resolution,
        paged=pages > 1,
        map=classes_seen,
    )


# ---- layouts


class MasksSource(PairedSource):
    """A user's own."""

    name = "masks"
    summary = "your own images and masks: data.path has images/ and masks/, PNGs whose values are classes"

    def pairs(self, config: SourceConfig) -> list[Pair]:
        """See `PairedSource`."""
        root = pairs.root_of(config.path, self.name)
        return pairs.side_by_side(root, values.plain(len(self.map_classes(config))))

    def map_classes(self, config: SourceConfig) -> tuple[str, ...]:
        """The lines of `classes.txt`, or as many as `data.classes` says.

        Raises:
            DataError: there is neither, or a file that names no classes.
        """
        root = pairs.root_of(config.path, self.name)
        if not (file := root / NAMES).exists():
            if not config.classes:
                raise DataError(
                    f"data set 'masks' needs the number of classes of pixels: set data.classes, or put {NAMES} with a "
                    f"name a line into {root}"
                )
            names = tuple(map(str, range(config.classes)))
        else:
            names = _names(file)
        if len(names) > values.MOST_CLASSES:
            raise DataError(
                f"data set 'masks' has {len(names)} classes of pixels, and a mask has room for {values.MOST_CLASSES}"
            )
        return names


def _names(file: Path) -> tuple[str, ...]:
    try:
        text = disk.read_plain(file, 2**20, follow=True).decode()
    except (OSError, disk.NotPlain, UnicodeDecodeError) as error:
        raise DataError(f"data.path: {file} cannot be read as the names of classes: {error}") from None
    names = tuple(line.strip() for line in text.strip().splitlines())
    if not names or "" in names or len(set(names)) < len(names):
        raise DataError(f"data.path: {file} must have a name a line, the class 0 first, none of them twice or empty")
    return names


class Ade20kSource(PairedSource):
    """ADE20K, as the benchmark SceneParsing has it."""

    name = "ade20k"
    summary = "ADE20K: data.path is ADEChallengeData2016, 150 classes of pixels"

    def pairs(self, config: SourceConfig) -> list[Pair]:
        """See `PairedSource`; 0 is what is ignored."""
        return pairs.side_by_side(pairs.root_of(config.path, self.name), values.from_one(len(classes.ADE20K)))

    def map_classes(self, config: SourceConfig) -> tuple[str, ...]:
        """The 150."""
        return classes.ADE20K


class CityscapesSource(PairedSource):
    """Cityscapes' finely annotated images."""

    name = "cityscapes"
    summary = "Cityscapes: data.path has leftImg8bit/ and gtFine/, 19 classes of pixels"

    def pairs(self, config: SourceConfig) -> list[Pair]:
        """See `PairedSource`; of ids those that are not evaluated are ignored."""
        ids = values.among_ids(tuple(classes.CITYSCAPES_IDS), classes.CITYSCAPES_LARGEST_ID)
        return pairs.cityscapes(pairs.root_of(config.path, self.name), ids, values.plain(len(classes.CITYSCAPES)))

    def map_classes(self, config: SourceConfig) -> tuple[str, ...]:
        """The 19."""
        return classes.CITYSCAPES
