"""`dataset.json`: its labels are read wherever it lies and however it is unambiguously written, or it is refused."""

import json
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


def save(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    return path


def fill(folder, count=30, first=0):
    return [save(folder / f"{number}.png", number) for number in range(first, first + count)]


def loaded(data, root):
    """Both splits, and what was said of the folder."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CellWarning)
        splits = [registry.load(data("folder", 16, root), split) for split in ("train", "validation")]
    return *splits, "\n".join(dict.fromkeys(str(one.message) for one in caught))


def labelled(root, labels):
    (root / "dataset.json").write_text(json.dumps({"labels": labels}))
    return root


def shards(root, count, first=0, classes=3):
    """Images in two shards, and the labels of them."""
    names = [f"{number % 2:05}/img{number}.png" for number in range(first, first + count)]
    for number, name in enumerate(names):
        save(root / name, first + number)
    return [[name, number % classes] for number, name in enumerate(names)]


def test_the_labels_of_dataset_json_are_read_and_shards_are_no_classes(data, root):
    names = [f"{number // 20:05}/img{number:08}.png" for number in range(60)]
    for number, name in enumerate(names):
        save(root / name, number)
    labelled(root, [[name, number % 5] for number, name in enumerate(names[:-1])] + [["00009/none.png", 1]])
    trained, held_out, said = loaded(data, root)
    assert trained.class_names == ("0", "1", "2", "3", "4")
    assert len(trained) + len(held_out) == 59
    counts = np.bincount(np.concatenate([trained.labels, held_out.labels]))
    assert counts.tolist() == [12, 12, 12, 12, 11]
    assert trained.skipped == 2
    assert "not in dataset.json" in said
    assert "00009/none.png (in dataset.json, but there is no such image)" in said


def test_a_dataset_json_without_labels_makes_no_classes(data, root):
    fill(root / "00000")
    labelled(root, None)
    trained, _, said = loaded(data, root)
    assert trained.labels is None
    assert "has no labels" in said


def test_labels_at_the_root_go_with_the_folders_that_are_splits(data, root):
    listed = [[f"{split}/{name}", label] for split, count in (("train", 12), ("val", 6), ("test", 2))
              for name, label in shards(root / split, count, 100 * count)]  # fmt: skip
    trained, held_out, said = loaded(data, labelled(root, listed))
    assert (len(trained), len(held_out), trained.skipped) == (12, 6, 2)
    assert np.bincount(held_out.labels).tolist() == [2, 2, 2]
    assert "val/ is held out" in said
    assert "in test/" in said


def test_folders_that_are_splits_are_splits_without_labels_too(data, root):
    shards(root / "train", 12)
    shards(root / "val", 6, 50)
    assert [len(one) for one in loaded(data, labelled(root, None))[:2]] == [12, 6]


def test_labels_at_the_root_of_one_folder_are_read_as_ever(data, root):
    labelled(root, [[f"train/{name}", label] for name, label in shards(root / "train", 40)])
    assert sum(map(len, loaded(data, root)[:2])) == 40


def test_each_split_may_have_its_own_labels(data, root):
    labelled(root / "train", shards(root / "train", 12))
    labelled(root / "val", shards(root / "val", 6, 50, 2))
    trained, held_out, said = loaded(data, root)
    assert trained.class_names == ("0", "1", "2")
    assert (len(trained), len(held_out), trained.skipped) == (12, 6, 0)
    assert np.bincount(held_out.labels).tolist() == [3, 3]
    assert "train/ is trained on, val/ is held out" in said


def test_what_has_labels_in_a_part_of_it_is_refused(data, root):
    labelled(root / "train", shards(root / "train", 12))
    shards(root / "val", 6, 50)
    with pytest.raises(DataError, match=r"train has a dataset\.json and .*val has none: add one there"):
        registry.check(data("folder", 16, root))
    labelled(root / "val", None)
    with pytest.raises(DataError, match=r"labels in one of train/, val/ .* and none in the other"):
        registry.check(data("folder", 16, root))


def test_a_set_with_labels_is_no_class(data, root):
    labelled(root / "cats", shards(root / "cats", 12))
    labelled(root / "dogs", shards(root / "dogs", 12, 50))
    with pytest.raises(DataError, match=r"cats/dataset\.json in .* a set of its own: set data.path to .*/cats"):
        registry.check(data("folder", 16, root))


def test_another_file_of_that_name_is_only_counted(data, root):
    fill(root / "cats")
    fill(root / "dogs", 30, 100)
    (root / "cats" / "dataset.json").write_text('{"licence": "CC0"}')
    assert "cats/dataset.json (not an image)" in loaded(data, root)[2]


@pytest.mark.parametrize("form", ["floats", "object", "dots", "backslashes", "mark"])
def test_what_is_unambiguous_is_read(data, root, form):
    listed = shards(root, 40)
    change = {
        "floats": lambda: [[name, float(label)] for name, label in listed],
        "object": lambda: dict(listed),
        "dots": lambda: [[f"./{name}", label] for name, label in listed],
        "backslashes": lambda: [[name.replace("/", "\\"), label] for name, label in listed],
        "mark": lambda: listed,
    }[form]
    text = json.dumps({"labels": change()})
    (root / "dataset.json").write_text(text, encoding="utf-8-sig" if form == "mark" else "utf-8")
    trained, held_out, _ = loaded(data, root)
    assert np.bincount([*trained.labels, *held_out.labels]).tolist() == [14, 13, 13]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[]", 'it has no "labels"'),
        ('{"label": []}', 'it has no "labels"'),
        ('{"labels": 3}', '"labels" is 3'),
        ('{"labels": [["a.png", 1, 2]]}', r'\["a.png", 1, 2\] is no file name with its label'),
        ('{"labels": ["ab"]}', '"ab" is no file name with its label'),
        ('{"labels": [["a.png", [0, 1]]]}', r"'a.png' has a list for a label, \[0, 1\]: give the number of its class"),
        ('{"labels": {"a.png": "cat"}}', "'a.png' has the label \"cat\", not a whole number"),
        ('{"labels": {"a.png": 1.5}}', "the label 1.5, not a whole number"),
        ('{"labels": {"a.png": NaN}}', "the label NaN, not a whole number"),
        ('{"labels": {"a.png": null}}', "the label null, not a whole number"),
        ('{"labels": {"a.png": 1, "a.png": 2}}', "'a.png' stands there twice"),
        ('{"labels": [["a.png", 1], ["./a.png", 2]]}', "'a.png' stands there twice"),
        ('{"labels": [["..\\\\a.png", 1]]}', "no name of a file below it"),
    ],
)
def test_what_is_wrong_is_said_in_plain_words(data, root, text, why):
    fill(root)
    (root / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=why):
        registry.check(data("folder", 16, root))


def test_names_that_are_none_of_the_images_are_shown_beside_one(data, root):
    fill(root / "images")
    labelled(root, [["0.png", 1], ["1.png", 0]])
    with pytest.raises(DataError, match=r"none of the 30 images .*\(it has 0\.png, and there is images/0\.png\)"):
        registry.check(data("folder", 16, root))


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"labels": 3}', '{"labels": [["a.png", -1]]}', '{"labels": [["a.png", [0.5]]]}',
     '{"labels": [["../a.png", 1]]}', '{"labels": [["a.png", 1], ["a.png", 2]]}', '{"labels": [["a.png", true]]}'],
)  # fmt: skip
def test_another_dataset_json_is_refused_in_one_sentence(data, root, text):
    fill(root / "00000")
    (root / "dataset.json").write_text(text)
    with pytest.raises(DataError, match=r"dataset\.json is no list of labels") as caught:
        registry.check(data("folder", 16, root))
    assert "\n" not in str(caught.value)
