"""From a file's bytes to a square RGB array, the same way for every source."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

DECODE_RECIPE = "pixels-1"
"""Part of every cache key: a change to how pixels are made must change it."""


@contextlib.contextmanager
def _strict() -> Iterator[None]:
    """Pillow refuses images of dangerous size instead of warning, and keeps remarks on metadata to itself."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def has_image_header(data: bytes) -> bool:
    """Whether these bytes begin as an image of a known format and bearable size; decodes no pixels."""
    from PIL import Image

    try:
        with _strict(), Image.open(io.BytesIO(data)):
            return True
    except Exception:  # Pillow's decoders raise nearly anything on a damaged file
        return False


def reason(error: Exception) -> str:
    """Why a file could not be decoded, in one line for a warning."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "too many pixels to be safe to decode"
    return " ".join(str(error).split())[:200] or type(error).__name__


def decode(data: bytes) -> Image.Image:
    """RGB image, upright by its EXIF orientation, with transparency laid on white and 16 bits scaled to 8.

    Raises whatever Pillow raises for a broken file, and ValueError for pixels without a known range.
    """
    from PIL import Image, ImageOps

    with _strict(), Image.open(io.BytesIO(data)) as opened:
        opened.load()
        image = ImageOps.exif_transpose(opened)
    if image.mode.startswith(("I", "F")):
        return _from_deep_grey(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    # Composite before any resize: interpolating straight alpha would mix in the hidden colour of clear pixels
    # and leave dark halos.
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """Grey of more than 8 bits to RGB; Pillow's own conversion would clip at 255 instead of scaling."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > 65535:
        raise ValueError(f"pixels of mode '{image.mode}' have no known range; save it with 8 or 16 bits")
    grey = np.round(values / 257.0).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def resize(image: Image.Image, resolution: int, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """The part of `image` in `box` (left, upper, right, lower), as uint8 (3, resolution, resolution).

    Pillow widens the Lanczos kernel by the factor of reduction, which is what keeps it free of aliases.
    """
    import numpy as np
    from PIL import Image

    # Cropped first: given the box, `resize` would let the kernel see pixels outside it.
    small = image.crop(box).resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))


def centre_crop(image: Image.Image, resolution: int) -> NDArray[np.uint8]:
    """The largest centred square, resized to uint8 (3, resolution, resolution): ADM's centre crop."""
    side = min(image.size)
    left, upper = (image.width - side) // 2, (image.height - side) // 2
    return resize(image, resolution, (left, upper, left + side, upper + side))
