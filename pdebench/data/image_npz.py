"""Images as ADM's `.npz` has them, which other code bases evaluate: `arr_0`, (N, H, W, 3) bytes (arXiv 2105.05233)."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from pdebench.data.rows import Rows

AT_ONCE = 256  # images in memory


def write_images(images: Rows, file: BinaryIO) -> None:
    """Write images (N, C, H, W) uint8, not compressed, so that a reader may map them; grey ones become RGB.

    They are read a part at a time.
    """
    count, channels, height, width = images.shape
    if images.dtype != np.uint8 or channels not in (1, 3):
        raise TypeError(f"images of {channels} channels of {images.dtype} are no pictures")
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, height, width, 3)}
    # its date is zip's first, so that the same images are the same bytes
    member = zipfile.ZipInfo("arr_0.npy")
    with zipfile.ZipFile(file, "w") as archive, archive.open(member, "w", force_zip64=True) as array:
        np.lib.format.write_array_header_1_0(array, header)
        for begin in range(0, count, AT_ONCE):
            part = np.asarray(images[begin : begin + AT_ONCE]).transpose(0, 2, 3, 1)
            array.write(np.ascontiguousarray(np.broadcast_to(part, (*part.shape[:3], 3))).data)
