"""Photographs and masks: what is read of them, that both are cropped alike, and each thing that is refused."""

import dataclasses
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pdebench.cli import app
from pdebench.data import registry, sprites
from pdebench.data.masks.classes import ADE20K, CITYSCAPES, CITYSCAPES_IDS
from pdebench.data.masks.values import among_ids, from_one, plain, read_mask
from pdebench.data.packed.images import pack
from pdebench.data.source import SPLITS
from pdebench.data.statistics import statistics
from pdebench.errors import DataError

SIDE = 24


def photograph(number, size=(36, SIDE)):
    """A picture whose left half is dark and whose right half is light, with some noise that tells it from others."""
    noise = np.random.default_rng(number).integers(0, 20, (size[1], size[0], 3))
    step = np.where(np.arange(size[0]) < size[0] // 2, 20, 200)
    return Image.fromarray((noise + step[None, :, None]).astype(np.uint8))


def halves(left, right, size=(36, SIDE)):
    """A mask of the same two halves."""
    row = np.where(np.arange(size[0]) < size[0] // 2, left, right)
    return Image.fromarray(np.broadcast_to(row, size[::-1]).astype(np.uint8))


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def folder(tmp_path):
    """A plain folder of 12 pairs, 8 to train on and 4 held out."""
    root = tmp_path / "set"
    for number in range(12):
        split = "train" if number < 8 else "val"
        write(root / "images" / split / f"{number}.png", photograph(number))
        write(root / "masks" / split / f"{number}.png", halves(0, 2))
    (root / "classes.txt").write_text("road\ncar\nsky\n")
    return root


@pytest.fixture
def load(data):
    def loaded(root, split="train", name="masks", resolution=SIDE, **more):
        return registry.load(data(name, resolution, root, **more), split)

    return loaded


def test_images_come_with_their_maps(folder, load, data):
    train, held_out = load(folder), load(folder, "validation")
    assert (len(train), len(held_out)) == (8, 4)
    assert train.map_names == ("road", "car", "sky")
    assert registry.class_count(data("masks", SIDE, folder), "maps") == 3
    assert registry.class_count(data("masks", SIDE, folder)) is None
    assert train.labels is None
    for images in (train, held_out):
        assert images.maps.dtype == np.uint8
        assert images.maps.shape == (len(images), SIDE, SIDE)
        light = np.asarray(images.images).mean(1) > 110
        assert ((images.maps == 2) == light).all()  # cropped alike: the centred square of either has both halves


@pytest.mark.parametrize("resolution", [7, 16, 48])
def test_masks_are_never_blended(folder, load, resolution):
    maps = load(folder, resolution=resolution).maps
    assert set(np.unique(maps)) == {0, 2}  # 1 lies between them
    assert np.mean(maps == 2) == pytest.approx(0.5, abs=0.5 / resolution + 1e-9)


def test_images_are_resized_with_antialiasing_and_masks_are_not(folder, load):
    stripes = np.tile([0, 255], SIDE // 2).astype(np.uint8)
    for path in (folder / "images").rglob("*.png"):
        Image.fromarray(np.broadcast_to(stripes[None, :, None], (SIDE, SIDE, 3)).copy()).save(path)
        Image.fromarray(np.broadcast_to((stripes > 0) * np.uint8(2), (SIDE, SIDE)).copy()).save(
            folder / "masks" / path.relative_to(folder / "images")
        )
    found = load(folder, resolution=SIDE // 3)
    assert np.asarray(found.images).std() < 70  # nearest pixels would have kept 127
    assert set(np.unique(found.maps)) <= {0, 2}


def test_without_splits_a_hash_holds_out_some(tmp_path, load):
    for number in range(40):
        write(tmp_path / "images" / f"{number}.png", photograph(number))
        write(tmp_path / "masks" / f"{number}.png", halves(0, 1))
    train, held_out = (load(tmp_path, split, classes=2) for split in ("train", "validation"))
    assert len(train) + len(held_out) == 40
    assert len(held_out) > 0
    assert train.map_names == ("0", "1")


def test_what_the_set_is_is_what_its_files_hold(folder, data, tmp_path):
    before = registry.content(data("masks", SIDE, folder))
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    (moved / "images/train/0.png").rename(moved / "images/train/other.png")
    (moved / "masks/train/0.png").rename(moved / "masks/train/other.png")
    assert registry.content(data("masks", SIDE, moved)) == before
    halves(0, 1).save(moved / "masks/train/3.png")
    assert registry.content(data("masks", SIDE, moved)) != before
    (folder / "classes.txt").write_text("road\ncar\nsea\n")
    assert registry.content(data("masks", SIDE, folder)) != before


def test_maps_are_of_the_checksum_and_survive_the_cache(folder, load):
    first, again = load(folder), load(folder)
    assert first.checksum == again.checksum
    assert (first.maps == again.maps).all()
    halves(1, 2).save(folder / "masks/train/0.png")
    assert load(folder).checksum != first.checksum


def test_a_damaged_cache_of_maps_is_built_again(folder, load, cache):
    first = load(folder)
    (kept,) = cache.glob("*.train.maps.npy")
    damaged = bytearray(kept.read_bytes())
    damaged[-5] ^= 1
    expected = np.array(first.maps)
    kept.write_bytes(damaged)
    assert (load(folder).maps == expected).all()


# ---- values


def png(image, tmp_path, **options):
    path = tmp_path / "one.png"
    image.save(path, **options)
    return path.read_bytes()


VALUES = np.array([[0, 1, 2], [3, 255, 1]], np.uint8)


def test_a_palette_is_read_by_its_indices(tmp_path):
    image = Image.fromarray(VALUES % 4)
    image = image.convert("L")
    indexed = Image.frombytes("P", image.size, image.tobytes())
    indexed.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    for bits in (2, 8):
        data = png(indexed, tmp_path, bits=bits)
        assert (read_mask(data, "one", plain(4)) == VALUES % 4).all()


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_of_few_bits_is_read_as_it_is_stored(tmp_path, bits):
    values = VALUES % min(4, 2**bits)
    stored = _grey_png(values, bits)
    assert (read_mask(stored, "one", plain(4)) == values).all()


def test_grey_of_sixteen_bits_is_read_as_it_is_stored(tmp_path):
    data = png(Image.fromarray(VALUES.astype(np.uint16)), tmp_path)
    assert (read_mask(data, "one", plain(4)) == VALUES).all()


def _grey_png(values, bits):
    """A grey PNG of so many bits a sample, which Pillow reads and does not write."""
    import struct
    import zlib

    rows = b""
    for row in values:
        packed = "".join(f"{value:0{bits}b}" for value in row)
        packed += "0" * (-len(packed) % 8)
        rows += b"\0" + int(packed, 2).to_bytes(len(packed) // 8, "big")
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    whole = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


def test_zero_is_ignored_where_classes_are_numbered_from_one(tmp_path):
    data = png(Image.fromarray(VALUES), tmp_path)
    assert read_mask(data, "one", from_one(3)).tolist() == [[255, 0, 1], [2, 255, 0]]


def test_ids_that_are_not_evaluated_are_ignored(tmp_path):
    coding = among_ids(tuple(CITYSCAPES_IDS), 33)
    data = png(Image.fromarray(np.array([[0, 6, 7, 8, 33]], np.uint8)), tmp_path)
    assert read_mask(data, "one", coding).tolist() == [[255, 255, 0, 1, 18]]
    data = png(Image.fromarray(np.array([[34]], np.uint8)), tmp_path)
    with pytest.raises(DataError, match="the value 34, and may have 0 to 33"):
        read_mask(data, "one", coding)


# ---- the field's layouts


def test_ade20k(tmp_path, load):
    for split, count in (("training", 3), ("validation", 2)):
        for number in range(count):
            name = f"ADE_{split[:-3]}_{number:08}"
            write(tmp_path / "images" / split / f"{name}.jpg", photograph(number + 10 * count))
            write(tmp_path / "annotations" / split / f"{name}.png", halves(0, 150))
    (tmp_path / "objectInfo150.txt").write_text("Idx Ratio Train Val Stuff Name")
    train, held_out = load(tmp_path, name="ade20k"), load(tmp_path, "validation", "ade20k")
    assert (len(train), len(held_out)) == (3, 2)
    assert set(np.unique(train.maps)) == {149, 255}
    assert len(train.map_names) == 150
    assert (ADE20K[0], ADE20K[20], ADE20K[149]) == ("wall", "car", "flag")


@pytest.mark.parametrize("kind", ["labelIds", "labelTrainIds", "both"])
def test_cityscapes(tmp_path, load, kind):
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for number in range(count):
            where, name = f"{split}/aachen", f"aachen_{number:06}_000019"
            write(tmp_path / "leftImg8bit" / where / f"{name}_leftImg8bit.png", photograph(number + 10 * count))
            annotated = tmp_path / "gtFine" / where
            write(annotated / f"{name}_gtFine_color.png", photograph(0))
            if kind in ("labelIds", "both"):
                write(annotated / f"{name}_gtFine_labelIds.png", halves(0, 26))
            if kind in ("labelTrainIds", "both"):
                write(annotated / f"{name}_gtFine_labelTrainIds.png", halves(255, 13))
    train, held_out = load(tmp_path, name="cityscapes"), load(tmp_path, "validation", "cityscapes")
    assert (len(train), len(held_out)) == (3, 2)
    assert train.map_names == CITYSCAPES
    assert CITYSCAPES[13] == "car"
    assert set(np.unique(train.maps)) == {13, 255}


# ---- refusals


def _one(folder):
    return folder / "masks" / "train" / "0.png"


def smaller(folder):
    halves(0, 1, (30, SIDE)).save(_one(folder))


def colours(folder):
    halves(0, 1).convert("RGB").save(_one(folder))


def transparent(folder):
    halves(0, 1).convert("RGBA").save(_one(folder))


def outside(folder):
    halves(0, 7).save(_one(folder))


def no_mask(folder):
    _one(folder).unlink()


def no_image(folder):
    (folder / "images" / "train" / "0.png").unlink()


def no_masks(folder):
    shutil.rmtree(folder / "masks")


def empty_masks(folder):
    shutil.rmtree(folder / "masks")
    (folder / "masks").mkdir()


def only_ignored(folder):
    for path in (folder / "masks").rglob("*.png"):
        halves(255, 255).save(path)


def jpeg(folder):
    _one(folder).unlink()
    halves(0, 1).save(_one(folder).with_suffix(".jpg"))


def two_images(folder):
    photograph(0).save(folder / "images" / "train" / "0.jpg")


def no_names(folder):
    (folder / "classes.txt").unlink()


def names_twice(folder):
    (folder / "classes.txt").write_text("road\nroad\n")


AT_ONCE = {
    smaller: r"0\.png is 30 x 24 px, and its image is 36 x 24: give them one size",
    colours: r"0\.png has 3 channels, which are colours and no classes: save masks with one channel",
    transparent: r"0\.png has 4 channels",
    no_mask: r"1 of 12 images in .*images have no mask of their name \(train/0\)",
    no_image: r"1 of 12 masks in .*masks have no image of their name \(train/0\)",
    no_masks: r"no folder of images and masks \(it has images/\): put photographs into images/",
    empty_masks: r"no masks in .*masks: a mask is a PNG",
    jpeg: r"0\.jpg is no PNG",
    two_images: r"0\.jpg .*0\.png have one name|0\.png have one name",
    no_names: r"set data\.classes, or put classes\.txt",
    names_twice: r"a name a line",
}
WHEN_DECODED = {
    outside: r"0\.png has the value 7, and may have 0 to 2, and 255 for what is ignored",
    only_ignored: r"none of the 12 images .* can be used: .*every pixel of its mask is ignored",
}


@pytest.mark.parametrize("harm", AT_ONCE, ids=lambda harm: harm.__name__)
def test_what_no_run_begins_with(folder, data, harm):
    harm(folder)
    with pytest.raises(DataError, match=AT_ONCE[harm]):
        registry.check(data("masks", SIDE, folder))


@pytest.mark.parametrize("harm", WHEN_DECODED, ids=lambda harm: harm.__name__)
def test_what_is_seen_when_masks_are_decoded(folder, load, harm):
    harm(folder)
    with pytest.raises(DataError, match=WHEN_DECODED[harm]):
        load(folder)


def test_one_mask_of_ignored_pixels_is_left_out_and_named(folder, load):
    halves(255, 255).save(_one(folder))
    with pytest.warns(UserWarning, match=r"1 of 12 images .* left out: train/0 \(every pixel of its mask is ignored\)"):
        assert len(load(folder)) == 7


def test_a_damaged_mask_is_left_out_and_named(folder, load):
    _one(folder).write_bytes(_one(folder).read_bytes()[:60])
    with pytest.warns(UserWarning, match=r"train/0 \(its mask: "):
        assert len(load(folder)) == 7


def test_other_sets_have_no_maps(data):
    assert registry.class_count(data("emoji"), "maps") is None


def test_another_number_of_classes_than_the_set_has_is_refused(folder, data):
    with pytest.raises(DataError, match=r"data\.classes is 5, and data set 'masks' has 3"):
        registry.check(data("masks", SIDE, folder, classes=5))


# ---- the packaged sets


@pytest.mark.parametrize(("name", "counts"), [("emoji_masks", (1630, 192)), ("sprites", (150, 60))])
def test_packaged_sets_with_maps(data, shared_cache, monkeypatch, name, counts):
    monkeypatch.setattr(sprites, "COUNTS", dict(zip(SPLITS, (150, 60), strict=True)))  # the first of 2,048 and 256
    train, held_out = (registry.load(data(name), split) for split in ("train", "validation"))
    assert (len(train), len(held_out)) == counts
    assert len(train.map_names) == 10
    for images in (train, held_out):
        assert set(np.unique(images.maps)) == set(range(10))
        assert images.maps.shape == (len(images), 32, 32)


def test_masks_of_emoji_are_the_icons_of_emoji(data, shared_cache):
    icons, masked = registry.load(data("emoji"), "validation"), registry.load(data("emoji_masks"), "validation")
    assert (np.asarray(icons.images) == np.asarray(masked.images)).all()
    for label, classes in zip(icons.labels, masked.maps, strict=True):
        assert set(np.unique(classes)) <= {0, 1 + label}
    background = np.asarray(masked.images).min(1)[masked.maps == 0]
    assert np.mean(background > 120) > 0.98  # white shows through where less than half is covered


# ---- what looks at sets


def test_statistics_count_the_pixels_of_each_class(folder, load):
    halves(255, 1).save(_one(folder))
    found = statistics({split: load(folder, split) for split in SPLITS})
    of_training = found.splits["train"]
    assert of_training.ignored == pytest.approx(0.5 / 8)
    assert of_training.pixels == pytest.approx({"road": 3.5 / 7.5, "car": 0.5 / 7.5, "sky": 3.5 / 7.5})
    assert statistics({split: _without_maps(load(folder, split)) for split in SPLITS}).splits["train"].pixels is None


def _without_maps(images):
    return dataclasses.replace(images, maps=None, map_names=None)


def test_a_picture_shows_maps_over_their_images(folder, tmp_path):
    out = tmp_path / "shown.png"
    options = ["--name", "masks", "--resolution", "24", "--count", "1", "--out", str(out)]
    done = CliRunner().invoke(app, ["data", "show", str(folder), *options], catch_exceptions=False)
    assert done.exit_code == 0
    shown = np.asarray(Image.open(out).convert("RGB")).astype(int)
    right = shown[4:20, 16:22].mean((0, 1))
    assert right[1] - right[0] > 40  # class 2 is green


def test_packing_would_lose_maps(folder, tmp_path, data):
    with pytest.raises(DataError, match="has maps, and packed files have no place for them"):
        pack(data("masks", SIDE, folder), tmp_path / "packed", 1, lambda done, of: None)
