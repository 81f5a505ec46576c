"""Parquet and arrow files as `datasets` writes them; the hub is never asked."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from pdebench.data import pixels, registry
from pdebench.errors import CellWarning, DataError

SIDE = 8


def picture(seed: int, mode: str = "RGB", kind: str = "PNG", **save) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (10, 12, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(stream, kind, **save)
    return stream.getvalue()


def table(contents, labels=None, label=None, name: str = "image") -> datasets.Dataset:
    """Images, and labels of a feature: ClassLabel by default."""
    columns = {name: [{"bytes": content, "path": None} for content in contents]}
    features = {name: datasets.Image()}
    if labels is not None:
        columns["label"] = labels
        features["label"] = label or datasets.ClassLabel(names=["cat", "dog", "eel"])
    return datasets.Dataset.from_dict(columns, datasets.Features(features))


def numbered(begin: int, end: int, **more) -> datasets.Dataset:
    return table([picture(n) for n in range(begin, end)], [n % 3 for n in range(begin, end)], **more)


def write(made: datasets.Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made.to_parquet(path)
    return path


def both(config):
    return [registry.load(config, split) for split in ("train", "validation")]


def held(parts) -> list[tuple[bytes, int]]:
    return sorted(
        (image.tobytes(), -1 if part.labels is None else int(part.labels[at]))
        for part in parts for at, image in enumerate(part.images)
    )  # fmt: skip


def wanted(begin: int, end: int) -> list[tuple[bytes, int]]:
    return sorted((pixels.centre_crop(pixels.decode(picture(n)), SIDE).tobytes(), n % 3) for n in range(begin, end))


def refused(config, match: str) -> None:
    with pytest.raises(DataError, match=match) as error:
        registry.load(config, "train")
    assert "\n" not in str(error.value)


def test_files_without_splits_are_split_by_hash(data, tmp_path):
    write(numbered(0, 40), tmp_path / "set" / "a.parquet")
    write(numbered(40, 60), tmp_path / "set" / "b.parquet")
    config = data("hf", SIDE, tmp_path / "set")
    parts = both(config)
    assert held(parts) == wanted(0, 60)
    assert parts[0].class_names == ("cat", "dog", "eel")
    assert registry.class_count(config) == 3
    assert 0 < len(parts[1]) < 20
    assert set(parts[0].labels[:12]) == {0, 1, 2}


def test_splits_are_as_the_hub_calls_files(data, tmp_path):
    write(numbered(0, 20), tmp_path / "data" / "train-00000-of-00001.parquet")
    write(numbered(20, 30), tmp_path / "data" / "test-00000-of-00001.parquet")
    parts = both(data("hf", SIDE, tmp_path))
    assert (held(parts[:1]), held(parts[1:])) == (wanted(0, 20), wanted(20, 30))
    write(numbered(30, 35), tmp_path / "data" / "validation-00000-of-00001.parquet")
    with pytest.warns(CellWarning, match=r"of data/test-.*parquet nothing is used"):
        parts = both(data("hf", SIDE, tmp_path))
    assert (held(parts[:1]), held(parts[1:])) == (wanted(0, 20), wanted(30, 35))


def test_what_save_to_disk_writes_is_read(data, tmp_path):
    datasets.DatasetDict({"train": numbered(0, 20), "test": numbered(20, 30)}).save_to_disk(tmp_path / "set")
    parts = both(data("hf", SIDE, tmp_path / "set"))
    assert (held(parts[:1]), held(parts[1:])) == (wanted(0, 20), wanted(20, 30))


def test_validation_is_named(data, tmp_path):
    write(numbered(0, 20), tmp_path / "a" / "x.parquet")
    write(numbered(20, 30), tmp_path / "b.parquet")
    parts = both(data("hf", SIDE, tmp_path / "a", validation=tmp_path / "b.parquet"))
    assert (held(parts[:1]), held(parts[1:])) == (wanted(0, 20), wanted(20, 30))


def test_labels_may_be_plain_numbers_or_absent(data, tmp_path):
    write(numbered(0, 60, label=datasets.Value("int32")), tmp_path / "numbers" / "x.parquet")
    train, _ = both(data("hf", SIDE, tmp_path / "numbers"))
    assert train.class_names == ("0", "1", "2")
    assert registry.class_count(data("hf", SIDE, tmp_path / "numbers")) == 3
    write(table([picture(n) for n in range(60)]), tmp_path / "none" / "x.parquet")
    parts = both(data("hf", SIDE, tmp_path / "none"))
    assert parts[0].labels is parts[0].class_names is registry.class_count(data("hf", SIDE, tmp_path / "none")) is None
    assert sum(map(len, parts)) == 60


def test_any_kind_of_picture_is_decoded_as_elsewhere(data, tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    odd = [picture(1, "RGBA"), picture(2, "L"), picture(3, "CMYK", "JPEG"), picture(4, "RGB", "JPEG", exif=turned)]
    write(table(odd + [picture(n) for n in range(100, 160)]), tmp_path / "x.parquet")
    found = held(both(data("hf", SIDE, tmp_path)))
    for content in odd:
        assert (pixels.centre_crop(pixels.decode(content), SIDE).tobytes(), -1) in found


def test_what_cannot_be_used_is_left_out_and_named(data, tmp_path):
    contents, labels = [picture(n) for n in range(60)], [n % 3 for n in range(60)]
    contents[7], labels[9] = b"%!PS-Adobe-3.0 EPSF-3.0\n", -1
    write(table(contents, labels), tmp_path / "x.parquet")
    with pytest.warns(CellWarning, match=r"2 of 60 images of .*row 9 of x\.parquet \(it has no label\).*row 7 of"):
        parts = both(data("hf", SIDE, tmp_path))
    assert sum(map(len, parts)) == 58
    assert parts[0].skipped == 2


def test_columns_that_could_be_meant_in_two_ways_are_refused(data, tmp_path):
    one, path = numbered(0, 40), tmp_path / "x.parquet"
    write(_with(one, "mask", datasets.Image()), path)
    refused(data("hf", SIDE, tmp_path), r"2 columns of images \(image, mask\)")
    write(_with(one, "fine", datasets.ClassLabel(names=["a"])), path)
    refused(data("hf", SIDE, tmp_path), r"2 columns of classes \(label, fine\)")
    write(one.remove_columns("image"), path)
    refused(data("hf", SIDE, tmp_path), "no column of type Image among label")


def _with(one: datasets.Dataset, name: str, feature) -> datasets.Dataset:
    raw = one.cast_column("image", datasets.Image(decode=False))
    columns = {"image": list(raw["image"]), "label": list(raw["label"])}
    columns[name] = columns["image"] if isinstance(feature, datasets.Image) else [0] * len(raw)
    return datasets.Dataset.from_dict(columns, datasets.Features({**one.features, name: feature}))


def test_files_that_differ_in_classes_are_refused(data, tmp_path):
    write(numbered(0, 20), tmp_path / "a.parquet")
    write(numbered(0, 20, label=datasets.ClassLabel(names=["dog", "cat", "eel"])), tmp_path / "b.parquet")
    refused(data("hf", SIDE, tmp_path), r"b\.parquet and a\.parquet differ in their columns")


def test_paths_in_place_of_images_are_refused(data, tmp_path):
    (tmp_path / "secret.png").write_bytes(picture(1))
    made = datasets.Dataset.from_dict(
        {"image": [{"bytes": None, "path": str(tmp_path / "secret.png")}] * 4},
        datasets.Features({"image": datasets.Image()}),
    )
    with datasets.arrow_writer.ArrowWriter(path=str(tmp_path / "x.arrow"), features=made.features) as writer:
        writer.write_table(made.data.table)
        writer.finalize()
    refused(data("hf", SIDE, tmp_path), "holds the path of an image and not the image")


def test_damaged_files_are_named(data, tmp_path):
    path = write(numbered(0, 40), tmp_path / "x.parquet")
    path.write_bytes(path.read_bytes()[:-30])
    refused(data("hf", SIDE, tmp_path), r"cannot read .*x\.parquet")


def test_other_files_are_another_set(data, tmp_path):
    path = write(numbered(0, 40), tmp_path / "x.parquet")
    before = registry.content(data("hf", SIDE, tmp_path))
    assert len(before) == 32
    write(numbered(1, 41), path)
    assert registry.content(data("hf", SIDE, tmp_path)) != before


def test_a_set_that_is_not_here_is_not_fetched(data, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub")
    config = data("hf", SIDE, set="nobody/nothing")
    registry.check(config)
    refused(config, r"nobody/nothing is not on this machine .* set data\.download: true")
    assert not datasets.config.HF_HUB_OFFLINE


def test_a_set_of_the_hub_that_is_here_is_read_without_asking(data, tmp_path, monkeypatch):
    for name, (begin, end) in {"train": (0, 20), "test": (20, 30)}.items():
        write(numbered(begin, end), tmp_path / f"{name}.parquet")
    asked = []

    def load_dataset(place, configuration):
        asked.append((place, configuration, datasets.config.HF_HUB_OFFLINE))
        files = {name: str(tmp_path / f"{name}.parquet") for name in ("train", "test")}
        return datasets.DatasetDict.from_parquet(files, cache_dir=str(tmp_path / "hub"))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    config = data("hf", SIDE, set="somebody/pets:small", download=True)
    parts = both(config)
    assert (held(parts[:1]), held(parts[1:])) == (wanted(0, 20), wanted(20, 30))
    assert registry.class_count(config) == 3
    assert set(asked) == {("somebody/pets", "small", True)}


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ({}, "needs one of data.path"),
        ({"path": Path("a"), "set": "b"}, "needs one of data.path"),
        ({"set": "a", "validation": Path("b")}, "data.validation is for files"),
        ({"path": Path("/nowhere/a")}, "there is no /nowhere/a"),
        ({"path": Path("/nowhere/a"), "download": True}, "data.download is for a set of the hub"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_read(data, more, match):
    with pytest.raises(DataError, match=match):
        registry.check(data("hf", SIDE, **more))


def test_the_package_is_named_where_it_is_missing(data, tmp_path, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "datasets" else there(name))
    with pytest.raises(DataError, match=r"needs the package datasets: .*\[hf\]"):
        registry.check(data("hf", SIDE, tmp_path))
