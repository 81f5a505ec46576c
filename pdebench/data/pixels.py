"""From a file's bytes to a square RGB array, the same way for every source."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from typing import IO, TYPE_CHECKING, NamedTuple

from pdebench.data import deep, transparency
from pdebench.errors import DataError, out_of_memory, refused_by_system

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

DECODE_RECIPE = "pixels-3"
"""Part of every cache key: a change to how pixels are made must change it."""

# What Pillow decodes itself. Of what it opens beside these it hands EPS to an interpreter, and IPTC to whatever format
# lies in it, EPS included; WMF, BUFR, GRIB and HDF5 to packages that may not be there; of MPEG it knows the name alone.
_RASTER = {
    "AVIF", "BLP", "BMP", "CUR", "DCX", "DDS", "DIB", "FITS", "FLI", "FTEX", "GBR", "GIF",
    "ICNS", "ICO", "IM", "IMT", "JPEG", "JPEG2000", "MCIDAS", "MSP", "PCD", "PCX", "PIXAR", "PNG",
    "PPM", "PSD", "QOI", "SGI", "SPIDER", "SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM", "XVTHUMB",
}  # fmt: skip


_SPARE = 64 * 2**20  # bytes that a decoder may want beside its images
_COPIES = 4  # of an image, of 4 bytes a pixel, while it becomes RGB


class Damaged(ValueError):
    """What the bytes of a file say, wherever they are decoded: they are no image, or not one that can be used."""


class Decoded(NamedTuple):
    """An RGB image, and how many pages its file has: only the first is used."""

    image: Image.Image
    pages: int


@cache
def formats() -> tuple[str, ...]:
    """The formats that are read, by Pillow's names, as far as it has been built with them."""
    from PIL import Image

    Image.init()
    return tuple(sorted(_RASTER & set(Image.OPEN)))


@cache
def suffixes() -> frozenset[str]:
    """How names of files of these formats end, in lower case, with the dot."""
    from PIL import Image

    known = set(formats())
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in known)


@cache
def missing_decoders() -> tuple[str, ...]:
    """What this Pillow was built without: its files are no images here, and are elsewhere."""
    from PIL import features

    codecs = [name for name in ("jpg", "jpg_2000", "zlib", "libtiff") if not features.check_codec(name)]
    return (*codecs, *(name for name in ("webp", "avif") if not features.check_module(name)))


@contextlib.contextmanager
def _judged() -> Iterator[list[tuple[int, int]]]:
    """Tells what a file's bytes say from what happened to this process: gives a list for the image's size, once known.

    Raises:
        Damaged: in the place of whatever Pillow raised for the bytes, nearly anything.
        MemoryError: memory ran out, or was so short that a decoder may have given up for want of it.
        DataError: a part of Pillow cannot be imported, or the system refused it something.
    """
    sizes: list[tuple[int, int]] = []
    try:
        yield sizes
    except ImportError as error:
        raise DataError(f"Pillow cannot load a decoder ({error}): install it again, or close other programs") from error
    except Exception as error:
        if (refused := refused_by_system(error)) and not out_of_memory(error):
            raise DataError(f"an image cannot be decoded now: {refused}; run again once that is mended") from error
        if out_of_memory(error) or not _had_memory(sizes):
            raise MemoryError("memory ran out while an image was decoded") from error
        raise Damaged(reason(error)) from error


def _had_memory(sizes: Sequence[tuple[int, int]]) -> bool:
    """Whether what decoding takes is to be had: a C library that gets none calls the file broken."""
    import numpy as np

    pixels = sum(width * height for width, height in sizes)
    try:
        np.empty(_SPARE + 4 * _COPIES * pixels, np.uint8)  # asked for, and not filled in
    except MemoryError:
        return False
    return True


@contextlib.contextmanager
def _strict() -> Iterator[None]:
    """Pillow refuses images of dangerous size instead of warning, and keeps remarks on metadata to itself."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def begins_as_image(first: bytes) -> bool:
    """Whether a file that begins with these 16 bytes says that it is an image, whatever its name."""
    from PIL import Image

    if len(first) < 16:
        return False
    accepts = [Image.OPEN[name][1] for name in formats()]
    return any(accept is not None and accept(first) is True for accept in accepts)


def refusal(file: IO[bytes]) -> str | None:
    """Why a file that begins so is no image of a known format and bearable size; None: it is. Decodes no pixels."""
    from PIL import Image

    try:
        with _judged(), _strict(), Image.open(file, formats=formats()):
            return None
    except Damaged as error:
        return str(error)


def reason(error: Exception) -> str:
    """Why a file could not be decoded, in one line for a warning."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        return "too many pixels to be safe to decode"
    return " ".join(str(error).split())[:200] or type(error).__name__


def decode(data: bytes) -> Image.Image:
    """The image of `read`."""
    return read(data).image


def read(data: bytes, *, among_threads: bool = False) -> Decoded:
    """RGB image, upright by its EXIF orientation, with transparency laid on white and more bits scaled to 8.

    Args:
        data: what a file holds.
        among_threads: other threads decode too, or warn. The filters of warnings are the process's and not a thread's,
            so they are left alone; see `quiet`.

    Raises:
        Damaged: the file is broken, or the range of its pixels is not known.
        MemoryError, DataError: it cannot be told here and now; see `_judged`.
    """
    from PIL import Image

    strict = contextlib.nullcontext() if among_threads else _strict()
    with _judged() as sizes, strict, Image.open(io.BytesIO(data), formats=formats()) as opened:
        sizes.append(opened.size)
        if Image.MAX_IMAGE_PIXELS is not None and opened.width * opened.height > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombWarning
        pages = 1 if opened.format == "MPO" else getattr(opened, "n_frames", 1)  # a phone's previews are no pages
        depth = deep.stated(opened, data)
        transparency.restate(opened, data)
        opened.load()
        image = upright(opened)
        if image.mode.startswith(("I", "F")):
            return Decoded(deep.grey(image, opened.format, depth), pages)
        deep.refuse_shallow_colours(image, depth)
        return Decoded(on_white(image), pages)


@contextlib.contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """An image of several frames, to be gone through; other threads may decode too, see `quiet`.

    Raises:
        Damaged: the file is broken, here or where a frame is asked for.
        MemoryError, DataError: it cannot be told here and now; see `_judged`.
    """
    from PIL import Image

    with _judged() as sizes, Image.open(io.BytesIO(data), formats=formats()) as image:
        sizes.append(image.size)
        if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombWarning
        yield image


def read_stored(data: bytes) -> Image.Image:
    """The numbers that a PNG stores, in Pillow's mode for them: indices of a palette stay indices.

    Raises:
        Damaged: the file is broken, or no PNG.
        MemoryError, DataError: it cannot be told here and now; see `_judged`.
    """
    from PIL import Image

    with _judged() as sizes, _strict(), Image.open(io.BytesIO(data), formats=("PNG",)) as opened:
        sizes.append(opened.size)
        if Image.MAX_IMAGE_PIXELS is not None and opened.width * opened.height > Image.MAX_IMAGE_PIXELS:
            raise Image.DecompressionBombWarning
        opened.load()
        return opened.copy()


class PictureHeader(NamedTuple):
    """What a file says of its picture: width and height once it is upright, and Pillow's mode."""

    size: tuple[int, int]
    mode: str


def header(file: IO[bytes]) -> PictureHeader | None:
    """Of a file that begins so; None: it is none. Decodes no pixels."""
    from PIL import ExifTags, Image

    try:
        with _judged(), _strict(), Image.open(file, formats=formats()) as opened:
            turned = opened.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            return PictureHeader(opened.size[::-1] if turned else opened.size, opened.mode)
    except Damaged:
        return None


def upright(image: Image.Image) -> Image.Image:
    """The same image, turned in its place by its EXIF orientation."""
    from PIL import ImageOps

    ImageOps.exif_transpose(image, in_place=True)
    return image


def on_white(image: Image.Image) -> Image.Image:
    """An image of 8 bits as RGB, with what is transparent laid on white."""
    from PIL import Image

    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    # Composite before any resize: interpolating straight alpha would mix in the hidden colour of clear pixels
    # and leave dark halos.
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")


def quiet() -> None:
    """Pillow keeps remarks on metadata to itself from now on, in all threads of this process."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


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
    return resize(image, resolution, centred_square(image.size))


def centred_square(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box (left, upper, right, lower) of the largest centred square of a width and height."""
    side = min(size)
    left, upper = (size[0] - side) // 2, (size[1] - side) // 2
    return left, upper, left + side, upper + side
