"""Images side by side as one picture, written and read. Imports no torch.

`torchvision.utils.make_grid` does the first, but takes a second to import.
"""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from pdebench.files import disk

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

PNG = b"\x89PNG\r\n\x1a\n"  # how one begins
GAP = 2  # white pixels between images, and around them
LARGEST = 2**28  # bytes of a picture: 64 images of 1024 pixels a side, none of which can be packed any smaller


def png_grid(images: Tensor, columns: int) -> bytes:
    """uint8 images (N, C, H, W), N at least 1, row by row as a PNG of so many columns, fewer if there are fewer.

    Three channels are RGB, one is grey.
    """
    from PIL import Image

    images = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
    count, channels, height, width = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    picture = images.new_full((channels, rows * (height + GAP) + GAP, columns * (width + GAP) + GAP), 255)
    for i, image in enumerate(images):
        top, left = GAP + i // columns * (height + GAP), GAP + i % columns * (width + GAP)
        picture[:, top : top + height, left : left + width] = image
    buffer = io.BytesIO()
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def read_png(path: Path) -> Image.Image | None:
    """The picture in a PNG, in RGB; None where there is none, or no plain file of a PNG of bearable size.

    Whatever the file calls itself, no other format is tried: Pillow runs an interpreter on some.
    """
    from PIL import Image

    try:
        data = disk.read_plain(path, LARGEST)
        with Image.open(io.BytesIO(data), formats=("PNG",)) as opened:
            if Image.MAX_IMAGE_PIXELS is not None and opened.width * opened.height > Image.MAX_IMAGE_PIXELS:
                return None  # Pillow warns of as many, and raises only at twice that
            return opened.convert("RGB")
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error):
        return None
    except Image.DecompressionBombError:
        return None
