"""Pixels of more than 8 bits: what stands for white in them, or why nobody can say.

A file of 16 bits may hold the 12 of its camera and not say so. Read by its format it would be nearly black, and no one
would notice. So a range is taken from what the file states, or from values that only a full range has; a file with
neither is refused.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from pdebench.data.transparency import clear_grey

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

_BITS, _LARGEST, _LARGEST_OF_TYPE = 258, 281, 341  # TIFF's BitsPerSample, MaxSampleValue and SMaxSampleValue
_FULL = 2**16 - 1
_FOURTEEN_BITS = 2**14 - 1
_UNSIGNED = {"PNG", "PPM", "JPEG2000"}
"""Formats whose grey of more than 8 bits runs from 0 to 65535, in whichever mode Pillow hands it out."""


class Depth(NamedTuple):
    """What a file states of its pixels.

    Attributes:
        sixteen: a sample has 16 bits.
        white: the largest value that a pixel may have, as Pillow hands it out; None: the file does not say.
        significant: bits that a PNG's samples had before its encoder scaled them to 16 (sBIT); None: it does not say.
    """

    sixteen: bool = False
    white: float | None = None
    significant: int | None = None


def stated(opened: Image.Image, data: bytes) -> Depth:
    """What the file of these bytes states; to be asked before its pixels are loaded, which forgets a part of it."""
    if opened.format == "TIFF":
        return _of_tiff(opened)
    if opened.format == "PNG":
        return Depth(sixteen=data[24] == 16, significant=_significant(data))
    if opened.format == "PPM" and opened.mode != "F":
        return _scaled_from(_ppm_largest(opened))
    if opened.format == "JPEG2000":
        return _scaled_from(2 ** _jpeg2000_bits(data) - 1)
    if opened.format == "SGI":
        return Depth(sixteen=data[3] == 2)
    return Depth()


def _scaled_from(largest: int) -> Depth:
    """Of formats whose own maximum Pillow scales by; one of 16 bits may be no more than the width of a sample."""
    return Depth(sixteen=largest >= _FULL, white=None if largest >= _FULL else float(_FULL))


def _of_tiff(opened: Image.Image) -> Depth:
    tags = getattr(opened, "tag_v2", {})
    bits = min(tags.get(_BITS) or (1,))
    for tag in (_LARGEST, _LARGEST_OF_TYPE):
        value = tags.get(tag)
        first = value[0] if isinstance(value, tuple) and value else value
        if isinstance(first, int | float) and 0 < first <= _FULL:
            return Depth(bits >= 16, float(first))
    return Depth(bits >= 16, float(2**bits - 1) if _BITS in tags and bits < 16 else None)


def _ppm_largest(opened: Image.Image) -> int:
    """The maximum in the header of a PPM, which Pillow keeps as an argument of its decoder."""
    tiles: Any = getattr(opened, "tile", None)
    args = tiles[0][-1] if tiles else None
    if isinstance(args, tuple) and isinstance(args[-1], int):
        return args[-1]
    return _FULL if args == "I;16B" else 255


def _jpeg2000_bits(data: bytes) -> int:
    """Bits of the first component, from the marker of image and tile size that begins a codestream."""
    at = data.find(b"\xff\x4f\xff\x51")
    return (data[at + 42] & 0x7F) + 1 if 0 <= at < len(data) - 42 else 8


def _significant(png: bytes) -> int | None:
    """The most bits that the sBIT chunk states for a colour; transparency is not asked."""
    for kind, body in _chunks(png):
        if kind == b"sBIT" and body:
            colours = body[:3] if len(body) >= 3 else body[:1]
            return max(colours)
        if kind == b"IDAT":
            break
    return None


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        yield kind, png[at + 8 : at + 8 + length]
        at += 12 + length


# ---- grey


def grey(image: Image.Image, form: str | None, depth: Depth) -> Image.Image:
    """Grey of more than 8 bits to RGB, on white; Pillow's own conversion would clip at 255 instead of scaling.

    Raises:
        ValueError: what stands for white is not known.
    """
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    clear = values == clear_grey(image)
    values = np.where(clear, 0, values)  # what is not seen says nothing of the range
    sixteen = image.mode.startswith("I;16") or (image.mode == "I" and form in _UNSIGNED)
    white = depth.white
    if white is None and sixteen:
        white = _white(values, depth.significant)
    if white is None or values.min() < 0 or values.max() > white:
        raise ValueError(f"pixels of mode '{image.mode}' have no known range; save it with 8 or 16 bits")
    seen = np.where(clear, 255, np.round(values * 255.0 / white))
    return Image.fromarray(seen.astype(np.uint8)).convert("RGB")


def _white(values: NDArray[np.uint16], significant: int | None) -> float:
    """What stands for white in samples of 16 bits, by what they are."""
    most = int(values.max())
    if most == 0 or (significant is not None and significant >= 16):
        return _FULL
    if significant is None:
        if most > _FOURTEEN_BITS or not (values % 257).any():  # a multiple of 257 has been 8 bits, scaled to 16
            return _FULL
        raise ValueError(
            "16 bits a pixel of which no value passes 14 bits, and the file does not state their range: it may hold "
            "12 bits, which would be shown as nearly black; save it scaled to all 16 bits, or with 8"
        )
    own: int = 2**significant - 1
    if most > own:  # scaled by the encoder, as the standard asks
        return _FULL
    if _on_steps(values, _FULL / own):
        raise ValueError(
            f"16 bits a pixel that may be dark, or may be {significant} bits that were not scaled: its sBIT fits both; "
            "save it with 8 bits"
        )
    return own


def _on_steps(values: NDArray[np.uint16], step: float) -> bool:
    """Whether samples may be fewer bits scaled to 16: those come in steps, whichever way they were rounded."""
    import numpy as np

    return bool((np.abs(values - np.round(values / step) * step) <= 1).all())


# ---- colours


def refuse_shallow_colours(image: Image.Image, depth: Depth) -> None:
    """Refuse colours of 16 bits of which Pillow keeps the upper 8, where the lower ones hold what is to be seen.

    Raises:
        ValueError: it would be shown as nearly black.
    """
    if not depth.sixteen or (depth.white or 0) >= _FULL or (depth.significant or 0) >= 16:
        return
    shallow = _FOURTEEN_BITS if depth.significant is None else 2**depth.significant - 1
    most = max(high for _, high in image.convert("RGB").getextrema())  # type: ignore[misc]
    if depth.white is not None or (most <= shallow >> 8 and not (most == 0 and _is_drawn_by_transparency(image))):
        raise ValueError(
            "16 bits a colour that do not use their range: it would be shown as nearly black; save it with 8 bits"
        )


def _is_drawn_by_transparency(image: Image.Image) -> bool:
    """Whether some places are clear and some not, as of a black drawing, which is black and yet to be seen."""
    return image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() == (0, 255)
