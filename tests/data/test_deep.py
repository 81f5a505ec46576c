"""Pixels of 16 bits are scaled by what their file says, or are left out: never nearly black without a word."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pdebench.data import pixels

RAMP = np.arange(0, 4096, 16).reshape(16, 16) + np.arange(16)  # 12 bits, of which the lowest four are in use
COLOURS = np.stack([RAMP] * 3, -1)
KINDS = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG's colour types by their channels


def png(values, significant=None):
    """A PNG of 16 bits, of grey or colours with or without transparency."""
    values = np.asarray(values, ">u2")
    values = values[..., None] if values.ndim == 2 else values
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, KINDS[channels], 0, 0, 0))]
    chunks += [(b"sBIT", bytes([significant] * channels))] if significant else []
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def pgm(values, largest, kind=b"P5"):
    height, width = values.shape[:2]
    return b"%s %d %d %d\n" % (kind, width, height, largest) + values.astype(">u2").tobytes()


def jpeg2000(values):
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(file, "JPEG2000", irreversible=False)
    return file.getvalue()


def grey(data):
    return np.asarray(pixels.decode(data))[..., 0]


@pytest.mark.parametrize(
    "data",
    [
        png(RAMP),
        png(RAMP // 16),
        png(COLOURS),
        png(COLOURS // 16),
        png(np.dstack([COLOURS, np.full((16, 16), 65535)])),
        png(np.dstack([RAMP, np.full((16, 16), 65535)])),
        png(COLOURS, 12),
        png(RAMP // 16 * 16, 12),  # 12 bits that were not scaled, or a dark picture: both may be
        pgm(RAMP, 65535),
        pgm(COLOURS, 65535, b"P6"),
        jpeg2000(RAMP),
    ],
)
def test_what_would_be_nearly_black_is_refused(data):
    with pytest.raises(ValueError, match=r"dark|black"):
        pixels.decode(data)


def test_a_float_map_has_no_known_range():
    with pytest.raises(ValueError, match="no known range"):
        pixels.decode(b"Pf\n16 16\n-1.0\n" + np.linspace(0, 1, 256, dtype="<f4").tobytes())


def test_twelve_bits_that_a_png_states_are_scaled_by_them():
    assert (grey(png(RAMP, 12)) == np.round(RAMP * 255 / 4095)).all()


@pytest.mark.parametrize("significant", [None, 12, 16])
def test_a_png_that_was_scaled_is_read_as_it_is(significant):
    scaled = np.round(RAMP * 65535 / 4095).astype(int)
    assert np.abs(grey(png(scaled, significant)).astype(int) - np.round(RAMP * 255 / 4095)).max() == 0
    assert np.abs(grey(png(np.stack([scaled] * 3, -1), significant)).astype(int) - RAMP // 16).max() <= 1


@pytest.mark.parametrize(
    ("values", "significant"), [(RAMP // 64 * 257, None), (RAMP, 16), (np.zeros((16, 16), int), None)]
)
def test_a_dark_png_is_read_where_its_range_is_sure(values, significant):
    assert (grey(png(values, significant)) == np.round(values / 257)).all()


def test_a_black_drawing_on_clear_ground_is_read():
    alpha = np.zeros((16, 16), int)
    alpha[4:8] = 65535
    assert sorted(set(grey(png(np.dstack([COLOURS * 0, alpha]))).ravel())) == [0, 255]


@pytest.mark.parametrize("kind", ["pgm", "jpeg2000"])
def test_formats_that_state_their_maximum_are_scaled_by_it(kind):
    if kind == "pgm":
        assert (grey(pgm(RAMP, 4095)) == np.round(RAMP * 255 / 4095)).all()
    else:
        assert np.abs(grey(jpeg2000(RAMP * 16)).astype(int) - RAMP // 16).max() <= 1
