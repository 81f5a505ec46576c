"""What a set of images is: what its files hold. Names, places, sizes and times are not asked."""

import os
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

from pdebench.data import registry
from pdebench.errors import DataError
from pdebench.suite.config import DataConfig


def image(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8))


@pytest.fixture
def root(tmp_path):
    for number in range(40):
        path = tmp_path / "set" / ("a" if number % 2 else "b") / f"{number}.bmp"  # of one size, whatever they show
        path.parent.mkdir(parents=True, exist_ok=True)
        image(number).save(path)
    return tmp_path / "set"


def content(root):
    return registry.content(DataConfig(name="folder", resolution=16, path=root))


def pixels(root):
    return registry.load(DataConfig(name="folder", resolution=16, path=root), "train")


def test_the_same_content_under_other_names_and_times_is_the_same_set(root, tmp_path):
    before = content(root), pixels(root).checksum
    shutil.copytree(root, tmp_path / "elsewhere")
    for number, path in enumerate(sorted((tmp_path / "elsewhere").rglob("*.bmp"))):
        path.rename(path.with_name(f"{1000 - number}.bmp"))
        os.utime(path.with_name(f"{1000 - number}.bmp"), (number, number))
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert (content(tmp_path / "link"), pixels(tmp_path / "link").checksum) == before
    assert content(tmp_path / "elsewhere" / ".." / "elsewhere") == before[0]


def test_one_file_replaced_by_another_of_its_size_and_time_is_another_set(root):
    before = content(root), pixels(root).checksum
    path = root / "a" / "1.bmp"
    about = path.stat()
    image(99).save(path)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert path.stat().st_size == about.st_size
    assert content(root) != before[0]
    assert pixels(root).checksum != before[1]


@pytest.mark.parametrize(
    "change", ["removed", "added", "moved to another class", "class renamed", "class added", "broken added"]
)
def test_what_changes_the_set_changes_the_content(root, change):
    before = content(root)
    if change == "removed":
        (root / "a" / "1.bmp").unlink()
    elif change == "added":
        image(99).save(root / "a" / "99.bmp")
    elif change == "moved to another class":
        (root / "a" / "1.bmp").rename(root / "b" / "1.bmp")
    elif change == "class renamed":
        (root / "a").rename(root / "z")
    elif change == "broken added":  # nothing is decoded to tell what a set is
        (root / "a" / "99.png").write_bytes(b"no pixels")
    else:
        (root / "c").mkdir()
        image(99).save(root / "c" / "99.bmp")
    assert content(root) != before


def test_what_is_no_image_does_not_change_the_content(root):
    before = content(root)
    (root / "a" / "notes.txt").write_text("so much for that")
    assert content(root) == before


def test_content_is_the_same_at_every_resolution(root):
    found = {registry.content(DataConfig(name="folder", resolution=side, path=root)) for side in (8, 16)}
    assert len(found) == 1


def test_a_set_that_changed_is_refused_by_who_expects_the_former(root):
    config = DataConfig(name="folder", resolution=16, path=root)
    before = content(root)
    registry.verify(config, before)
    image(99).save(root / "a" / "1.bmp")
    with pytest.raises(DataError, match=rf"changed since this cell was begun \(content {before[:8]} then"):
        registry.verify(config, before)


def test_packaged_sets_are_known_by_their_names():
    for name in ("emoji", "photos", "noise", "latents"):
        assert registry.content(DataConfig(name=name, resolution=32)) is None


def test_a_file_that_changes_while_it_is_read_is_not_decoded_under_the_former_content(root, monkeypatch):
    from pdebench.data import folder

    read = folder._read

    def changing(path):
        image(99).save(path)
        return read(path)

    monkeypatch.setattr(folder, "_read", changing)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match="was changed while"):
            folder.FolderSource().load(DataConfig(name="folder", resolution=16, path=root), "train")
