"""`folder`: a user's own images, of any size and kind that Pillow reads.

Where files lie says their classes (see `layout.py`). Each image is turned upright, laid on white, cropped to its
centred square and resized with antialiasing. A hash of its bytes decides whether it trains or validates, unless
folders say that. What the set is, is what its files hold and not where they lie: see `FolderSource.content`.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from pdebench.data import pixels
from pdebench.data.cache import cached
from pdebench.data.layout import list_images
from pdebench.data.listing import File, Listing
from pdebench.data.nouns import plural
from pdebench.data.remarks import remarks
from pdebench.data.source import SPLITS, ClassSizes, ImageSet, Sample, Skipped, Source, SourceConfig, Split
from pdebench.data.split import RECIPE as SPLIT_RECIPE
from pdebench.data.split import VALIDATION_SHARE, split_of
from pdebench.data.threads import in_threads
from pdebench.errors import CellWarning, DataError
from pdebench.files.disk import NotPlain, open_plain

_RECIPE = "folder-2"
_SETTLED = 2.0  # seconds after which a file that was written again has another time of change


class Known(NamedTuple):
    """An image of a listing: its file, what it is called there, and the sha256 of its bytes."""

    file: File
    name: str
    digest: bytes


class FolderSource(Source):
    """A folder of images, with its sub-folders as classes, at any resolution."""

    name = "folder"
    brought = "images"
    summary = "your own images: data.path is a folder, its sub-folders are classes, train/ and val/ are splits"
    resolutions = None

    def check(self, config: SourceConfig) -> None:
        """Raise DataError for a path without images, or with too few for both splits."""
        self.check_resolution(config)
        listing = list_images(config.path)
        splits = _splits_seen(listing)
        if not splits:
            all_of = "the one file in" if len(listing.files) == 1 else f"all {len(listing.files)} files in"
            none = "is no image" if len(listing.files) == 1 else "are no images"
            raise DataError(f"data.path: {all_of} {listing.root} {none}")
        for split in SPLITS:
            if split not in splits:
                raise _empty(split, listing.root, len(listing.files))

    def class_count(self, config: SourceConfig) -> int | None:
        """Number of classes; None for images without."""
        names = list_images(config.path).class_names
        return None if names is None else len(names)

    def class_sizes(self, config: SourceConfig) -> ClassSizes | None:
        """Files that may be images of each class; chance decides where no folder says the split."""
        listing = list_images(config.path)
        if (names := listing.class_names) is None:
            return None
        return Counter((names[file.label], file.split) for file in listing.files)

    def most_cached(self, config: SourceConfig) -> int:
        """Every file that may be an image."""
        return len(list_images(config.path).files)

    def content(self, config: SourceConfig) -> str:
        """A digest of every image's bytes with its class and split, read afresh: names and times do not matter."""
        listing = list_images(config.path)
        return content_of(listing, digests_of(listing))

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split; warns, once a text, of what was left out or is not as its owner may think."""
        listing = list_images(config.path)
        digests = digests_of(listing)
        entry = cached(
            self.name, config.resolution, content_of(listing, digests), split,
            lambda: _decode(listing, digests, config.resolution), len(listing.files),
        )  # fmt: skip
        left_out = (*listing.left_out, *unreadable(listing, digests), *entry.skipped)
        for remark in remarks(listing, digests, entry, left_out, config.resolution):
            warnings.warn(remark, CellWarning, stacklevel=2)
        if not entry.decoded:
            broken = [*unreadable(listing, digests), *entry.skipped]
            raise DataError(
                f"data.path: none of the {len(broken)} images in {listing.root} can be decoded, "
                f"the first being {broken[0].name} ({broken[0].reason})"
            )
        if not len(entry.images):
            raise _empty(split, listing.root, entry.decoded)
        return ImageSet(
            entry.images,
            entry.labels if listing.class_names is not None else None,
            listing.class_names,
            self.name,
            config.resolution,
            split,
            entry.checksum,
            len(left_out),
        )


# ---- content

_known: tuple[tuple[_Signature, ...], list[bytes | None]] | None = None
"""The digests that this process read last, and what they are of."""


def digests_of(listing: Listing) -> list[bytes | None]:
    """sha256 of each file; None for one that may not be read.

    A process that asks again, of files none of which was touched since or just before, is not made to read them again:
    it loads two splits, and checks before. Nothing of this outlives the process.
    """
    global _known
    about = tuple(_signature(file.path) for file in listing.files)
    if _known is not None and _known[0] == about:
        return _known[1]
    digests = in_threads(lambda paths: [_digest(path) for path in paths], [file.path for file in listing.files])
    newest = max(one.changed for one in about)
    _known = (about, digests) if time.time_ns() - newest > _SETTLED * 1e9 else None
    return digests


class _Signature(NamedTuple):
    """A file as it lies there; its time of change, which nobody can set, is in nanoseconds."""

    path: Path
    place: tuple[int, int]
    size: int
    modified: int
    changed: int


def _signature(path: Path) -> _Signature:
    try:
        about = path.stat()
    except OSError:
        return _Signature(path, (0, 0), 0, 0, 0)
    return _Signature(path, (about.st_dev, about.st_ino), about.st_size, about.st_mtime_ns, about.st_ctime_ns)


def _digest(path: Path) -> bytes | None:
    with _reading(path), open_plain(path, follow=True) as file:
        return hashlib.file_digest(file, "sha256").digest()
    return None


def content_of(listing: Listing, digests: Sequence[bytes | None]) -> str:
    """What decides the arrays that are made of a listing at a resolution, 32 hexadecimal digits."""
    about = [_RECIPE, SPLIT_RECIPE, pixels.DECODE_RECIPE, listing.class_names]
    found = hashlib.sha256(json.dumps(about).encode())
    known = [
        (digest, file.label, file.split or "") for digest, file in zip(digests, listing.files, strict=True) if digest
    ]
    for digest, label, split in sorted(known):
        found.update(digest + f" {label} {split}\n".encode())
    return found.hexdigest()[:32]


# ---- decoding


def _splits_seen(listing: Listing) -> set[Split]:
    """Which splits have images, going by their headers; reads as many as it takes to see both, about ten."""
    seen: set[Split] = set()
    for file in listing.files:
        if file.split is not None and file.split in seen:
            continue
        data = _read(file.path)
        if data is not None and pixels.refusal(io.BytesIO(data)) is None:
            seen.add(file.split or split_of(data))
        if len(seen) == len(SPLITS):
            break
    return seen


def _read(file: Path) -> bytes | None:
    with _reading(file), open_plain(file, follow=True) as opened:
        return opened.read()
    return None


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Passes over a file that is gone, is none, or that its owner keeps to himself; other failures may be passing ones.

    Raises:
        DataError: a disk, a file server or this process has a failure, which says nothing of the image.
    """
    try:
        yield
    except (PermissionError, FileNotFoundError, NotPlain):
        pass
    except OSError as error:
        raise DataError(f"data.path: cannot read {file}: {error.strerror or error}") from error


def _decode(listing: Listing, digests: Sequence[bytes | None], resolution: int) -> Iterator[Sample | Skipped]:
    """All images in the order of their content: classes are mixed, and the order survives a renaming."""
    for one in in_order(listing, digests):
        yield decoded(one, resolution)


def in_order(listing: Listing, digests: Sequence[bytes | None]) -> list[Known]:
    """The images that can be read, in the order of their content."""
    of: list[tuple[bytes, File]] = [(d, file) for d, file in zip(digests, listing.files, strict=True) if d is not None]
    return [Known(file, listing.name(file), digest) for digest, file in sorted(of, key=lambda item: item[0])]


def decoded(one: Known, resolution: int) -> Sample | Skipped:
    """An image, or why it is left out.

    Raises:
        DataError: the file holds something else by now.
        MemoryError: memory ran out, which says nothing of the image.
    """
    data = _read(one.file.path)
    if data is None or hashlib.sha256(data).digest() != one.digest:
        raise DataError(
            f"data.path: {one.file.path} was changed while the images were being read: run again once nobody writes "
            "there"
        )
    try:
        image, pages = pixels.read(data)
    except pixels.Damaged as error:
        return Skipped(one.name, str(error))
    except MemoryError as error:
        raise MemoryError(
            f"memory ran out while {one.name} was decoded, which is tried again by the next run"
        ) from error
    small = min(image.size) < resolution
    split = one.file.split or split_of(data)
    return Sample(split, pixels.centre_crop(image, resolution), one.file.label, small, pages > 1)


def unreadable(listing: Listing, digests: Sequence[bytes | None]) -> list[Skipped]:
    """The images that have no digest."""
    return [
        Skipped(listing.name(file), "the file cannot be read")
        for digest, file in zip(digests, listing.files, strict=True) if digest is None
    ]  # fmt: skip


def _empty(split: Split, root: Path, images: int) -> DataError:
    return DataError(
        f"data.path: the {split} split of {root} is empty ({plural(images, 'image')} in all): "
        f"add images; a hash of each file sends about {VALIDATION_SHARE:.0%} of them to validation"
    )
