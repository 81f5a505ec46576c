"""`digits`: 1,797 handwritten digits of 8 x 8 grey pixels, as they lie in the wheel of scikit-learn.

They are the test part of UCI's Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak, 1998; CC BY 4.0):
counts of 0 to 16 that become 0 to 255. At 16 and 32 px each pixel is a square of 4 or 16. Of equal images none
stand on both sides; about a tenth is held out, chosen by a hash of the pixels, so that every resolution has the same.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pdebench.data import packages
from pdebench.data.source import ImageSet, Source, SourceConfig, Split
from pdebench.data.split import split_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLASSES = tuple("0123456789")
_SIDE, _DARKEST = 8, 16
_FILE, _SHA256 = "digits.csv.gz", "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"


class DigitsSource(Source):
    """Handwritten digits, grey, ten classes, 8, 16 or 32 px."""

    name = "digits"
    summary = "1,797 handwritten digits of 8 x 8 grey pixels, enlarged or not, 10 classes"
    credit = "digits by E. Alpaydin and C. Kaynak, UCI, CC BY 4.0; enlarged above 8 px"
    resolutions = (8, 16, 32)
    channels = 1

    def check(self, config: SourceConfig) -> None:
        """Raise DataError when the package or its file is not there."""
        self.check_resolution(config)
        self.check_no_path(config)
        if not _path().is_file():
            raise packages.differs(self.name, f"the missing file {_path()}", "scikit-learn")

    def class_count(self, config: SourceConfig) -> int | None:
        """Ten."""
        return len(CLASSES)

    def content(self, config: SourceConfig) -> None:
        """Its name: packaged and pinned by a checksum: other images would have another name."""

    def load(self, config: SourceConfig, split: Split) -> ImageSet:
        """Return one split; DataError when the packaged file differs from the pinned one."""
        images, labels = _decoded(_path())[split]
        times = config.resolution // _SIDE
        images = images.repeat(times, 2).repeat(times, 3)
        checksum = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
        return ImageSet(images, labels, CLASSES, self.name, config.resolution, split, checksum)


def _path() -> Path:
    return packages.locate("digits", "scikit-learn", "sklearn") / "datasets" / "data" / _FILE


@cache
def _decoded(path: Path) -> dict[Split, tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Images (N, 1, 8, 8) and labels of each split, in an order in which classes are mixed."""
    import numpy as np

    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != _SHA256:
        raise packages.differs("digits", f"the file {path}", "scikit-learn")
    rows = np.loadtxt(gzip.decompress(data).decode().splitlines(), delimiter=",", dtype=np.int64)
    pixels = np.rint(rows[:, :-1] * (255 / _DARKEST)).astype(np.uint8)
    keys = [f"digits {row.tobytes().hex()}".encode() for row in pixels]
    order = sorted(range(len(keys)), key=lambda row: hashlib.sha256(keys[row]).digest())
    found: dict[Split, list[int]] = {"train": [], "validation": []}
    for row in order:
        found[split_of(keys[row])].append(row)
    images = pixels.reshape(-1, 1, _SIDE, _SIDE)
    return {split: (images[places], rows[places, -1].copy()) for split, places in found.items()}
