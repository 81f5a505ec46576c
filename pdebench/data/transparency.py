"""The one colour that a PNG may call transparent (its tRNS), in the values that Pillow hands out.

Pillow 13 compares pixels with the number in the file. But grey of 2 and 4 bits it has scaled to 8, of colours of 16
bits it keeps the upper byte and compares that with the number's lower one, and in grey of 16 bits it looks for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_DEPTH = 24  # the byte of a PNG that says how many bits a sample has


def restate(opened: Image.Image, data: bytes) -> None:
    """Have a PNG's transparent colour be among the values of its pixels; of 16 bits a colour their upper bytes are."""
    stated = opened.info.get("transparency") if opened.format == "PNG" else None
    bits = data[_DEPTH] if stated is not None else 8
    if isinstance(stated, int) and opened.mode == "L" and bits < 8:
        opened.info["transparency"] = stated * 255 // (2**bits - 1)
    elif isinstance(stated, tuple) and opened.mode == "RGB" and bits == 16:
        opened.info["transparency"] = tuple(value >> 8 for value in stated)


def clear_grey(image: Image.Image) -> int | None:
    """The value that is transparent in grey of 16 bits; None: there is none."""
    stated = image.info.get("transparency")
    return stated if isinstance(stated, int) else None
