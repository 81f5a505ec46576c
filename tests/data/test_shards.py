"""Tar shards: what webdataset reads of well-formed ones, and what is refused of others."""

from __future__ import annotations

import io
import pickle
import tarfile
import threading
import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import webdataset
from PIL import Image

from pdebench.data import pixels, registry
from pdebench.data.shards.index import index_of
from pdebench.data.shards.rows import DecodedRows, usable_threads
from pdebench.errors import CellWarning, DataError

SIDE = 8


def picture(seed: int, kind: str = "PNG", mode: str = "RGB", size: tuple[int, int] = (12, 10), **save) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(stream, kind, **save)
    return stream.getvalue()


def tar(path: Path, members: Iterable[tuple[str, bytes | tarfile.TarInfo]], how: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, how) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(content, bytes) else content
            info.size = len(content) if isinstance(content, bytes) else info.size
            archive.addfile(info, io.BytesIO(content) if isinstance(content, bytes) else None)
    return path


def pairs(begin: int, end: int, classes: int = 3) -> list[tuple[str, bytes]]:
    found = []
    for number in range(begin, end):
        found += [(f"{number:04d}.png", picture(number)), (f"{number:04d}.cls", str(number % classes).encode())]
    return found


CUT = picture(1)[:60]  # it begins as a PNG


@pytest.fixture
def shards(tmp_path):
    """Sixty samples of three classes in three shards, by webdataset's own writer."""
    for shard in range(3):
        path = tmp_path / "set" / f"a-{shard:03d}.tar"
        path.parent.mkdir(exist_ok=True)
        with webdataset.TarWriter(str(path)) as writer:
            for number in range(20 * shard, 20 * shard + 20):
                writer.write({"__key__": f"{number:04d}", "png": picture(number), "cls": number % 3})
    return tmp_path / "set"


def both(config):
    return [registry.load(config, split) for split in ("train", "validation")]


def held(parts) -> set[tuple[bytes, int | None]]:
    return {
        (image.tobytes(), None if part.labels is None else int(part.labels[at]))
        for part in parts for at, image in enumerate(part.images[:])
    }  # fmt: skip


def refused(config, match: str) -> None:
    """In one sentence, before anything is trained."""
    with pytest.raises(DataError, match=match) as error:
        registry.load(config, "train")
    assert "\n" not in str(error.value)


def test_webdataset_reads_the_same(data, shards):
    theirs = set()
    for sample in webdataset.WebDataset([str(path) for path in sorted(shards.glob("*.tar"))], shardshuffle=False):
        theirs.add((pixels.centre_crop(pixels.decode(sample["png"]), SIDE).tobytes(), int(sample["cls"])))
    parts = both(data("shards", SIDE, shards))
    assert held(parts) == theirs
    assert sum(map(len, parts)) == len(theirs) == 60
    assert parts[0].class_names == ("0", "1", "2")
    assert registry.class_count(data("shards", SIDE, shards)) == 3
    assert 0 < len(parts[1]) < 20


def test_a_folder_a_pattern_braces_and_a_file_name_shards(data, shards):
    whole = held(both(data("shards", SIDE, shards)))
    for pattern in ("a-*.tar", "a-{000..002}.tar", "a-{000,001,002}.tar", "a-00[0-2].tar"):
        assert held(both(data("shards", SIDE, shards / pattern))) == whole
    assert sum(map(len, both(data("shards", SIDE, shards / "a-001.tar")))) == 20
    refused(data("shards", SIDE, shards / "a-{000..003}.tar"), r"there is no .*a-003\.tar, one of those that")
    refused(data("shards", SIDE, shards / "b-*.tar"), "there is no")
    refused(data("shards", SIDE, shards / "a-{9..1}.tar"), "lower number first")
    refused(data("shards", SIDE, shards.parent / "nowhere"), "there is no")
    refused(data("shards", SIDE), "needs data.path")


def test_rows_are_those_of_an_array(data, shards):
    part = registry.load(data("shards", SIDE, shards), "train")
    rows, whole = part.images, part.images[:]
    assert rows.shape == whole.shape == (len(part), 3, SIDE, SIDE)
    assert rows.dtype == whole.dtype == np.uint8
    assert rows.ndim == 4
    index = np.array([5, 0, 5, -1])
    assert np.array_equal(rows[index], whole[index])
    assert np.array_equal(rows[3], whole[3])
    assert np.array_equal(rows[2:30:7], whole[2:30:7])
    assert rows[np.empty(0, np.int64)].shape == (0, 3, SIDE, SIDE)
    assert np.array_equal(pickle.loads(pickle.dumps(rows))[index], whole[index])
    with pytest.raises(IndexError):
        rows[len(part)]


def test_the_order_is_mixed_and_fixed(data, shards, cache):
    first = registry.load(data("shards", SIDE, shards), "train")
    index_of.cache_clear()
    again = registry.load(data("shards", SIDE, shards), "train")
    assert np.array_equal(first.images[:], again.images[:])
    assert first.checksum == again.checksum
    assert set(first.labels[:12]) == {0, 1, 2}
    assert len({number // 20 for number in map(int, first.images.table.keys[:15])}) == 3


def test_the_index_is_kept_and_made_again_where_it_is_damaged(data, shards, cache):
    config = data("shards", SIDE, shards)
    before = held(both(config))
    kept = sorted(cache.glob("shard-2-*.json"))
    assert len(kept) == 3
    kept[0].write_text(kept[0].read_text().replace('"offsets": [\n  ', '"offsets": [\n  1'))
    index_of.cache_clear()
    assert held(both(config)) == before


@pytest.mark.parametrize(
    "names", [("train-0", "train-1", "val-0"), ("train/0", "train/1", "val/0"), ("x-train-0", "x-train-1", "x-val-0")]
)
def test_names_say_splits(data, tmp_path, names):
    for number, name in enumerate(names):
        tar(tmp_path / "set" / f"{name}.tar", pairs(10 * number, 10 * number + 10))
    train, validation = both(data("shards", SIDE, tmp_path / "set"))
    assert (len(train), len(validation)) == (20, 10)
    assert sorted(validation.images.table.keys) == [f"{number:04d}" for number in range(20, 30)]
    tar(tmp_path / "set" / "more.tar", pairs(50, 60))
    refused(data("shards", SIDE, tmp_path / "set"), "called as splits are, and more.tar not")


def test_validation_is_named(data, tmp_path):
    tar(tmp_path / "a" / "val-0.tar", pairs(0, 10))
    tar(tmp_path / "b.tar", pairs(10, 15))
    train, validation = both(data("shards", SIDE, tmp_path / "a", validation=tmp_path / "b.tar"))
    assert (len(train), len(validation)) == (10, 5)
    refused(data("shards", SIDE, tmp_path / "a", validation=tmp_path / "a"), "cannot be in both")


def test_a_test_split_is_not_used_and_that_is_said(data, tmp_path):
    tar(tmp_path / "train.tar", pairs(0, 60))
    tar(tmp_path / "test.tar", pairs(60, 90))
    with pytest.warns(CellWarning, match=r"of test\.tar nothing is used"):
        assert sum(map(len, both(data("shards", SIDE, tmp_path)))) == 60


def test_a_shard_cut_between_two_members_is_refused(data, tmp_path):
    path = tar(tmp_path / "a.tar", pairs(0, 40))
    with tarfile.open(path) as archive:
        end = archive.getmembers()[60].offset
    path.write_bytes(path.read_bytes()[:end])
    with tarfile.open(path) as archive:
        assert len(archive.getmembers()) == 60  # which tarfile says nothing of
    refused(data("shards", SIDE, path), r"a\.tar was cut short")


def test_a_cut_after_zeros_is_seen_when_members_are_walked(data, tmp_path):
    path = tar(tmp_path / "a.tar", [*pairs(0, 40), ("zeros.bin", bytes(4096)), *pairs(40, 50)])
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        begin = archive.getmember("zeros.bin").offset_data
    for kept, match in ((4096, "was cut short"), (2048, "is damaged, or is no tar file")):
        path.write_bytes(whole[: begin + kept])
        refused(data("shards", SIDE, path), match)


def test_a_damaged_header_and_joined_files_are_refused(data, tmp_path):
    path = tar(tmp_path / "a.tar", pairs(0, 40))
    whole = path.read_bytes()
    with tarfile.open(path) as archive:
        at = archive.getmembers()[60].offset
    path.write_bytes(whole[: at + 5] + b"\xff" + whole[at + 6 :])
    with tarfile.open(path) as archive:
        assert len(archive.getmembers()) == 60
    refused(data("shards", SIDE, path), f"damaged at byte {at:,}")
    path.write_bytes(whole + whole)
    refused(data("shards", SIDE, path), "goes on after its end")
    path.write_bytes(b"no tar at all" * 100 + bytes(1024))
    refused(data("shards", SIDE, path), "is no tar file")


@pytest.mark.parametrize(("how", "name"), [("w:gz", "gzip"), ("w:bz2", "bzip2"), ("w:xz", "xz")])
def test_compressed_shards_are_refused(data, tmp_path, how, name):
    tar(tmp_path / f"a.tar.{how[2:]}", pairs(0, 40), how)
    refused(data("shards", SIDE, tmp_path / f"a.tar.{how[2:]}"), f"compressed with {name}")
    (tmp_path / f"a.tar.{how[2:]}").rename(tmp_path / "a.tar")  # whatever its name
    refused(data("shards", SIDE, tmp_path), f"compressed with {name}")


def test_a_key_is_all_up_to_the_last_dot(data, tmp_path):
    members = []
    for number in range(40):
        members += [(f"t{number}.{part}.{end}", content) for part, end, content in (
            ("25", "png", picture(number)), ("25", "cls", b"0"),
            ("50", "png", picture(100 + number)), ("50", "cls", b"1"),
        )]  # fmt: skip
    path = tar(tmp_path / "a.tar", members)
    theirs = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert len(theirs) == 40  # it takes both for parts of one
    parts = both(data("shards", SIDE, path))
    assert sum(map(len, parts)) == 80
    for part in parts:
        assert [int(key.split(".")[1] == "50") for key in part.images.table.keys] == list(part.labels)


@pytest.mark.parametrize(
    "names",
    [
        ("a.png", "a.seg.png"), ("a.seg.png", "a.png"), ("a.rgb.png", "a.seg.png"), ("a.png", "a.jpg"),
        ("a.cls", "a.seg.png"), ("a.png", "a.npy"),
    ],
)  # fmt: skip
def test_several_pictures_of_a_key_are_refused(data, tmp_path, names):
    contents = [b"0" if name.endswith("cls") else picture(at) for at, name in enumerate(names)]
    tar(tmp_path / "a.tar", [*pairs(0, 40), *zip(names, contents, strict=True)])
    refused(data("shards", SIDE, tmp_path), "the key a has both")


def test_a_name_twice_is_refused(data, tmp_path):
    tar(tmp_path / "a.tar", [*pairs(0, 40), ("0003.png", picture(3))])
    refused(data("shards", SIDE, tmp_path), r"has 0003\.png twice")


def test_a_key_in_two_shards_is_two_samples_on_one_side(data, tmp_path):
    tar(tmp_path / "a.tar", pairs(0, 40))
    tar(tmp_path / "b.tar", [(name, picture(99) if name.endswith("png") else b"0") for name, _ in pairs(0, 40)])
    train, validation = both(data("shards", SIDE, tmp_path))
    assert len(train) + len(validation) == 80
    assert not set(train.images.table.keys) & set(validation.images.table.keys)


def test_members_need_not_lie_side_by_side(data, tmp_path):
    members = pairs(0, 40)
    tar(tmp_path / "a" / "x.tar", members)
    tar(tmp_path / "b" / "x.tar", sorted(members, key=lambda member: member[0][-3:]))
    assert held(both(data("shards", SIDE, tmp_path / "a"))) == held(both(data("shards", SIDE, tmp_path / "b")))


def test_what_lacks_a_label_or_a_picture_is_left_out_and_counted(data, tmp_path):
    members = [("bare.png", picture(99)), ("lone.cls", b"1"), ("notes.xml", b"<a/>"), ("__x__/0.png", picture(98))]
    tar(tmp_path / "a.tar", [*pairs(0, 40), *members])
    with pytest.warns(CellWarning, match="3 members are left out") as told:
        train, validation = both(data("shards", SIDE, tmp_path))
    assert all(name in str(told[0].message) for name in ("bare of a.tar", "lone.cls of a.tar", "notes.xml"))
    assert len(train) + len(validation) == 40
    assert train.skipped == 3


@pytest.mark.parametrize(
    ("member", "label"),
    [(("cls", b" 2\n"), 2), (("json", b'{"label": 1}'), 1), (("json", b'{"cls": 4}'), 4), (("txt", b"3"), 3)],
)
def test_labels_are_written_in_three_ways(data, tmp_path, member, label):
    tar(tmp_path / "a.tar", [
        entry for n in range(40) for entry in ((f"{n}.PNG", picture(n)), (f"{n}.{member[0].upper()}", member[1]))
    ])  # fmt: skip
    train, _ = both(data("shards", SIDE, tmp_path))
    assert set(train.labels) == {label}
    assert train.class_names == tuple(map(str, range(label + 1)))


def test_captions_and_notes_are_no_labels(data, tmp_path):
    tar(tmp_path / "a.tar", [
        entry for n in range(40)
        for entry in ((f"{n}.png", picture(n)), (f"{n}.txt", b"a cat"), (f"{n}.json", b'{"width": 3}'))
    ])  # fmt: skip
    train, validation = both(data("shards", SIDE, tmp_path))
    assert train.labels is train.class_names is None
    assert registry.class_count(data("shards", SIDE, tmp_path)) is None
    assert len(train) + len(validation) == 40


@pytest.mark.parametrize(
    "label",
    [("cls", b"cat"), ("cls", b"-1"), ("cls", b"1.5"), ("cls", b"9" * 40), ("cls", b""), ("json", b'{"label": true}')],
)
def test_a_label_that_is_no_number_is_refused(data, tmp_path, label):
    tar(tmp_path / "a.tar", [*pairs(0, 40), ("x.png", picture(1)), (f"x.{label[0]}", label[1])])
    refused(data("shards", SIDE, tmp_path), r"the label x\.(cls|json) in .*a\.tar is no whole number")


def test_links_devices_and_names_that_lead_out_are_left_alone(data, tmp_path):
    link, device, hard = tarfile.TarInfo("l.png"), tarfile.TarInfo("d.png"), tarfile.TarInfo("h.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    device.type = tarfile.CHRTYPE
    hard.type, hard.linkname = tarfile.LNKTYPE, "0000.png"
    others = [(one.name, one) for one in (link, device, hard)]
    tar(tmp_path / "a.tar", [*pairs(0, 40), *others, ("/abs.png", picture(1)), ("../up.png", picture(2))])
    with pytest.warns(CellWarning, match="5 members are left out"):
        assert sum(map(len, both(data("shards", SIDE, tmp_path)))) == 40


@pytest.mark.parametrize("broken", [b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"])
def test_what_does_not_begin_as_a_picture_is_left_out_and_counted(data, tmp_path, broken):
    tar(tmp_path / "a.tar", [*pairs(0, 60), ("x.png", broken), ("x.cls", b"0")])
    with pytest.warns(CellWarning, match=r"1 members are left out, such as x\.png of a\.tar \(not an image\)"):
        train, validation = both(data("shards", SIDE, tmp_path))
    assert (len(train) + len(validation), train.skipped) == (60, 1)


def test_a_picture_that_cannot_be_decoded_is_replaced_by_one_of_its_class(data, tmp_path):
    members = dict(pairs(0, 60))
    members["0007.png"] = CUT
    tar(tmp_path / "a" / "x.tar", members.items())
    part = next(part for part in both(data("shards", SIDE, tmp_path / "a")) if "0007" in part.images.table.keys)
    at = part.images.table.keys.index("0007")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        first = part.images[np.array([at, 0, at])]
        assert np.array_equal(part.images[at], first[0])
    assert [str(one.message).split(" (")[0] for one in told] == [
        f"0007 in {tmp_path / 'a' / 'x.tar'} cannot be decoded"
    ]
    order = [*range(at + 1, len(part)), *range(at)]
    after = next(other for other in order if part.labels[other] == part.labels[at])
    assert np.array_equal(first[0], part.images[after])


def test_damaged_pictures_are_not_told_of_one_by_one_for_ever(data, tmp_path):
    broken = [entry for n in range(300) for entry in ((f"b{n}.png", CUT), (f"b{n}.cls", b"0"))]
    tar(tmp_path / "a.tar", [*pairs(0, 400), *broken])
    part = registry.load(data("shards", SIDE, tmp_path), "train")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        part.images[:]
    assert len(told) == 7
    assert str(told[-1].message).endswith("so it is with 100 pictures by now")


@pytest.mark.parametrize("count", [1, 30])
def test_a_class_without_any_picture_that_can_be_decoded_is_left_out_and_counted(data, tmp_path, count):
    broken = [entry for n in range(count) for entry in ((f"b{n}.png", CUT), (f"b{n}.cls", b"7"))]
    tar(tmp_path / "a.tar", [*pairs(0, 40), *broken])
    for _ in range(2):  # the second time it is remembered
        with pytest.warns(CellWarning, match=rf"{count} members are left out, such as b\d+ of a\.tar"):
            parts = both(data("shards", SIDE, tmp_path))
        assert [part.skipped for part in parts] == [count, count]
        assert sum(map(len, parts)) == 40
        for part in parts:
            assert part.images[:].shape == (len(part), 3, SIDE, SIDE)
            assert 7 not in part.labels
    assert parts[0].class_names == tuple("01234567"), "what labels mean does not depend on what is damaged"


def exif(seed: int) -> bytes:
    turned = Image.Exif()
    turned[0x0112] = 6
    return picture(seed, "JPEG", exif=turned)


KINDS = {
    "grey.png": picture(1, mode="L"),
    "alpha.png": picture(2, mode="RGBA"),
    "palette.png": picture(3, mode="P"),
    "cmyk.jpg": picture(4, "JPEG", mode="CMYK"),
    "turned.jpg": exif(5),
    "deep.png": b"",
    "web.webp": picture(6, "WEBP"),
}
_deep = io.BytesIO()
Image.fromarray(np.random.default_rng(0).integers(0, 65536, (9, 9), np.uint16)).save(_deep, "PNG")
KINDS["deep.png"] = _deep.getvalue()


def test_any_kind_of_picture_is_decoded_as_elsewhere(data, tmp_path):
    tar(
        tmp_path / "a.tar",
        [
            *((name, content) for name, content in KINDS.items()),
            *(one for one in pairs(0, 60) if one[0].endswith("png")),
        ],
    )
    found = held(both(data("shards", SIDE, tmp_path)))
    for content in KINDS.values():
        assert (pixels.centre_crop(pixels.decode(content), SIDE).tobytes(), None) in found


def test_other_shards_under_the_same_path_are_another_set(data, tmp_path):
    path = tar(tmp_path / "a.tar", pairs(0, 40))
    config = data("shards", SIDE, tmp_path)
    before = registry.content(config)
    part = registry.load(config, "train")
    assert len(before) == 32
    assert registry.content(data("shards", SIDE, tmp_path)) == before
    tar(path, pairs(1, 41))
    assert registry.content(config) != before
    with pytest.raises(DataError, match="was changed since it was looked through"):
        part.images[0]
    moved = tmp_path / "moved"
    moved.mkdir()
    path.rename(moved / "a.tar")
    moved_content = registry.content(data("shards", SIDE, moved))
    (moved / "a.tar").rename(path)
    assert registry.content(config) == moved_content


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_latents_are_read_as_they_are(data, tmp_path, kind):
    latents = np.random.default_rng(0).normal(size=(50, 4, SIDE, SIDE)).astype(kind)
    tar(tmp_path / "a.tar", [e for n in range(50) for e in ((f"{n}.npy", npy(latents[n])), (f"{n}.cls", b"1"))])
    config = data("shards", SIDE, tmp_path, flip=False, scale=(0.5,), shift=(1.0, 0.0, 0.0, 0.0))
    registry.check(config)
    assert registry.SOURCES["shards"].channels_of(config) == 4
    for part in both(config):
        wanted = latents[list(map(int, part.images.table.keys))]
        assert part.images.dtype == kind
        assert np.array_equal(part.images[:], wanted)
        shifted = (wanted.astype(np.float32) - np.array([1, 0, 0, 0], np.float32)[:, None, None]) * 0.5
        assert np.allclose(part.seen[:], shifted)
        assert part.seen.dtype == np.float32
    refused(data("shards", SIDE, tmp_path, flip=False, scale=(0.01,)), r"a standard deviation of 0\.0")


def test_latents_of_another_shape_or_kind_are_refused(data, tmp_path):
    good = npy(np.zeros((4, SIDE, SIDE), np.float32))
    path = tar(tmp_path / "a.tar", [("a.npy", good), ("b.npy", npy(np.zeros((4, 4, 4), np.float32)))])
    refused(data("shards", SIDE, path), r"data\.flip: .*set data\.flip: false")
    refused(data("shards", SIDE, path, flip=False), r"b\.npy in .* is \(4, 4, 4\) of f4, and others are \(4, 8, 8\)")
    refused(data("shards", 16, path), "it has to be their side")
    refused(data("shards", SIDE, path, channels=3), "have 4")
    refused(data("shards", SIDE, path, scale=(1.0, 2.0)), "give one, or one for each of 4")
    odd = np.empty(1, object)
    odd[0] = threading.Lock
    for array in (
        np.zeros((4, 8, 8)),
        np.zeros((8, 8), np.float32),
        np.asfortranarray(np.zeros((4, 8, 8), np.float32)),
        odd,
    ):
        tar(path, [("a.npy", npy(array))])
        refused(data("shards", SIDE, path), r"a\.npy in .* is no latent")
    tar(path, [("a.npy", good[:-1])])
    refused(data("shards", SIDE, path), "not that of its shape")
    tar(path, [("a.npy", good), ("b.png", picture(1))])
    refused(data("shards", SIDE, path, flip=False), "pictures beside arrays")
    refused(data("shards", SIDE, tar(path, pairs(0, 40)), channels=4), "is of latents")


def test_other_keys_are_refused(data, shards):
    refused(data("shards", SIDE, shards, set="CIFAR10"), r"does not read data\.set")


def test_any_thread_may_read_and_warnings_stay_as_they_are(data, shards):
    part = registry.load(data("shards", SIDE, shards), "train")
    whole, before = part.images[:], list(warnings.filters)
    wrong = []

    def read(seed: int) -> None:
        index = np.random.default_rng(seed).integers(0, len(part), 30)
        if not np.array_equal(part.images[index], whole[index]):
            wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert warnings.filters == before


def test_how_many_threads_decode_changes_nothing(data, shards):
    rows = registry.load(data("shards", SIDE, shards), "train").images
    assert np.array_equal(DecodedRows(rows.table, SIDE, 1)[:], rows[:])
    assert 1 <= usable_threads() <= 8
