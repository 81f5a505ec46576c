"""Images side by side as one picture, and clips as one that moves, written and read. Imports no torch.

`torchvision.utils.make_grid` does the first, but takes a second to import.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdebench.files import disk

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

PNG = b"\x89PNG\r\n\x1a\n"  # how one begins
RIFF = b"RIFF"  # how a WebP begins
FRAME_MS = 125  # of a clip that is shown: nobody knows how long a frame of a sample lasts
GAP = 2  # white pixels between images, and around them
LARGEST = 2**28  # bytes of a picture: 64 images of 1024 pixels a side, none of which can be packed any smaller


def png_grid(images: Tensor, columns: int) -> bytes:
    """uint8 images (N, C, H, W), N at least 1, row by row as a PNG of so many columns, fewer if there are fewer.

    Three channels are RGB, one is grey.
    """
    buffer = io.BytesIO()
    _grid(images, columns).save(buffer, "PNG")
    return buffer.getvalue()


def webp_grid(clips: Tensor, columns: int) -> bytes:
    """uint8 clips (N, C, T, H, W), as `png_grid` has images, as an animated WebP, which loses nothing."""
    return webp([_grid(images, columns) for images in clips.unbind(2)], lossless=True, method=0)


def webp(frames: Sequence[Image.Image], **options: Any) -> bytes:
    """Frames as a WebP, animated where there are several; `options` as Pillow has them."""
    buffer = io.BytesIO()
    moving: dict[str, Any] = {}
    if len(frames) > 1:
        moving = {"save_all": True, "append_images": frames[1:], "duration": FRAME_MS, "loop": 0}
    frames[0].save(buffer, "WEBP", **moving, **options)
    return buffer.getvalue()


def _grid(images: Tensor, columns: int) -> Image.Image:
    from PIL import Image

    images = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
    count, channels, height, width = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    picture = images.new_full((channels, rows * (height + GAP) + GAP, columns * (width + GAP) + GAP), 255)
    for i, image in enumerate(images):
        top, left = GAP + i // columns * (height + GAP), GAP + i % columns * (width + GAP)
        picture[:, top : top + height, left : left + width] = image
    return Image.fromarray(picture.permute(1, 2, 0).numpy())


def read_png(path: Path) -> Image.Image | None:
    """The picture in a PNG, in RGB; None where there is none, or no plain file of a PNG of bearable size."""
    found = _read(path, "PNG")
    return found[0] if found else None


def read_webp(path: Path) -> list[Image.Image] | None:
    """The frames in a WebP, in RGB, at least one; None as `read_png`: all frames together are of bearable size."""
    return _read(path, "WEBP")


def _read(path: Path, form: str) -> list[Image.Image] | None:
    """Whatever the file calls itself, no other format is tried: Pillow runs an interpreter on some."""
    from PIL import Image

    try:
        data = disk.read_plain(path, LARGEST)
        with Image.open(io.BytesIO(data), formats=(form,)) as opened:
            count = getattr(opened, "n_frames", 1)
            if Image.MAX_IMAGE_PIXELS is not None and count * opened.width * opened.height > Image.MAX_IMAGE_PIXELS:
                return None  # Pillow warns of as many, and raises only at twice that
            frames = []
            for number in range(count):
                opened.seek(number)
                frames.append(opened.convert("RGB"))
            return frames
    except (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error):
        return None
    except Image.DecompressionBombError:
        return None
