"""Random stand-ins: the same in every process, of the shape that they stand for."""

import numpy as np
import pytest

from pdebench.data import registry
from pdebench.errors import DataError


@pytest.mark.parametrize(("name", "channels"), [("noise", 3), ("latents", 4)])
def test_noise_has_the_shape_that_it_stands_for_and_does_not_change(data, name: str, channels: int) -> None:
    config = data(name, 16)
    train, again = registry.load(config, "train"), registry.load(config, "train")
    assert train.images.shape[1:] == (channels, 16, 16)
    assert train.images.dtype == np.uint8
    assert train.checksum == again.checksum
    assert np.array_equal(train.images, again.images)
    assert registry.class_count(config) == len(train.class_names) == 1000
    assert set(train.labels.tolist()) <= set(range(1000))
    assert len(registry.load(config, "validation")) == 0


def test_noise_takes_no_path(data, tmp_path) -> None:
    with pytest.raises(DataError, match="takes no path"):
        registry.check(data("noise", 16, path=tmp_path))
