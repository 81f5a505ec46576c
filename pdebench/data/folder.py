"""`folder`: a user's own images, of any size and kind that Pillow reads.

Sub-folders with images are classes; images directly in the folder make a set without classes. Each image is
turned upright, laid on white, cropped to its centred square and resized with antialiasing. A hash of its
file's bytes decides whether it trains or validates. A file that cannot be decoded is left out with a
warning.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pdebench.data import pixels
from pdebench.data.cache import cached
from pdebench.data.source import SPLITS, DataConfig, ImageSet, Sample, Skipped, Source, Split
from pdebench.data.split import VALIDATION_SHARE, split_of
from pdebench.errors import DataError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
_RECIPE = "folder-1"
_NAMED = 5  # broken files named in the warning; all of them are in the cache's description


@dataclass(frozen=True)
class Listing:
    """Image files under a folder in a fixed order, the class of each (-1: none), and the classes' names."""

    root: Path
    files: tuple[Path, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...] | None

    def digest(self) -> str:
        """sha256 (hex) over names, sizes and times of change: another listing, another cache entry."""
        digest = hashlib.sha256(json.dumps([_RECIPE, str(self.root)]).encode())
        for file in self.files:
            about = file.stat()
            digest.update(json.dumps([str(file.relative_to(self.root)), about.st_size, about.st_mtime_ns]).encode())
        return digest.hexdigest()


class FolderSource(Source):
    """A folder of images, with its sub-folders as classes, at any resolution."""

    name = "folder"
    summary = "your own images: data.path is a folder, its sub-folders are classes"
    resolutions = None

    def check(self, config: DataConfig) -> None:
        """Raise DataError for a path without images, or with too few for both splits."""
        self.check_resolution(config)
        listing = list_images(config.path)
        splits = _splits_seen(listing)
        if not splits:
            raise DataError(f"data.path: none of the {len(listing.files)} files in {listing.root} is an image")
        for split in SPLITS:
            if split not in splits:
                raise _empty(split, listing.root, len(listing.files))

    def class_count(self, config: DataConfig) -> int | None:
        """Number of sub-folders with images; None when the images lie in the folder itself."""
        names = list_images(config.path).class_names
        return None if names is None else len(names)

    def load(self, config: DataConfig, split: Split) -> ImageSet:
        """Return one split; warns, once a text, of files left out and of images that had to be enlarged."""
        listing = list_images(config.path)
        entry = cached(
            self.name, config.resolution, listing.digest(), split, lambda: _decode(listing, config.resolution)
        )
        broken = len(entry.skipped)
        if broken:
            named = "; ".join(f"{item.name} ({item.reason})" for item in entry.skipped[:_NAMED])
            more = f"; and {broken - _NAMED} more" if broken > _NAMED else ""
            _warn(f"{broken} of {broken + entry.decoded} images in {listing.root} are left out: {named}{more}")
        if not entry.decoded:
            raise DataError(
                f"data.path: none of the {broken} images in {listing.root} can be decoded, "
                f"the first being {entry.skipped[0].name} ({entry.skipped[0].reason})"
            )
        if not len(entry.images):
            raise _empty(split, listing.root, entry.decoded)
        if entry.enlarged:
            _warn(
                f"{entry.enlarged} of {entry.decoded} images in {listing.root} are smaller than "
                f"{config.resolution} px and were enlarged: remove them or lower data.resolution"
            )
        return ImageSet(
            entry.images,
            entry.labels if listing.class_names is not None else None,
            listing.class_names,
            self.name,
            config.resolution,
            split,
            entry.checksum,
            broken,
        )


def list_images(path: Path | None) -> Listing:
    """Find the images under `path`; DataError when there is no such folder or nothing usable in it."""
    if path is None:
        raise DataError("data set 'folder' needs data.path, the folder that holds your images")
    root = Path(path).expanduser()
    if not root.exists():
        raise DataError(f"data.path: there is no folder {root}")
    if not root.is_dir():
        raise DataError(f"data.path: {root} is a file, not a folder of images")
    root = root.resolve()
    try:
        loose = [entry for entry in _entries(root) if _is_image(entry)]
        classes = {entry.name: list(_walk(entry, {_identity(root)})) for entry in _entries(root) if entry.is_dir()}
    except OSError as error:
        raise DataError(f"data.path: {error.filename} cannot be read: {error.strerror}") from error
    classes = {name: files for name, files in classes.items() if files}
    if loose and classes:
        raise DataError(
            f"data.path: {root} has images beside sub-folders with images ({loose[0].name}, "
            f"{next(iter(classes))}/): move them into a sub-folder, which makes them a class, or out of it"
        )
    if not loose and not classes:
        raise DataError(f"data.path: no images in {root}; looked for {', '.join(sorted(SUFFIXES))}")
    if loose:
        return Listing(root, tuple(loose), (-1,) * len(loose), None)
    files = tuple(file for found in classes.values() for file in found)
    labels = tuple(label for label, found in enumerate(classes.values()) for _ in found)
    return Listing(root, files, labels, tuple(classes))


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, sorted, without hidden names and what archives leave behind."""
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith((".", "__MACOSX"))]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def _identity(folder: Path) -> tuple[int, int]:
    about = folder.stat()
    return about.st_dev, about.st_ino


def _walk(folder: Path, visited: set[tuple[int, int]]) -> Iterator[Path]:
    """Images at any depth, following links but entering no folder twice, so that a loop of links ends."""
    if _identity(folder) in visited:
        return
    visited.add(_identity(folder))
    for entry in _entries(folder):
        if entry.is_dir():
            yield from _walk(entry, visited)
        elif _is_image(entry):
            yield entry


def _splits_seen(listing: Listing) -> set[Split]:
    """Which splits have images, going by their headers; reads as many as it takes to see both, about ten."""
    seen: set[Split] = set()
    for file in listing.files:
        data = _read(file)
        if data is not None and pixels.has_image_header(data):
            seen.add(split_of(data))
        if len(seen) == len(SPLITS):
            break
    return seen


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def _decode(listing: Listing, resolution: int) -> Iterator[Sample | Skipped]:
    # By content: classes are mixed, and the order survives a renaming.
    order = sorted(
        range(len(listing.files)),
        key=lambda number: hashlib.sha256(_read(listing.files[number]) or b"").digest(),
    )
    for number in order:
        name = str(listing.files[number].relative_to(listing.root))
        if (data := _read(listing.files[number])) is None:
            yield Skipped(name, "the file cannot be read")
            continue
        try:
            image = pixels.decode(data)
        except Exception as error:  # Pillow's decoders raise nearly anything on a damaged file
            yield Skipped(name, pixels.reason(error))
            continue
        small = min(image.size) < resolution
        yield Sample(split_of(data), pixels.centre_crop(image, resolution), listing.labels[number], small)


def _empty(split: Split, root: Path, images: int) -> DataError:
    return DataError(
        f"data.path: the {split} split of {root} is empty ({images} image{'s' * (images != 1)} in all): "
        f"add images; a hash of each file sends about {VALIDATION_SHARE:.0%} of them to validation"
    )


def _warn(message: str) -> None:
    warnings.warn(message, UserWarning, stacklevel=3)
