"""`emoji_masks`: the icons of `emoji`, each pixel of which has its icon's class where the icon is, and 0 elsewhere.

Where an icon is, its alpha says: a pixel is of it that is covered by half or more at the resolution asked for.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

from pdebench.data import pixels
from pdebench.data.cache import cached
from pdebench.data.emoji import IDENTITY, EmojiSource, check, icons
from pdebench.data.scenes import CLASSES
from pdebench.data.source import ImageSet, Sample, Skipped, Source, SourceConfig, Split


class EmojiMasksSource(Source):
    """Noto icons, RGB on white, ten classes of pixels, 32 or 64 px."""

    name = "emoji_masks"
    summary = "Noto Emoji icons on white with maps of 10 classes of pixels: the background and 9 categories"
    resolutions = EmojiSource.resolutions

    def check(self, config: SourceConfig) -> None:
        """Raise DataError unless both packages are installed in their pinned versions."""
        self.check_resolution(config)
        self.check_no_path(config)
        check(self.name)

    def class_count(self, config: SourceConfig) -> int | None:
        """None: for their labels there is `emoji`."""
        return None

    def map_classes(self, config: SourceConfig) -> tuple[str, ...]:
        """Background, and the categories."""
        return CLASSES

    def most_cached(self, config: SourceConfig) -> int:
        """Some more than there are."""
        return 2000

    def content(self, config: SourceConfig) -> None:
        """Its name: packaged and pinned by checksums."""

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split; DataError when the packaged files differ from the pinned ones."""
        entry = cached(
            self.name, config.resolution, json.dumps(["emoji_masks-1", IDENTITY]), split,
            lambda: _decode(config.resolution), self.most_cached(config), maps=True,
        )  # fmt: skip
        return ImageSet(
            entry.images, None, None, self.name, config.resolution, split, entry.checksum, len(entry.skipped),
            maps=entry.maps, map_names=CLASSES,
        )  # fmt: skip


def _decode(resolution: int) -> Iterator[Sample | Skipped]:
    import numpy as np
    from PIL import Image

    for icon in icons():
        if isinstance(icon, Skipped):
            yield icon
            continue
        alpha = Image.open(io.BytesIO(icon.png), formats=("PNG",)).convert("RGBA").getchannel("A")
        covered = pixels.centre_crop(alpha.convert("RGB"), resolution)[0] >= 128
        image = pixels.centre_crop(pixels.decode(icon.png), resolution)
        yield Sample(icon.split, image, map=(covered * (1 + icon.label)).astype(np.uint8))
