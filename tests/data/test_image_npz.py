"""Images as ADM's .npz: what numpy reads is what was written, and not compressed."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from pdebench.data import image_npz


@pytest.mark.parametrize(("count", "channels"), [(1, 3), (5, 1), (600, 3)])
def test_numpy_reads_the_same_images(count: int, channels: int) -> None:
    images = np.random.default_rng(count).integers(0, 255, (count, channels, 4, 6), dtype=np.uint8)
    buffer, again = io.BytesIO(), io.BytesIO()
    image_npz.write_images(images, buffer)
    image_npz.write_images(images, again)
    assert buffer.getvalue() == again.getvalue()
    buffer.seek(0)
    with np.load(buffer) as found:
        assert list(found) == ["arr_0"]
        np.testing.assert_array_equal(found["arr_0"], np.repeat(images.transpose(0, 2, 3, 1), 3 // channels, 3))
    with zipfile.ZipFile(buffer) as archive:
        assert [one.compress_type for one in archive.infolist()] == [zipfile.ZIP_STORED]


def test_latents_are_no_images() -> None:
    with pytest.raises(TypeError, match="4 channels"):
        image_npz.write_images(np.zeros((2, 4, 8, 8), np.float32), io.BytesIO())
