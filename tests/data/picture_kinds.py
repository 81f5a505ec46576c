"""Pictures in every format that users bring, each made here beside the RGB that it shows: the oracle of all readers."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 16  # of each picture, so that a reader's resize changes nothing
ROOM = 20_000  # pixels a side of what is refused for its size

Values = NDArray[Any]


class Kind(NamedTuple):
    """A picture by its file's name.

    Attributes:
        content: the bytes of the file.
        shown: uint8 (SIDE, SIDE, 3), what is to be seen; None: it is refused.
        within: by how much a lossy format may be off.
        why: what the reason of a refusal says.
    """

    name: str
    content: bytes
    shown: Values | None = None
    within: int = 0
    why: str = ""


def colours(seed: int) -> Values:
    """Four squares of one colour each, (SIDE, SIDE, 3): lossy formats keep them, and no turn or mirroring does."""
    drawn = np.random.default_rng(seed).permutation(np.arange(20, 240, 18))[:12]
    return drawn.reshape(2, 2, 3).repeat(SIDE // 2, 0).repeat(SIDE // 2, 1)


def kinds() -> list[Kind]:
    """All of them, each with a picture of its own."""
    return [kind._replace(name=f"{number:03d}-{kind.name}") for number, kind in enumerate([*_shown(), *_refused()], 1)]


def filler(seed: int) -> bytes:
    """A sound PNG of noise."""
    return _saved(np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), np.uint8), "PNG")


# ---- files


def _saved(values: Values, form: str, mode: str | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values.astype(np.uint8), mode).save(stream, form, **options)
    return stream.getvalue()


def png(values: Values, kind: int, bits: int = 8, **chunks: bytes) -> bytes:
    """A PNG by hand: of a colour type and depth, with more chunks by their names."""
    width = values.shape[1]
    flat = values.reshape(len(values), -1)
    if bits == 16:
        packed = flat.astype(">u2").view(np.uint8)
    elif bits == 8:
        packed = flat.astype(np.uint8)
    else:
        digits = np.unpackbits(flat.astype(np.uint8)[..., None], axis=-1)[..., -bits:]
        packed = np.packbits(digits.reshape(len(values), -1), axis=-1)
    rows = b"".join(b"\0" + row.tobytes() for row in packed)
    head = struct.pack(">IIBBBBB", width, len(values), bits, kind, 0, 0, 0)
    return png_of(head, *chunks.items(), ("IDAT", zlib.compress(rows)), ("IEND", b""))


def png_of(head: bytes, *chunks: tuple[str, bytes]) -> bytes:
    """A PNG of these chunks."""
    whole = ((name.encode(), body) for name, body in (("IHDR", head), *chunks))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in whole
    )


def _jpeg(values: Values, mode: str | None = None, **options: Any) -> bytes:
    return _saved(values, "JPEG", mode, quality=100, subsampling=0, **options)


# ---- what is shown


def _grey(values: Values) -> Values:
    return np.repeat(values.reshape(SIDE, SIDE, 1), 3, -1)


def _on_white(colour: Values, alpha: Values) -> Values:
    """By the definition of alpha, rounded."""
    return np.round(colour * (alpha / 255) + 255 * (1 - alpha / 255)).astype(int)


def _without(values: Values, colour: Values) -> Values:
    """White wherever that colour is."""
    return np.where((values == colour).all(-1, keepdims=True), 255, values)


def _of_ink(ink: Values) -> Values:
    """RGB of cyan, magenta, yellow and black, each from 0 to 255."""
    light = 255.0 - ink
    return np.round(light[..., :3] * light[..., 3:] / 255).astype(int)


def _turned(values: Values, orientation: int) -> Values:
    """As EXIF 2.32 has it: where the first row and the first column of the file are to be seen."""
    first_row, first_column = {
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
    }[orientation]  # fmt: skip
    seen = values if first_row in ("top", "bottom") else values.transpose(1, 0, 2)
    if "bottom" in (first_row, first_column):
        seen = seen[::-1]
    return seen[:, ::-1] if "right" in (first_row, first_column) else seen


def _shown() -> Iterator[Kind]:
    seeds = iter(range(1000))

    def new() -> Values:
        return colours(next(seeds))

    c = new()
    yield Kind("rgb.png", png(c, 2), c)
    c = new()
    yield Kind("rgb.jpg", _jpeg(c), c, 3)
    c = new()
    yield Kind("progressive.jpg", _jpeg(c, progressive=True), c, 3)
    c = new()
    yield Kind("a-png-in-truth.jpg", png(c, 2), c)
    c = new()
    yield Kind("lossless.webp", _saved(c, "WEBP", lossless=True), c)
    c = _grey(new()[..., 0])  # its chroma is of half the resolution
    yield Kind("lossy.webp", _saved(c, "WEBP", quality=100), c, 3)
    c = new()
    yield Kind("rgb.bmp", _saved(c, "BMP"), c)
    c = new()
    yield Kind("rgb.tif", _saved(c, "TIFF"), c)
    yield from _of_transparency(new)
    yield from _of_palettes(new)
    yield from _of_depths(new)
    for name, transform in (("cmyk", 0), ("ycck", 2)):
        c = new()
        ink = np.concatenate([c, 255 - c[..., :1]], -1) if transform == 0 else _ycck(c)
        content = _jpeg(ink, "CMYK")  # Pillow writes ink inverted and says "Adobe", as Adobe does
        at = content.index(b"Adobe") + 11
        content = content[:at] + bytes([transform]) + content[at + 1 :]
        shown = _of_ink(ink) if transform == 0 else c
        yield Kind(f"{name}.jpg", content, shown, 4)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        for suffix, save in {
            "jpg": lambda c, exif=exif: _jpeg(c, exif=exif),
            "png": lambda c, exif=exif: _saved(c, "PNG", exif=exif),
            "webp": lambda c, exif=exif: _saved(c, "WEBP", lossless=True, exif=exif),
        }.items():
            if suffix == "jpg" or orientation in (3, 6):
                c = new()
                yield Kind(f"turned{orientation}.{suffix}", save(c), _turned(c, orientation), 3 * (suffix == "jpg"))


def _of_transparency(new: Callable[[], Values]) -> Iterator[Kind]:
    alpha = np.full((SIDE, SIDE, 1), 255)
    alpha[:8, :8], alpha[8:, 8:] = 0, 128
    for scale, bits in ((1, 8), (257, 16)):
        c = new()
        yield Kind(f"rgba{bits}.png", png(np.concatenate([c, alpha], -1) * scale, 6, bits), _on_white(c, alpha))
        c = new()
        grey = c[..., :1]
        content = png(np.concatenate([grey, alpha], -1) * scale, 4, bits)
        yield Kind(f"grey-alpha{bits}.png", content, _grey(_on_white(grey, alpha)))
    c = new()
    content = _saved(np.concatenate([c, alpha], -1), "WEBP", lossless=True, exact=True)
    yield Kind("rgba.webp", content, _on_white(c, alpha))
    c = new()
    clear = c[0, 0]
    yield Kind("rgb-clear.png", png(c, 2, tRNS=struct.pack(">3H", *clear)), _without(c, clear))
    c = new()
    clear, deep = c[0, 0], c * 256 + 7  # no multiple of 257: the upper and the lower byte differ
    content = png(deep, 2, 16, tRNS=struct.pack(">3H", *deep[0, 0]))
    yield Kind("rgb16-clear.png", content, _without(c, clear))
    c = new()
    grey = c[..., :1]
    yield Kind("grey-clear.png", png(grey, 0, tRNS=struct.pack(">H", grey[0, 0, 0])), _grey(_without(grey, grey[0, 0])))
    c = new()
    grey = c[..., :1]
    content = png(grey * 257, 0, 16, tRNS=struct.pack(">H", 257 * grey[0, 0, 0]))
    yield Kind("grey16-clear.png", content, _grey(_without(grey, grey[0, 0])))
    for bits, values in ((1, (0, 1, 1, 0)), (2, (1, 0, 2, 3)), (4, (5, 9, 14, 0))):
        steps = np.array(values).reshape(2, 2, 1).repeat(8, 0).repeat(8, 1)
        content = png(steps, 0, bits, tRNS=struct.pack(">H", values[0]))
        grey = steps * 255 // (2**bits - 1)
        yield Kind(f"grey{bits}-clear.png", content, _grey(_without(grey, grey[0, 0])))


def _of_palettes(new: Callable[[], Values]) -> Iterator[Kind]:
    numbers = np.arange(4).reshape(2, 2, 1).repeat(8, 0).repeat(8, 1)
    for bits in (2, 8):
        c = new()
        yield Kind(f"palette{bits}.png", png(numbers, 3, bits, PLTE=c[::8, ::8].astype(np.uint8).tobytes()), c)
    c = new()
    alpha = np.array([255, 0, 100, 255])[numbers]
    content = png(numbers, 3, 8, PLTE=c[::8, ::8].astype(np.uint8).tobytes(), tRNS=bytes([255, 0, 100]))
    yield Kind("palette-clear.png", content, _on_white(c, alpha))
    c = new()
    stream = io.BytesIO()
    Image.fromarray(c.astype(np.uint8)).quantize(4).save(stream, "GIF")
    yield Kind("palette.gif", stream.getvalue(), c)


def _of_depths(new: Callable[[], Values]) -> Iterator[Kind]:
    c = new()
    yield Kind("grey.png", png(c[..., :1], 0), _grey(c[..., :1]))
    c = new()
    yield Kind("grey.jpg", _jpeg(c[..., 0]), _grey(c[..., :1]), 2)
    c = new()
    yield Kind("grey16.png", png(c[..., :1] * 257, 0, 16), _grey(c[..., :1]))
    c = new()
    yield Kind("rgb16.png", png(c * 257, 2, 16), c)
    for bits, values in ((1, (1, 0, 0, 0)), (4, (3, 8, 13, 1))):
        steps = np.array(values).reshape(2, 2, 1).repeat(8, 0).repeat(8, 1)
        yield Kind(f"grey{bits}.png", png(steps, 0, bits), _grey(steps * 255 // (2**bits - 1)))


def _ycck(rgb: Values) -> Values:
    """What is stored as "ink", inverted, where a file says YCCK: luma and chroma, as JFIF has them, of the inks."""
    r, g, b = (255.0 - rgb[..., at] for at in range(3))
    y = 0.299 * r + 0.587 * g + 0.114 * b
    planes = [y, 128 + 0.564 * (b - y), 128 + 0.713 * (r - y), np.full_like(y, 255)]
    return np.stack([255 - np.round(plane) for plane in planes], -1).astype(int)


# ---- what is refused

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n%%EOF\n"


def _refused() -> Sequence[Kind]:
    noise = np.random.default_rng(7).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    found = [Kind(f"eps.{suffix}", EPS + suffix.encode(), why="not an image") for suffix in ("png", "jpg")]
    found += [
        Kind("pdf.jpg", b"%PDF-1.4\n" + b"0 " * 200, why="not an image"),
        Kind("drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg' width='16' height='16'/>", why="not an image"),
        Kind("empty.png", b"", why="not an image"),
        Kind("large.png", _claims(9_500), why="too many pixels"),  # of which Pillow only warns
        Kind("far-too-large.png", _claims(ROOM), why="too many pixels"),
        Kind("twelve-bits.png", png(noise[..., :1].astype(int) * 16, 0, 16), why="12 bits"),
    ]
    for suffix, form in {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}.items():
        whole = _saved(noise, form)
        found.append(Kind(f"cut.{suffix}", whole[: len(whole) * 2 // 3], why=r"truncated|Truncated|decoder"))
    return found


def _claims(side: int) -> bytes:
    """A PNG that says it is so large, and has hardly any data."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return png_of(head, ("IDAT", zlib.compress(bytes(1000))), ("IEND", b""))
