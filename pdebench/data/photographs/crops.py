"""Crops of photographs at all scales, drawn when they are asked for: another one for each image and epoch.

The magnification of a crop, pixels of the model's image for one of the photograph's, is uniform from that at which the
whole photograph is seen to 1, at which nothing is reduced; nothing is ever enlarged. So half of all crops are up to 2
sides of the image long, a quarter 2 to 4, an eighth 4 to 8. Of crops s sides long a photograph of P pixels holds
P / (s R)^2 that do not overlap, so that draws of any scale repeat a place as rarely as those of any other: drawn evenly
over areas, as torchvision's RandomResizedCrop does, nearly all would be of the few places that large crops have.

Photographs are drawn by their area, ratios of width to height evenly in their logarithm from 3/4 to 4/3 (which are
squeezed to a square, as RandomResizedCrop does), places evenly. Wallpapers are half sky and blur, in which there is
little to learn: a crop that is nearly flat is drawn again, a few times at most.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from pdebench.data import pixels
from pdebench.data.photographs.pyramid import View
from pdebench.data.rows import DrawnRows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_ASPECT = 4 / 3
FLAT = 12.0
"""Standard deviation of green, of 0 to 255, below which a crop is drawn again."""
TRIES = 8  # the last of which is taken as it is
_LOOKED_AT = 16  # pixels along the smaller side, at least


class Rectangle(NamedTuple):
    """Of one level of one view, in that level's pixels."""

    view: int
    level: int
    left: int
    upper: int
    width: int
    height: int


class Cropped(DrawnRows):
    """`count` crops an epoch, uint8 (count, 3, resolution, resolution), of the views of one split."""

    def __init__(self, views: Sequence[View], resolution: int, count: int) -> None:
        """Views whose smaller side is below 4/3 of the resolution have no crop of some ratios, and are not drawn."""
        import numpy as np

        least = MOST_ASPECT * resolution
        self.views = [view for view in views if min(view.levels[0].shape[:2]) >= least]
        self.resolution = resolution
        self.shape, self.dtype = (count, 3, resolution, resolution), np.dtype(np.uint8)
        self._areas = list(accumulate(view.levels[0].shape[0] * view.levels[0].shape[1] for view in self.views))

    def crop(self, row: int, epoch: int) -> Rectangle:
        """The crop of a row in an epoch: a function of the two, the same in whatever batch, process or run."""
        import numpy as np

        random = np.random.Generator(np.random.Philox(key=[row, epoch]))
        for _ in range(TRIES):
            crop = self._candidate(random.random(5).tolist())
            apart = max(1, min(crop.width, crop.height) // _LOOKED_AT)
            if self.block(crop)[::apart, ::apart, 1].std() >= FLAT:
                break
        return crop

    def block(self, crop: Rectangle) -> NDArray[np.uint8]:
        """The pixels of a crop in its level, uint8 (H, W, 3)."""
        level = self.views[crop.view].levels[crop.level]
        return level[crop.upper : crop.upper + crop.height, crop.left : crop.left + crop.width]

    def _candidate(self, drawn: Sequence[float]) -> Rectangle:
        """A crop of five numbers from 0 to 1: photograph, ratio, magnification, and place."""
        chosen, ratio, scale, across, down = drawn
        view = bisect.bisect_right(self._areas, int(chosen * self._areas[-1]))
        levels = self.views[view].levels
        height, width = levels[0].shape[:2]
        aspect = MOST_ASPECT ** (ratio - 0.5)  # the square root of width over height
        largest = min(width / aspect, height * aspect)  # sides are roots of areas
        smallest = self.resolution * max(aspect, 1 / aspect)
        side = 1 / (1 / largest + scale * (1 / smallest - 1 / largest))
        # at least twice the resolution is left for the last filter, which is nearer to an ideal one than averages are
        level = min(max(0, math.floor(math.log2(side / (2 * self.resolution)))), len(levels) - 1)
        whole_height, whole_width = levels[level].shape[:2]
        wide = min(max(round(side * aspect / 2**level), self.resolution), whole_width)
        high = min(max(round(side / aspect / 2**level), self.resolution), whole_height)
        left, upper = int(across * (whole_width - wide + 1)), int(down * (whole_height - high + 1))
        return Rectangle(view, level, left, upper, wide, high)

    def _draw(self, index: NDArray[np.int64], epochs: NDArray[np.int64], found: NDArray[np.uint8]) -> None:
        from PIL import Image

        for at, (row, epoch) in enumerate(zip(index.tolist(), epochs.tolist(), strict=True)):
            image = Image.fromarray(self.block(self.crop(row, epoch)))
            found[at] = pixels.resize(image, self.resolution, (0, 0, *image.size))
