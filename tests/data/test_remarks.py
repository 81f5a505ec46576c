"""What is to be known of a folder is said in one line each, however many files and classes it is true of."""

import json
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

from pdebench.data import pixels, registry
from pdebench.errors import CellWarning


@pytest.fixture
def root(tmp_path):
    return tmp_path / "set"


def fill(folder, count=30, first=0):
    folder.mkdir(parents=True)
    for number in range(first, first + count):
        image = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


def said(data, root):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CellWarning)
        registry.load(data("folder", 16, root), "train")
    return [str(one.message) for one in caught]


def test_classes_that_are_not_held_out_are_said(data, root):
    for number, name in enumerate("abc"):
        fill(root / "train" / name, 4, 100 * number)
    fill(root / "val" / "a", 4, 50)
    assert any("2 of 3 classes have no image that is held out" in one and "'b', 'c'" in one for one in said(data, root))
    fill(root / "val" / "b", 4, 150)
    assert any("class 'c' has no image that is held out (the loss" in one for one in said(data, root))


def test_labels_with_gaps_are_one_remark(data, root):
    fill(root)
    listed = [[f"{number}.png", 1000 * (number % 3)] for number in range(30)]
    (root / "dataset.json").write_text(json.dumps({"labels": listed}))
    remarks = said(data, root)
    assert len(remarks) < 5
    (gaps,) = [one for one in remarks if "that can be used" in one]
    assert "1,998 of 2,001 classes have no image that can be used: '1', '2', '3', '4', '5' and 1,993 more" in gaps


def test_reasons_are_few_too(data, root, monkeypatch):
    fill(root)
    read = pixels.read

    def failing(data):
        if len(failed) < 20:
            failed.append(data)
            raise pixels.Damaged(f"broken in its own way, {len(failed)}")
        return read(data)

    failed = []
    monkeypatch.setattr(pixels, "read", failing)
    (one,) = [one for one in said(data, root) if "left out" in one]
    assert "20 of 30 images" in one
    assert one.endswith("; 10 more for 10 other reasons")


def test_an_image_in_two_classes_is_said_with_an_example(data, root):
    fill(root / "cats")
    fill(root / "dogs", 30, 100)
    for number in (1, 2):
        shutil.copy(root / "cats" / f"{number}.png", root / "dogs" / f"{number}.png")
    shutil.copy(root / "cats" / "3.png", root / "cats" / "copy.png")
    torn, alike = (one for one in said(data, root) if "byte for byte" in one)
    assert "2 of 63 images in" in torn
    assert "more than one class, byte for byte, such as cats/1.png and dogs/1.png" in torn
    assert "1 of 63 images in" in alike
