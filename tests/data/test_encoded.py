"""Latents of every layout: the right values, labels, splits and space; and what is asked of a suite."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from latent_folders import EDM2_MEAN, EDM2_STD, SIDE, write_pairs, write_shards, write_tree
from PIL import Image

from pdebench.data import registry
from pdebench.data.encoded import files, layouts, tree
from pdebench.errors import CellWarning, DataError


@pytest.fixture
def encoded(data):
    return partial(data, "encoded", SIDE, flip=False)


def both(config):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CellWarning)
        return [registry.load(config, split) for split in ("train", "validation")]


def sorted_rows(*sets):
    """Rows as stored, in an order of their own."""
    rows = np.concatenate([np.asarray(one.images[:]).reshape(len(one), -1) for one in sets])
    return rows[np.lexsort(rows.T)]


def in_order(rows):
    rows = rows.reshape(len(rows), -1)
    return rows[np.lexsort(rows.T)]


# ---- LightningDiT


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_shards_have_their_values_labels_and_mirrored_images(encoded, tmp_path, dtype):
    made = write_shards(tmp_path, dtype=dtype)
    config = encoded(tmp_path, flip=True)
    train, validation = both(config)
    assert (len(train) + len(validation), registry.class_count(config)) == (50, 5)
    assert 0 < len(validation) < len(train)
    whole = made["latents"].float().numpy()
    mean, std = whole.mean((0, 2, 3)), whole.std((0, 2, 3), ddof=1)
    for part in (train, validation):
        stored = np.asarray(part.images[:], np.float32)
        of = [int(np.flatnonzero((whole == row).all((1, 2, 3)))[0]) for row in stored]
        assert np.array_equal(part.labels, made["labels"].numpy()[of])
        assert np.array_equal(np.asarray(part.mirrored[:], np.float32), made["latents_flip"].float().numpy()[of])
        wanted = (stored - mean[:, None, None]) / std[:, None, None]
        assert np.allclose(part.seen[:], wanted, atol=1e-5)
        assert np.allclose(part.space.latents(part.seen[:]), stored, atol=1e-3)
    assert np.array_equal(sorted_rows(train, validation).astype(np.float32), in_order(whole))
    assert train.class_names == ("0", "1", "2", "3", "4")
    source = registry.SOURCES["encoded"]
    assert (source.channels_of(config), source.sides(config)) == (3, (SIDE, SIDE))
    assert (train.name, train.resolution, train.skipped) == ("encoded", SIDE, 0)


def test_rows_are_mixed_and_their_order_and_split_are_those_of_names_and_numbers(encoded, tmp_path):
    write_shards(tmp_path / "a", (200,))
    write_shards(tmp_path / "b", (200,), seed=1)
    a, b = (both(encoded(tmp_path / name)) for name in "ab")
    for one, other in zip(a, b, strict=True):
        assert np.array_equal(one.images.index, other.images.index)
        assert not np.array_equal(one.images.index, np.sort(one.images.index))
    assert a[0].checksum != b[0].checksum
    assert len({a[0].checksum, a[1].checksum}) == 2


def test_a_shard_that_is_missing_among_numbers_is_said(encoded, tmp_path):
    write_shards(tmp_path, (20, 20, 20))
    (tmp_path / "latents_rank00_shard001.safetensors").unlink()
    with pytest.warns(CellWarning, match=r"latents_rank00_shard001\.safetensors is not there"):
        registry.load(encoded(tmp_path), "train")


# ---- EDM2 and REPA


def test_repas_files_are_drawn_at_stable_diffusions_scale(encoded, tmp_path):
    made = write_tree(tmp_path)
    with pytest.warns(CellWarning, match=r"means \(.*\) are as REPA has them, whose scale is taken, 0\.18215"):
        train = registry.load(encoded(tmp_path), "train")
    stored = train.images[:]
    drawn = np.stack([train.space.seen(stored, np.arange(len(train)), epoch) for epoch in range(200)])
    assert np.allclose(drawn.mean(0), stored[:, :4] * 0.18215, atol=0.01)
    assert np.allclose(drawn.std(0), stored[:, 4:] * 0.18215, rtol=0.3)
    assert np.array_equal(sorted_rows(*both(encoded(tmp_path))), in_order(np.stack(list(made.values()))))
    assert (train.space.black, train.mirrored, registry.class_count(encoded(tmp_path))) == (-1.0, None, 3)
    assert registry.SOURCES["encoded"].channels_of(encoded(tmp_path)) == 4
    names = list(made)
    for row, label in zip(stored, train.labels, strict=True):
        assert label == next(at for at, name in enumerate(names) if np.array_equal(made[name], row)) % 3


def test_edm2s_files_have_its_normalisation(encoded, tmp_path):
    write_tree(tmp_path, whose="EDM2")
    with pytest.warns(CellWarning, match="are those of EDM2, whose scale is taken"):
        train = registry.load(encoded(tmp_path), "train")
    stored, each = train.images[:], (1, 4, 1, 1)
    wanted = (stored[:, :4] - EDM2_MEAN.reshape(each)) / EDM2_STD.reshape(each) * 0.5
    assert np.allclose(train.seen[:], wanted, atol=0.06)
    assert np.std(train.seen[:]) == pytest.approx(0.5, rel=0.1)
    assert train.space.black == 0.0  # their autoencoder is given images from 0 to 1


def test_latents_of_neither_are_refused_until_their_scale_is_given(encoded, tmp_path):
    made = write_tree(tmp_path)
    for name, array in made.items():
        array[:4] += 0.5 * EDM2_MEAN.reshape(4, 1, 1).astype(np.float32)
        np.save(tmp_path / name, array)
    with pytest.raises(DataError, match=r"means .*, by which nobody can tell EDM2's from REPA's: .* give data\.shift"):
        registry.load(encoded(tmp_path), "train")
    given = encoded(tmp_path, scale=(0.2,), shift=(0.0,))
    train = registry.load(given, "train")
    assert (train.space.scale, train.space.shift) == ((0.2,), (0.0,))


def test_a_tree_without_labels_has_no_classes(encoded, tmp_path):
    write_tree(tmp_path / "null", labels=False)
    write_tree(tmp_path / "none", labels=False)
    (tmp_path / "none" / "dataset.json").unlink()
    for name in ("null", "none"):
        train, _ = both(encoded(tmp_path / name))
        assert (train.labels, train.class_names, registry.class_count(encoded(tmp_path / name))) == (None, None, None)


# ---- fast-DiT


def test_pairs_are_seen_as_they_are(encoded, tmp_path):
    made = write_pairs(tmp_path)
    train, validation = both(encoded(tmp_path))
    for part in (train, validation):
        of = [int(np.flatnonzero((made == row).all((1, 2, 3)))[0]) for row in part.images[:]]
        assert np.array_equal(part.labels, np.asarray(of) % 7)
        assert np.array_equal(part.seen[:], part.images[:])
    assert len(train) + len(validation) == 50
    assert registry.class_count(encoded(tmp_path)) == 7


# ---- what is held out


@pytest.mark.parametrize("write", [write_shards, write_tree, write_pairs])
@pytest.mark.parametrize("held", ["val", "validation", "data.validation"])
def test_what_is_held_out_may_lie_in_a_folder_of_its_own(encoded, tmp_path, write, held):
    other = tmp_path / ("elsewhere" if held == "data.validation" else held)
    write(tmp_path / "train")
    write(other, seed=1)
    (tmp_path / "test").mkdir()
    config = encoded(tmp_path)
    if held == "data.validation":
        config = encoded(tmp_path / "train", validation=other)
    train, validation = both(config)
    assert (len(train), len(validation)) == (50, 50)
    assert not {row.tobytes() for row in train.images[:]} & {row.tobytes() for row in validation.images[:]}
    assert train.space == validation.space


def test_what_is_held_out_is_of_the_same_kind(encoded, tmp_path):
    write_shards(tmp_path / "shards")
    write_shards(tmp_path / "wide", channels=5)
    write_pairs(tmp_path / "pairs")
    for held, why in (("pairs", "fast-DiT's folders"), ("wide", r"of \(5, 4, 4\)")):
        with pytest.raises(DataError, match=rf"^data\.validation: the latents in .*/{held} are .*{why}"):
            registry.check(encoded(tmp_path / "shards", validation=tmp_path / held))
    with pytest.raises(DataError, match=r"^data\.validation: there is no folder"):
        registry.check(encoded(tmp_path / "shards", validation=tmp_path / "gone"))
    write_shards(tmp_path / "set" / "train")
    write_shards(tmp_path / "set" / "val")
    with pytest.raises(DataError, match=r"^data\.validation: .* has what is held out in val/ already"):
        registry.check(encoded(tmp_path / "set", validation=tmp_path / "wide"))


def test_too_few_latents_for_both_splits_are_refused(encoded, tmp_path):
    write_pairs(tmp_path, 1)
    with pytest.raises(DataError, match=r"the (train|validation) split of .* is empty \(1 latents in all\)"):
        registry.check(encoded(tmp_path))


# ---- what a suite asks


def test_a_suite_asks_for_the_shape_that_is_there(data, tmp_path):
    write_shards(tmp_path)
    with pytest.raises(DataError, match=r"data\.resolution is 8, but the latents in .* have 4 x 4: set it to 4"):
        registry.check(data("encoded", 8, tmp_path))
    with pytest.raises(DataError, match=r"data\.channels is 4, but the latents in .* have 3"):
        registry.check(data("encoded", SIDE, tmp_path, channels=4))
    registry.check(data("encoded", SIDE, tmp_path, channels=3))


def test_mirroring_is_refused_where_no_mirrored_images_were_encoded(data, tmp_path):
    write_pairs(tmp_path)
    with pytest.raises(DataError, match=r"^data\.flip: fast-DiT's folders have no latents of mirrored .*data\.flip: f"):
        registry.check(data("encoded", SIDE, tmp_path))


@pytest.mark.parametrize("key", ["scale", "shift"])
def test_a_scale_is_of_one_channel_or_of_each(encoded, tmp_path, key):
    write_shards(tmp_path)
    with pytest.raises(DataError, match=rf"data\.{key} has 2 values, and the latents in .* 3 channels: give one, or 3"):
        registry.check(encoded(tmp_path, **{key: (1.0, 2.0)}))
    with pytest.raises(DataError, match=r"data\.scale is 0"):
        registry.check(encoded(tmp_path, scale=(0.0,)))
    (tmp_path / "latents_stats.pt").unlink()
    train, _ = both(encoded(tmp_path, scale=(0.1, 0.2, 0.15), shift=(2.0,)))
    wanted = (train.images[:] - 2) * np.reshape([0.1, 0.2, 0.15], (1, 3, 1, 1))
    assert np.allclose(train.seen[:], wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("write", "scale", "found"),
    [
        (write_shards, 1.0, r"deviation of (6\.\d+|7\.\d+|7) .*Stable Diffusion's is 0\.18215"),
        (write_pairs, 0.18215, r"deviation of 0\.18\d? .*they may have been scaled when they were written"),
        (write_tree, 1.0, r"data\.scale 1 a model would see .* deviation of 5\.\d+ .* and means of "),
    ],
)
def test_a_wrong_scale_is_refused_with_what_it_leads_to(encoded, tmp_path, write, scale, found):
    write(tmp_path)
    for split in ("train", "validation"):
        with pytest.raises(DataError, match=found):
            registry.load(encoded(tmp_path, scale=(scale,), shift=(0.0,)), split)


# ---- content


def content(config):
    return registry.content(config)


@pytest.mark.parametrize("write", [write_shards, write_tree, write_pairs])
def test_the_same_latents_are_the_same_set_wherever_they_lie(encoded, tmp_path, write):
    write(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    write(tmp_path / "c", seed=1)
    a, b, c = (content(encoded(tmp_path / name)) for name in "abc")
    assert a == b != c
    assert len(a) == 32
    assert both(encoded(tmp_path / "a"))[0].checksum == both(encoded(tmp_path / "b"))[0].checksum


def test_another_scale_or_decoder_is_another_set(encoded, tmp_path):
    write_pairs(tmp_path / "set")
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "weights").write_text("1")
    seen = {content(encoded(tmp_path / "set", **keys)) for keys in ({}, {"scale": (1.1,)}, {"autoencoder": "a/name"})}
    named = encoded(tmp_path / "set", autoencoder=str(tmp_path / "vae"))
    seen.add(content(named))
    (tmp_path / "vae" / "weights").write_text("2")
    seen.add(content(named))
    assert len(seen) == 5
    assert both(named)[0].space.autoencoder == str(tmp_path / "vae")


def test_a_file_that_changes_under_its_path_is_another_set(encoded, tmp_path):
    write_shards(tmp_path / "shards")
    write_tree(tmp_path / "tree")
    write_pairs(tmp_path / "pairs")
    configs = {name: encoded(tmp_path / name) for name in ("shards", "tree", "pairs")}
    before = {name: content(config) for name, config in configs.items()}
    shard = tmp_path / "shards" / "latents_rank00_shard001.safetensors"
    held = shard.read_bytes()
    shard.write_bytes(held[:-1] + bytes([held[-1] ^ 1]))
    label = tmp_path / "pairs" / "imagenet256_labels" / "3.npy"
    np.save(label, np.load(label) + 1)
    labels = json.loads((tmp_path / "tree" / "dataset.json").read_text())
    labels["labels"][7][1] += 1
    (tmp_path / "tree" / "dataset.json").write_text(json.dumps(labels))
    for name, config in configs.items():
        assert content(config) != before[name], name
        with pytest.raises(DataError, match=r"changed since this cell was begun"):
            registry.verify(config, before[name])


def test_what_was_read_is_remembered_and_a_change_is_seen(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_SETTLED", 0.0)
    made = write_tree(tmp_path)
    before = content(encoded(tmp_path))
    reading = files._digest
    monkeypatch.setattr(files, "_digest", lambda path: pytest.fail("it was read again"))
    assert content(encoded(tmp_path)) == before
    monkeypatch.setattr(files, "_digest", reading)
    name = next(iter(made))
    np.save(tmp_path / name, made[name] + 1)
    assert content(encoded(tmp_path)) != before


def test_a_suite_asks_a_folder_once_and_sees_files_that_are_added(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "_SETTLED", 0.0)
    write_tree(tmp_path)
    registry.check(encoded(tmp_path))
    listing = tree.list_files
    monkeypatch.setattr(tree, "list_files", lambda folder: pytest.fail("it was listed again"))
    assert registry.class_count(encoded(tmp_path)) == 3
    monkeypatch.setattr(tree, "list_files", listing)
    np.save(tmp_path / "00000" / "another.npy", np.zeros((8, SIDE, SIDE), np.float32))
    listed = json.loads((tmp_path / "dataset.json").read_text())["labels"]
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": [*listed, ["00000/another.npy", 9]]}))
    assert registry.class_count(encoded(tmp_path)) == 10


# ---- what is not there


def test_where_there_are_no_latents_one_sentence_says_what_to_do(encoded, tmp_path):
    with pytest.raises(DataError, match=r"^data set 'encoded' needs data\.path"):
        registry.check(encoded(None))
    with pytest.raises(DataError, match=r"^data\.path: there is no folder"):
        registry.check(encoded(tmp_path / "gone"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no latents in .*/empty; looked for LightningDiT's .*fast-DiT's folders"):
        registry.class_count(encoded(tmp_path / "empty"))
    (tmp_path / "images" / "cats").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "cats" / "1.png")
    with pytest.raises(DataError, match=r"no latents in .*/images, but images: set data\.name: folder"):
        registry.check(encoded(tmp_path / "images"))
    write_tree(tmp_path / "repa" / "vae-sd")
    (tmp_path / "repa" / "images").mkdir()
    with pytest.raises(DataError, match=r"vae-sd/ has some: set data\.path to .*/repa/vae-sd$"):
        registry.check(encoded(tmp_path / "repa"))
    (tmp_path / "set.zip").write_bytes(b"")
    with pytest.raises(DataError, match=r"is a file, not a folder of latents: unpack it"):
        registry.check(encoded(tmp_path / "set.zip"))


def test_checking_a_suite_imports_no_torch(tmp_path):
    write_shards(tmp_path)
    ask = (
        "import sys; from pathlib import Path; from pdebench.data import registry; "
        "from pdebench.suite.config import DataConfig; "
        f"registry.check(DataConfig(name='encoded', resolution={SIDE}, path=Path({str(tmp_path)!r}))); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_paths_are_those_of_a_user(encoded, tmp_path, monkeypatch):
    write_pairs(tmp_path / "set")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert registry.class_count(encoded(Path("~/set"))) == 7
