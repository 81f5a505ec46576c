"""A user's own images: odd kinds of files, classes, warnings, and errors that say what to do."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pdebench.data import registry
from pdebench.data.split import split_of
from pdebench.errors import DataError


def noise(seed, size=(40, 40)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8))


@pytest.fixture
def images(tmp_path):
    """Forty images in two classes, enough for both splits."""
    root = tmp_path / "images"
    for number in range(40):
        file = root / ("cats" if number % 2 else "dogs") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        noise(number).save(file)
    return root


def both(config):
    return [registry.load(config, split) for split in ("train", "validation")]


def one(data, tmp_path, image, name="one.png", **save):
    """The pixels, (3, 8, 8), of one image saved in a folder that has enough others."""
    root = tmp_path / "one"
    root.mkdir(exist_ok=True)
    before = set(pixels(data("folder", 8, fill(root))))
    image.save(root / name, **save)
    (new,) = set(pixels(data("folder", 8, root))) - before
    return np.frombuffer(new, np.uint8).reshape(3, 8, 8)


def fill(root):
    for number in range(40):
        noise(number).save(root / f"{number}.png")
    return root


def pixels(config):
    return [image.tobytes() for part in both(config) for image in part.images]


def test_sub_folders_are_classes(data, images):
    config = data("folder", path=images)
    train, validation = both(config)
    assert len(train) + len(validation) == 40
    assert train.class_names == ("cats", "dogs")
    assert sorted(np.concatenate([train.labels, validation.labels])) == [0] * 20 + [1] * 20
    assert registry.class_count(config) == 2
    assert not train.images.flags.writeable


def test_loose_images_have_no_classes(data, tmp_path):
    train, _ = both(data("folder", path=fill(tmp_path)))
    assert train.labels is None
    assert train.class_names is None
    assert registry.class_count(data("folder", path=tmp_path)) is None


def test_images_beside_class_folders_are_ambiguous(data, images):
    noise(0).save(images / "stray.png")
    with pytest.raises(DataError, match=r"beside sub-folders with images \(stray\.png, cats/\)"):
        registry.check(data("folder", path=images))


def test_a_duplicate_stays_on_the_side_of_its_twin(data, images):
    for file in list(images.rglob("*.png")):
        (file.parent / f"copy-of-{file.name}").write_bytes(file.read_bytes())
    train, validation = both(data("folder", path=images))
    assert len(train) + len(validation) == 80
    assert not {image.tobytes() for image in train.images} & {image.tobytes() for image in validation.images}


def test_more_images_move_none_across(data, images):
    before = [{image.tobytes() for image in part.images} for part in both(data("folder", path=images))]
    for number in range(100, 130):
        noise(number).save(images / "cats" / f"{number}.png")
    after = [{image.tobytes() for image in part.images} for part in both(data("folder", path=images))]
    assert all(old <= new for old, new in zip(before, after, strict=True))
    assert sum(map(len, after)) == 70


def test_a_changed_file_is_decoded_afresh(data, images):
    config = data("folder", path=images)
    before = registry.load(config, "train").checksum
    for file in (images / "cats").glob("*.png"):
        noise(999 + int(file.stem)).save(file)
    assert registry.load(config, "train").checksum != before


def test_transparency_is_white_without_halos(data, tmp_path):
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))  # clear pixels that hide black
    image.paste((255, 0, 0, 255), (24, 0, 64, 64))
    result = one(data, tmp_path, image)
    assert (result[0] >= 250).all()  # red is 255 on either side of the edge, and so between
    assert (result[:, :, 0] >= 250).all()


@pytest.mark.parametrize("mode", ["L", "P", "LA", "CMYK", "1"])
def test_modes_become_rgb(data, tmp_path, mode):
    grey = Image.new("RGB", (32, 32), (255, 255, 255)).convert(mode)
    name = "x.jpg" if mode == "CMYK" else "x.png"
    assert (one(data, tmp_path, grey, name) > 250).all()


def test_sixteen_bits_are_scaled_not_clipped(data, tmp_path):
    image = Image.fromarray(np.full((16, 16), 0x8080, np.uint16))
    assert (one(data, tmp_path, image) == 0x80).all()


def test_exif_orientation_is_applied(data, tmp_path):
    image = Image.new("RGB", (32, 32), "white")
    image.paste("black", (0, 0, 32, 16))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    result = one(data, tmp_path, image, "x.jpg", exif=exif, quality=100)
    assert result[:, -2:].max() < 10
    assert result[:, :2].min() > 245


def test_the_centred_square_is_kept(data, tmp_path):
    image = Image.new("RGB", (96, 32), "red")
    image.paste("blue", (32, 0, 64, 32))
    result = one(data, tmp_path, image)
    assert (result == np.array([0, 0, 255]).reshape(3, 1, 1)).all()


def test_broken_files_are_named_counted_and_left_out(data, images):
    whole = (images / "cats" / "1.png").read_bytes()
    (images / "cats" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (images / "dogs" / "text.jpg").write_text("not pixels")
    with pytest.warns(UserWarning, match=r"2 of 42 images in .* are left out: .*(cut\.png|text\.jpg).*") as caught:
        train, validation = both(data("folder", path=images))
    assert "cut.png" in str(caught[0].message)
    assert "text.jpg (not an image)" in str(caught[0].message)
    assert train.skipped == validation.skipped == 2
    assert len(train) + len(validation) == 40


def test_a_decompression_bomb_is_left_out(data, images, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    noise(7, (60, 60)).save(images / "cats" / "bomb.png")
    with pytest.warns(UserWarning, match=r"bomb\.png \(too many pixels"):
        assert registry.load(data("folder", path=images), "train").skipped == 1


def test_enlarging_is_allowed_and_said(data, images):
    with pytest.warns(UserWarning, match=r"40 of 40 images .* smaller than 64 px and were enlarged"):
        registry.load(data("folder", 64, images), "train")


def test_a_sound_folder_warns_of_nothing(data, images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both(data("folder", path=images))


def test_loops_of_links_end(data, images):
    (images / "cats" / "again").symlink_to(images, target_is_directory=True)
    (images / "dogs" / "self").symlink_to(images / "dogs", target_is_directory=True)
    train, validation = both(data("folder", path=images))
    assert len(train) + len(validation) == 40


def test_hidden_files_are_not_images(data, images):
    (images / "cats" / "._1.png").write_bytes(b"resource fork")
    (images / ".thumbnails").mkdir()
    noise(1).save(images / ".thumbnails" / "1.png")
    assert registry.load(data("folder", path=images), "train").class_names == ("cats", "dogs")


def test_errors_say_what_is_wrong(data, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.png").write_bytes(b"")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.png").write_text("version https://git-lfs.example/spec/v1")
    for path, message in [
        (None, "needs data.path"),
        (Path(), "needs data.path"),
        (tmp_path / "nowhere", "there is no folder"),
        (tmp_path / "file.png", "is a file, not a folder"),
        (tmp_path / "empty", "no images in"),
        (broken, "the one file in .* is no image"),
    ]:
        with pytest.raises(DataError, match=message):
            registry.check(data("folder", path=path))
    with pytest.raises(DataError, match="at least 1 px"):
        registry.check(data("folder", 0, tmp_path))


@pytest.mark.parametrize(("kept", "missing"), [("train", "validation"), ("validation", "train")])
def test_an_empty_split_is_known_before_training(data, images, kept, missing):
    for file in images.rglob("*.png"):
        if split_of(file.read_bytes()) != kept:
            file.unlink()
    with pytest.raises(DataError, match=f"the {missing} split of .* is empty .*add images"):
        registry.check(data("folder", path=images))


def test_a_folder_whose_images_are_all_cut_short_is_an_error(data, images):
    for file in images.rglob("*.png"):
        os.truncate(file, file.stat().st_size // 2)
    with (
        pytest.warns(UserWarning, match="and 35 more"),
        pytest.raises(DataError, match=r"none of the 40 images .* can be decoded"),
    ):
        registry.load(data("folder", path=images), "train")


@pytest.mark.parametrize(
    ("pixels", "save", "grey"),
    [
        (np.full((16, 16), 0x0808, np.uint16), {"name": "x.png"}, 8),  # 8 bits that were scaled to PNG's 16
        (np.full((16, 16), 2048, np.uint16), {"name": "x.tif", "tiffinfo": {281: 4095}}, 128),  # the file says 12 bits
        (np.full((16, 16), 100, np.int32), {"name": "x.tif", "tiffinfo": {281: 200}}, 128),
        (np.full((16, 16), 0x8080, np.uint16), {"name": "x.tif"}, 128),
    ],
)
def test_deep_grey_is_scaled_by_what_its_file_says(data, tmp_path, pixels, save, grey):
    assert (one(data, tmp_path, Image.fromarray(pixels), **save) == grey).all()


@pytest.mark.parametrize(
    "pixels",
    [
        np.linspace(0, 4095, 256).reshape(16, 16).astype(np.uint16),  # 12 bits in 16, and nothing says so
        np.linspace(0, 255, 256).reshape(16, 16).astype(np.int32),
        np.linspace(0, 1, 256).reshape(16, 16).astype(np.float32),
    ],
)
def test_deep_grey_of_unknown_range_is_left_out_and_not_shown_black(data, images, pixels):
    Image.fromarray(pixels).save(images / "cats" / "deep.tif")
    with pytest.warns(UserWarning, match=r"cats/deep\.tif .*range"):
        train, validation = both(data("folder", path=images))
    assert len(train) + len(validation) == 40


def test_sixteen_bits_a_colour_that_would_be_black_are_left_out(data, images):
    tifffile = _rgb16(np.random.default_rng(0).integers(0, 4096, (16, 16, 3), np.uint16))
    (images / "cats" / "deep.tif").write_bytes(tifffile)
    (images / "dogs" / "full.tif").write_bytes(_rgb16(np.full((16, 16, 3), 0x8000, np.uint16)))
    with pytest.warns(UserWarning, match=r"1 of 42 images .*cats/deep\.tif \(16 bits a colour") as caught:
        train, validation = both(data("folder", path=images))
    assert "full.tif" not in "".join(str(one.message) for one in caught)
    assert len(train) + len(validation) == 41


def _rgb16(values):
    """A TIFF of 16 bits a colour, which Pillow reads and does not write."""
    from struct import pack

    h, w, _ = values.shape
    entries = [(256, 3, 1, w), (257, 3, 1, h), (258, 3, 3, 8 + 2 + 12 * 8 + 4), (259, 3, 1, 1), (262, 3, 1, 2),
               (273, 4, 1, 8 + 2 + 12 * 8 + 4 + 6), (277, 3, 1, 3), (279, 4, 1, values.nbytes)]  # fmt: skip
    table = b"".join(
        pack("<HHI", tag, kind, count) + (pack("<HH", value, 0) if kind == 3 and count == 1 else pack("<I", value))
        for tag, kind, count, value in entries
    )
    return (
        b"II*\0" + pack("<I", 8) + pack("<H", 8) + table + pack("<I", 0) + pack("<HHH", 16, 16, 16) + values.tobytes()
    )


@pytest.mark.parametrize("form", ["tif", "gif", "png", "webp"])
def test_further_pages_are_said(data, images, form):
    pages = [noise(seed) for seed in (90, 91, 92)]
    pages[0].save(images / "cats" / f"stack.{form}", save_all=True, append_images=pages[1:])
    with pytest.warns(UserWarning, match="1 of 41 images .* several pages"):
        train, validation = both(data("folder", path=images))
    assert len(train) + len(validation) == 41


def test_a_file_that_cannot_be_read_just_now_is_not_left_out_for_ever(data, images, monkeypatch):
    from pdebench.data import pixels

    config, decode = data("folder", 32, images), pixels.read
    monkeypatch.setattr(pixels, "read", lambda data: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        registry.load(config, "train")
    monkeypatch.setattr(pixels, "read", decode)
    assert sum(map(len, both(config))) == 40
