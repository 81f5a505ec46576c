"""What a reader of the numbers should know of a folder of images: a sentence each, of however many it is true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pdebench.data.cache import CachedSplit
from pdebench.data.left_out import not_as_they_were
from pdebench.data.list_phrases import by_reason, few
from pdebench.data.listing import File, Listing
from pdebench.data.nouns import plural
from pdebench.data.source import SPLITS, Skipped


def remarks(
    listing: Listing, digests: Sequence[bytes | None], entry: CachedSplit, left_out: Sequence[Skipped], resolution: int
) -> Iterator[str]:
    """All that is to be said of a set at a resolution; `digests` are of its files, None where one cannot be read."""
    root, there = listing.root, len(left_out) + entry.decoded
    for clause in listing.remarks:
        yield f"{root}: {clause}"
    if left_out:
        what = "files" if listing.left_out else "images"
        yield f"{len(left_out)} of {there} {what} in {root} are left out: {_reasons(left_out)}"
    yield from not_as_they_were(f"images in {root}", entry, resolution)
    yield from (f"{root}: {clause}" for clause in _of_classes(listing, entry))
    yield from _of_copies(listing, digests)


def _reasons(left_out: Sequence[Skipped]) -> str:
    names: dict[str, list[str]] = {}
    for item in left_out:
        names.setdefault(item.reason, []).append(item.name)
    return by_reason(names)


def _of_classes(listing: Listing, entry: CachedSplit) -> Iterator[str]:
    """Classes of which nothing can be learned, or nothing is seen."""
    if listing.class_names is None:
        return
    told_apart = any(file.split for file in listing.files)  # else chance holds out, which may well spare a small class
    found: dict[str, list[str]] = {}
    for label, name in enumerate(listing.class_names):
        trained, held_out = (entry.classes[split].get(label, 0) for split in SPLITS)
        if not trained and not held_out:
            found.setdefault("no image that can be used", []).append(f"'{name}'")
        elif not trained:
            found.setdefault("no image to train on, only held-out ones", []).append(f"'{name}'")
        elif not held_out and told_apart:
            found.setdefault("no image that is held out (the loss on those is of other classes)", []).append(
                f"'{name}'"
            )
    for lack, names in found.items():
        if len(names) == 1:
            yield f"class {names[0]} has {lack}"
        else:
            yield f"{len(names):,} of {len(listing.class_names):,} classes have {lack}: {few(names)}"


def _of_copies(listing: Listing, digests: Sequence[bytes | None]) -> Iterator[str]:
    """Images that are others byte for byte, on the other side, under another label or beside them."""
    copies: dict[bytes, list[File]] = {}
    counts = Counter(digests)
    for digest, file in zip(digests, listing.files, strict=True):
        if digest is not None and counts[digest] > 1:
            copies.setdefault(digest, []).append(file)
    root, there = listing.root, f"{len(listing.files)} images in {listing.root}"
    both = sum(len({file.split for file in files}) > 1 for files in copies.values())
    if both:
        yield (
            f"{plural(both, 'image')} in {root} {'is' if both == 1 else 'are'} held out and trained on "
            "as well, byte for byte: the loss on them is no test"
        )
    torn = [files for files in copies.values() if len({file.label for file in files}) > 1]
    if torn:
        one = torn[0][0]
        other = next(file for file in torn[0] if file.label != one.label)
        yield (
            f"{len(torn)} of {there} are in more than one class, byte for byte, such as {listing.name(one)} and "
            f"{listing.name(other)}: a class cannot be learned from what is of others too, so keep each in one"
        )
    alike = sum(len(files) - len({(file.label, file.split) for file in files}) for files in copies.values())
    if alike:
        yield f"{alike} of {there} are copies of others of their class, byte for byte, and count as often"
