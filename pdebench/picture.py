"""Images side by side as one picture. `torchvision.utils.make_grid` does the same, but takes a second to import."""

from __future__ import annotations

import io

from torch import Tensor

GAP = 2  # white pixels between images, and around them


def png_grid(images: Tensor, columns: int) -> bytes:
    """uint8 images (N, 3, H, W), N at least 1, row by row as a PNG of so many columns, fewer if there are fewer."""
    from PIL import Image

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
