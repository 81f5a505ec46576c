#!/usr/bin/env bash
# Pillow 13.0.0.
#
# A PNG without an alpha channel may name one colour that is transparent (tRNS). Pillow compares pixels with the number in
# the file, but has changed the pixels: grey of 2 and 4 bits is scaled to 8, so that of 4 bits 5 has become 85 and none
# is 5 any more, and of colours of 16 bits it keeps the upper byte and compares that with the lower byte of the number.
# `convert("RGBA")` is then opaque everywhere, while `has_transparency_data` says that it is not. Grey of 16 bits becomes
# RGBA that is opaque, too, and clipped besides. Of 8 bits it is right, and so it is where both bytes are equal.
#
# It hurts whoever lays drawings, glyphs or icons on white, or takes their outline from alpha. Programs that make PNG files
# smaller store grey in 2 or 4 bits where that is enough; the ground then shows the colour that was to be clear, which may
# be black, beside the same drawings of 8 bits on white.
set -euo pipefail
folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -q pillow==13.0.0
"$folder/env/bin/python" - <<'PY'
import io
import struct
import zlib

from PIL import Image


def png(kind, bits, pixels, clear):
    """One row of two pixels, of which the first is transparent."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 2, 1, bits, kind, 0, 0, 0)), (b"tRNS", clear),
        (b"IDAT", zlib.compress(b"\0" + pixels)), (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def deep(*values):
    return struct.pack(f">{len(values)}H", *values)


files = {
    "grey, 8 bits": png(0, 8, bytes([85, 170]), deep(85)),
    "grey, 4 bits": png(0, 4, bytes([0x5A]), deep(5)),
    "grey, 2 bits": png(0, 2, bytes([0b01100000]), deep(1)),
    "grey, 16 bits": png(0, 16, deep(0x5507, 0xAA07), deep(0x5507)),
    "colour, 8 bits": png(2, 8, bytes([10, 20, 30, 40, 50, 60]), deep(10, 20, 30)),
    "colour, 16 bits, both bytes equal": png(2, 16, deep(*[257 * v for v in range(1, 7)]), deep(257, 514, 771)),
    "colour, 16 bits": png(2, 16, deep(*[256 * v for v in range(1, 7)]), deep(256, 512, 768)),
}
found = {}
for name, data in files.items():
    image = Image.open(io.BytesIO(data))
    alpha = image.convert("RGBA").getchannel("A").tobytes()
    found[name] = list(alpha)
    print(f"{name:34} has_transparency_data {image.has_transparency_data}, alpha {list(alpha)}, to be [0, 255]")
right = [name for name, alpha in found.items() if alpha == [0, 255]]
assert right == ["grey, 8 bits", "colour, 8 bits", "colour, 16 bits, both bytes equal"], "the behaviour has changed"
assert all(found[name] == [255, 255] for name in found.keys() - set(right)), "the behaviour has changed"
PY
