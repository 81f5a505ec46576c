"""`photographs`: see the package."""

from __future__ import annotations

import hashlib

from pdebench.data import photos
from pdebench.data.photographs import fetch, pyramid, table
from pdebench.data.photographs.crops import Cropped
from pdebench.data.source import ImageSet, Source, SourceConfig, Split

COUNTS: dict[Split, int] = {"train": 4096, "validation": 512}
"""Crops an epoch; validation has one epoch."""
_LOOKED_AT = 64  # crops of which the checksum is, beside the photographs and the recipe


class PhotographsSource(Source):
    """Crops of 63 photographs, RGB, unlabelled, 32 to 128 px, drawn anew in every epoch."""

    name = "photographs"
    summary = "crops of 63 photographs, 46 of them wallpapers that apt fetches; other crops in every epoch; unlabelled"
    credit = "photographs under CC BY, CC BY-SA, CC0, GPL, LGPL; who took them: docs/packaged_sets.md"
    takes = ("path", "download")
    resolutions = (32, 64, 128)

    def check(self, config: SourceConfig) -> None:
        """Raise DataError where photographs are neither on this machine nor to be had."""
        self.check_resolution(config)
        photos.check(self.name)
        fetch.check(config.path, config.download)

    def class_count(self, config: SourceConfig) -> int | None:
        """None: there are no labels."""
        return None

    def most_cached(self, config: SourceConfig) -> int:
        """As many images as take the room of the decoded photographs."""
        return pyramid.BYTES // (3 * config.resolution**2)

    def content(self, config: SourceConfig) -> str:
        """Of the files that are pinned: the same cells wherever they were had from."""
        return table.content()

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split; where its photographs are not in the cache, they are fetched and decoded first."""
        found = pyramid.load(split, config.path)
        rows = Cropped(found.views, config.resolution, COUNTS[split])
        checksum = hashlib.sha256(f"{found.checksum} {table.RECIPE} {rows.shape}".encode())
        checksum.update(rows[:_LOOKED_AT].data)
        return ImageSet(rows, None, None, self.name, config.resolution, split, checksum.hexdigest())
