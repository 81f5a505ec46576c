"""Known layouts are read as their owners mean them, or refused; every file is used, or counted with its reason."""

import os
import warnings

import numpy as np
import pytest
from PIL import Image

from pdebench.data import registry
from pdebench.errors import CellWarning, DataError


@pytest.fixture
def root(tmp_path):
    """A folder of its own: the cache of these tests lies beside it."""
    (tmp_path / "set").mkdir()
    return tmp_path / "set"


def save(path, seed, form=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(image).save(path, form)
    return path


def fill(folder, count=30, first=0, suffix=".png"):
    for number in range(first, first + count):
        save(folder / f"{number}{suffix}", number)
    return folder


def loaded(data, root):
    """Both splits, and what was said of the folder."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        splits = [registry.load(data("folder", 16, root), split) for split in ("train", "validation")]
    said = [str(one.message) for one in caught]
    assert all(one.category is CellWarning for one in caught)
    return *splits, "\n".join(dict.fromkeys(said))


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        ("train", "val"), ("Training", "valid"), ("train", "validation"), ("train", "dev"), ("train", "eval"),
        ("train2017", "val2017"), ("train_images", "val_images"), ("trainSet", "Holdout set"), ("training", "held-out"),
    ],
)  # fmt: skip
def test_folders_of_splits_are_splits(data, root, train, validation):
    for name, first in (("cat", 0), ("dog", 100)):
        fill(root / train / name, 12, first)
        fill(root / validation / name, 3, first + 50)
    trained, held_out, said = loaded(data, root)
    assert trained.class_names == held_out.class_names == ("cat", "dog")
    assert (len(trained), len(held_out)) == (24, 6)
    assert np.bincount(held_out.labels).tolist() == [3, 3]
    assert f"{train}/ is trained on" in said
    assert registry.class_count(data("folder", 16, root)) == 2


def test_splits_without_classes_are_splits_too(data, root):
    fill(root / "train", 9)
    fill(root / "val", 2, 50)
    trained, held_out, _ = loaded(data, root)
    assert (len(trained), len(held_out)) == (9, 2)
    assert trained.labels is None


def test_a_test_split_is_neither_trained_on_nor_held_out_and_counted(data, root):
    for name, count in (("train", 9), ("val", 2), ("test", 4)):
        fill(root / name, count, 100 * count)
    trained, held_out, said = loaded(data, root)
    assert (len(trained), len(held_out), trained.skipped) == (9, 2, 4)
    assert "4 of 15 files" in said
    assert "in test/" in said


def test_images_in_both_splits_are_said(data, root):
    fill(root / "train", 9)
    fill(root / "val", 4, 7)
    assert "2 images in" in loaded(data, root)[2]


@pytest.mark.parametrize(
    ("folders", "why"),
    [
        (["train"], "no val/"),
        (["train/a", "train/b", "test/a", "test/b"], "no val/"),
        (["val/a", "val/b"], "no train/"),
        (["train", "val", "extra"], "beside extra/"),
        (["train", "val", "validation"], "two folders for one split"),
        (["train/a", "val/b"], "other classes than those that are trained on \\(b/\\)"),
        (["train/a", "val"], "other classes than those that are trained on \\(it has none\\)"),
        (["imagenet/train/a", "imagenet/val/a"], "set data.path to .*imagenet"),
        (["Data/CLS-LOC/train/a", "Data/CLS-LOC/val/a"], "set data.path to .*Data/CLS-LOC"),
        (["birds/heron", "birds/stork"], "set data.path to .*birds"),
        (["training_set", "test_set"], "no val/"),
        (["train", "test", "extra"], "beside extra/"),
        (["train_hr", "valid_hr"], "called as splits are, train_hr/, valid_hr/: if they are splits, call them train/"),
        (["DIV2K_train_HR", "DIV2K_valid_HR", "extra"], "called as splits are"),
        (["trainA", "trainB", "testA", "testB"], "called as splits are"),
        (["images", "masks"], "parts of the same samples and no classes: set data.path to .*/images"),
        (["JPEGImages", "SegmentationClass"], "parts of the same samples"),
        (["train/images", "train/labels", "val/images", "val/labels"], "parts of the same samples"),
        (["cat/images", "cat/masks", "dog/images"], "parts of the same samples"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data, root, folders, why):
    for number, folder in enumerate(folders):
        fill(root / folder, 12, 100 * number)
    with pytest.raises(DataError, match=why):
        registry.check(data("folder", 16, root))


@pytest.mark.parametrize(
    "names",
    [
        ("bus", "train"),
        ("bus", "test_tube", "train", "truck"),
        ("device", "testudo", "trainer", "valley"),
        ("bus", "car", "test_tube", "train_station"),
        ("invalid", "valid"),
        ("images", "labels", "photographs"),
    ],
)
def test_a_class_may_be_called_train(data, root, names):
    for number, name in enumerate(names):
        fill(root / name, 30, 100 * number)
    assert loaded(data, root)[0].class_names == names


@pytest.mark.parametrize("suffix", [".avif", ".jfif", ".jp2", ".tga", ".qoi"])
def test_what_pillow_reads_is_read_whatever_its_suffix(data, root, suffix):
    fill(root / "a")
    fill(root / "b", 30, 100, suffix)
    trained, held_out, said = loaded(data, root)
    assert trained.class_names == ("a", "b")
    assert len(trained) + len(held_out) == 60
    assert not said


def test_an_image_is_one_without_a_suffix_too(data, root):
    fill(root)
    save(root / "photo", 77, "PNG")
    assert sum(map(len, loaded(data, root)[:2])) == 31


def test_every_file_that_is_left_out_is_counted_and_named(data, root):
    fill(root / "a")
    fill(root / "b", 30, 100)
    (root / "a" / "notes.txt").write_text("so much for that")
    (root / "a" / "gone.png").symlink_to("nowhere")
    (root / "a" / "itself.png").symlink_to("itself.png")
    os.mkfifo(root / "a" / "pipe.png")
    (root / "a" / "cut.png").write_bytes((root / "a" / "1.png").read_bytes()[:300])
    (root / "a" / ".hidden.png").write_bytes(b"")
    (root / "b" / "drawing.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n")
    (root / "c").mkdir()
    (root / "c" / "list.csv").write_text("a,b\n" * 20)
    trained, _, said = loaded(data, root)
    assert trained.skipped == 8
    assert "8 of 68 files" in said
    for name, why in [
        ("a/notes.txt", "not an image"),
        ("a/gone.png", "a link that leads nowhere"),
        ("a/itself.png", "a link that leads nowhere"),
        ("a/pipe.png", "no plain file"),
        ("a/.hidden.png", "hidden"),
        ("a/cut.png", ""),
        ("b/drawing.eps", "not an image"),
        ("c/list.csv", "not an image"),
    ]:
        assert name in said
        assert why in said
    assert "no image in c/" in said
    assert trained.class_names == ("a", "b")


def test_a_class_without_an_image_to_train_on_is_said(data, root):
    fill(root / "a")
    from pdebench.data.split import split_of

    seed = next(n for n in range(100, 999) if split_of(save(root / "b" / "0.png", n).read_bytes()) == "validation")
    save(root / "b" / "0.png", seed)
    (root / "d").mkdir()
    (root / "d" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    said = loaded(data, root)[2]
    assert "class 'b' has no image to train on" in said
    assert "class 'd' has no image that can be used" in said


def test_a_folder_of_other_things_says_what_is_there(data, root):
    for number in range(3):
        (root / f"{number}.tar").write_bytes(bytes(100))
    with pytest.raises(DataError, match=r"no images in .*3 other files \(3 \.tar\)"):
        registry.check(data("folder", 16, root))
