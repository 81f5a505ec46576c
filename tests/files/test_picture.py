"""Images side by side: each where it belongs, white between them."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pdebench.files.picture import GAP, png_grid


@pytest.mark.parametrize(("count", "columns", "rows", "across"), [(5, 3, 2, 3), (4, 8, 1, 4), (1, 8, 1, 1)])
def test_every_image_stands_in_its_place(count: int, columns: int, rows: int, across: int) -> None:
    images = torch.randint(0, 255, (count, 3, 4, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    picture = np.asarray(Image.open(io.BytesIO(png_grid(images, columns))))
    assert picture.shape == (rows * (4 + GAP) + GAP, across * (6 + GAP) + GAP, 3)
    seen = np.zeros(picture.shape[:2], bool)
    for i in range(count):
        top, left = GAP + i // across * (4 + GAP), GAP + i % across * (6 + GAP)
        place = np.s_[top : top + 4, left : left + 6]
        assert np.array_equal(picture[place], images[i].permute(1, 2, 0))
        seen[place] = True
    assert (picture[~seen] == 255).all()
