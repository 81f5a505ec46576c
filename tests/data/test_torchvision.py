"""Sets of torchvision in their own layouts, written here: none is fetched."""

from __future__ import annotations

import inspect
import io
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from pdebench.data import pixels, registry
from pdebench.data.torchvision_sets import SETS
from pdebench.errors import CellWarning, DataError

SIDE = 8


def idx(path: Path, array: np.ndarray) -> None:
    """Numbers in MNIST's own format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


@pytest.fixture
def mnist(tmp_path):
    random, raw = np.random.default_rng(0), tmp_path / "root" / "MNIST" / "raw"
    for name, count in (("train", 30), ("t10k", 10)):
        idx(raw / f"{name}-images-idx3-ubyte", random.integers(0, 256, (count, 28, 28), np.uint8))
        idx(raw / f"{name}-labels-idx1-ubyte", random.integers(0, 10, count).astype(np.uint8))
    return tmp_path / "root"


def picture(seed: int, mode: str = "RGB", **save) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(stream, "PNG", **save)
    return stream.getvalue()


@pytest.fixture
def sst2(tmp_path):
    """RenderedSST2: a folder for each split and class."""
    root = tmp_path / "root"
    for split, count in (("train", 12), ("valid", 6), ("test", 6)):
        for number in range(count):
            file = root / "rendered-sst2" / split / ("negative", "positive")[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(1000 * len(split) + number))
    return root


def both(config):
    return [registry.load(config, split) for split in ("train", "validation")]


def held(parts) -> list[tuple[bytes, int]]:
    return sorted(
        (image.tobytes(), int(label)) for part in parts for image, label in zip(part.images, part.labels, strict=True)
    )


def test_a_set_is_what_torchvision_reads(data, mnist):
    config = data("torchvision", SIDE, mnist, set="MNIST")
    parts = both(config)
    assert [len(part) for part in parts] == [30, 10]
    for part, train in zip(parts, (True, False), strict=True):
        theirs = torchvision.datasets.MNIST(mnist, train=train)
        assert held([part]) == sorted(
            (pixels.centre_crop(image.convert("RGB"), SIDE).tobytes(), label) for image, label in theirs
        )
        assert list(part.class_names) == theirs.classes
    assert registry.class_count(config) == 10
    assert parts[0].images.dtype == np.uint8
    assert registry.load(config, "train").checksum == parts[0].checksum


def test_bytes_are_read_as_of_any_file(data, sst2):
    folder = sst2 / "rendered-sst2" / "train" / "negative"
    turned = Image.Exif()
    turned[0x0112] = 6
    odd = {
        "alpha": picture(1, "RGBA"),
        "grey": picture(2, "L"),
        "palette": picture(3, "P"),
        "turned": picture(4, exif=turned),
    }
    for name, content in odd.items():
        (folder / f"{name}.png").write_bytes(content)
    train, validation = both(data("torchvision", SIDE, sst2, set="RenderedSST2"))
    assert (len(train), len(validation)) == (16, 6)
    assert train.class_names == ("negative", "positive")
    for content in odd.values():
        assert (pixels.centre_crop(pixels.decode(content), SIDE).tobytes(), 0) in held([train])


def test_what_cannot_be_decoded_is_left_out_and_named(data, sst2):
    (sst2 / "rendered-sst2" / "train" / "negative" / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    with pytest.warns(
        CellWarning, match=r"1 of 19 images of RenderedSST2 in .* is left out: image 6 of train \(not an image"
    ):
        train, _ = both(data("torchvision", SIDE, sst2, set="RenderedSST2"))
    assert (len(train), train.skipped) == (12, 1)


def test_a_set_without_a_held_out_split_is_split_by_hash(data, tmp_path):
    names = [f"class{number}" for number in range(10)]
    for number in range(80):
        file = tmp_path / "eurosat" / "2750" / names[number % 10] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(number))
    train, validation = both(data("torchvision", SIDE, tmp_path, set="EuroSAT"))
    assert len(train) + len(validation) == 80
    assert 0 < len(validation) < 25
    assert train.class_names == tuple(names)


def test_other_images_are_another_set_and_archives_are_not_of_it(data, sst2):
    config = data("torchvision", SIDE, sst2, set="RenderedSST2")
    before = registry.content(config)
    assert len(before) == 32
    (sst2 / "rendered-sst2" / "rendered-sst2.tgz").write_bytes(b"what it was unpacked from")
    assert registry.content(config) == before
    (sst2 / "rendered-sst2" / "train" / "positive" / "1.png").write_bytes(picture(77))
    assert registry.content(config) != before


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({"set": "Cifar10"}, "did you mean 'CIFAR10'"),
        ({"set": "VOCSegmentation"}, "is no set of images with at most one class"),
        ({"set": None}, "needs data.set"),
        ({"set": "CIFAR10"}, r"CIFAR10 is not in .*\(there is no cifar-10-batches-py\).* or set data\.download: true"),
        ({"set": "FER2013"}, r"FER2013 is not in .*: name its root as data\.path$"),
        ({"set": "FER2013", "download": True}, "torchvision cannot fetch FER2013"),
        ({"set": "CIFAR10", "path": None}, "needs data.path"),
        ({"set": "CIFAR10", "validation": Path("a")}, r"does not read data\.validation"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_imported(data, tmp_path, more, match):
    with pytest.raises(DataError, match=match):
        registry.check(data("torchvision", SIDE, **{"path": tmp_path, **more}))


def test_a_damaged_set_is_said_to_be(data, tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}))
    config = data("torchvision", SIDE, tmp_path, set="CIFAR10")
    registry.check(config)
    with pytest.raises(DataError, match=r"CIFAR10 is not in .*not found or corrupted"):
        registry.load(config, "train")


def test_no_set_opens_files_in_its_own_way():
    """Which hands a vector file to an interpreter, and leaves a photograph lying on its side."""
    for name, about in SETS.items():
        of = getattr(torchvision.datasets, name)
        if "loader" not in inspect.signature(of).parameters and name != "ImageNet":  # which hands it on
            opens = "open(" in inspect.getsource(of.__getitem__)
            assert opens == (about.item is not None), name


def test_every_set_that_is_known_is_one_of_torchvision_and_takes_its_keywords():
    for name, about in SETS.items():
        of = getattr(torchvision.datasets, name)
        taken = inspect.signature(of).parameters
        for keywords in (about.train, about.held_out or {}):
            assert set(keywords) <= set(taken) or any(one.kind is one.VAR_KEYWORD for one in taken.values()), name
        if isinstance(getattr(of, "classes", None), list) and name != "EMNIST":
            assert len(of.classes) == about.classes, name
        if about.fetches and name not in ("EMNIST", "KMNIST", "MNIST", "FashionMNIST", "QMNIST"):
            assert "download" in taken, name
