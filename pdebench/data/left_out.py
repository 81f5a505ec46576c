"""What is to be known of a set that was decoded: images that could not be used, and those that are not as they were."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

from pdebench.data.cache import CachedSplit
from pdebench.data.list_phrases import by_reason
from pdebench.errors import CellWarning, DataError


def warn_of(where: str, entry: CachedSplit, resolution: int) -> None:
    """Warn of images of a set that is not a folder: of those left out by reason, of enlarged ones, of further pages.

    Raises:
        DataError: all are left out.
    """
    if entry.skipped:
        names: dict[str, list[str]] = {}
        for item in entry.skipped:
            names.setdefault(item.reason, []).append(item.name)
        count = len(entry.skipped)
        if not entry.decoded:
            raise DataError(f"none of the {count} images of {where} can be used: {by_reason(names)}")
        are = "is" if count == 1 else "are"
        said = f"{count} of {count + entry.decoded} images of {where} {are} left out: {by_reason(names)}"
        warnings.warn(said, CellWarning, stacklevel=3)
    for said in not_as_they_were(f"images of {where}", entry, resolution):
        warnings.warn(said, CellWarning, stacklevel=3)


def not_as_they_were(images: str, entry: CachedSplit, resolution: int) -> Iterator[str]:
    """A sentence of images that were enlarged, and one of those of which a part is used; `images` as it names them."""
    if entry.enlarged:
        yield (
            f"{entry.enlarged} of {entry.decoded} {images} are smaller than {resolution} px and were enlarged: "
            "remove them or take a lower resolution"
        )
    if entry.paged:
        yield f"{entry.paged} of {entry.decoded} {images} have several pages, of which the first is used"
