"""Latents that are damaged, incomplete or mixed: left out with a reason, or refused in one sentence."""

from __future__ import annotations

import json
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from latent_folders import SIDE, write_pairs, write_shards, write_tree

from pdebench.data import registry
from pdebench.data.encoded import alike
from pdebench.errors import CellWarning, DataError

LAST = "latents_rank00_shard001.safetensors"


@pytest.fixture
def encoded(data):
    return partial(data, "encoded", SIDE, flip=False)


def told(config):
    """The training split, and what was said of the set."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train = registry.load(config, "train")
    return train, [str(one.message) for one in caught if one.category is CellWarning]


# ---- shards


def test_a_shard_that_was_cut_short_is_refused(encoded, tmp_path):
    write_shards(tmp_path)
    held = (tmp_path / LAST).read_bytes()
    for length, why in (
        (len(held) - 1, r"was cut short: it has [\d,]+ bytes, and '\w+' ends at"),
        (40, "its header"),
        (0, ""),
    ):
        (tmp_path / LAST).write_bytes(held[:length])
        with pytest.raises(DataError, match=rf"shard001\.safetensors .*{why}.*fetch it again, or move it away"):
            registry.check(encoded(tmp_path))


@pytest.mark.parametrize("header", [b"[]", b"{", b'{"latents": 3}', b'{"latents": {"dtype": "F32", "shape": [9], '
                                    b'"data_offsets": [0, 8]}}', b'{"latents": {"dtype": "F32", "shape": [-1], '
                                    b'"data_offsets": [0, -4]}}'])  # fmt: skip
def test_what_is_no_safetensors_file_is_refused(encoded, tmp_path, header):
    write_shards(tmp_path)
    (tmp_path / LAST).write_bytes(len(header).to_bytes(8, "little") + header + bytes(100))
    with pytest.raises(DataError, match=r"shard001\.safetensors is no safetensors file"):
        registry.check(encoded(tmp_path))


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"latents": None}, "has no tensor 'latents' .*: move it elsewhere"),
        ({"latents_flip": None}, "has no tensor 'latents_flip', which other shards beside it have"),
        ({"labels": None}, "has no tensor 'labels', which other shards beside it have"),
        ({"latents": torch.zeros(20, 3, 8, 8)}, r"are \[3, 8, 8\] of F32 and those of .*shard000.* \[3, 4, 4\] of F32"),
        ({"latents": torch.zeros(20, 3, 4, 4).half()}, r"are \[3, 4, 4\] of F16 and those"),
        ({"latents": torch.zeros(20, 3, 4, 4).int()}, r"not \[N, C, H, W\] of floats"),
        ({"latents_flip": torch.zeros(19, 3, 4, 4)}, r"'latents_flip' of .* are \[19, 3, 4, 4\]"),
        ({"labels": torch.zeros(19, dtype=torch.int64)}, r"'labels' of .* not one number for each of 20 latents"),
        ({"labels": torch.arange(20) - 1}, r"row 0 of .* has the label -1, not a whole number"),
        ({"labels": torch.arange(20) + 0.5}, r"row 0 of .* has the label 0\.5, not a whole number"),
    ],
)
def test_shards_agree_with_each_other(encoded, tmp_path, changed, why):
    write_shards(tmp_path, **changed)
    with pytest.raises(DataError, match=why):
        registry.check(encoded(tmp_path))


def test_without_a_scale_that_fits_shards_are_refused(encoded, tmp_path):
    write_shards(tmp_path)
    stats = tmp_path / "latents_stats.pt"
    cases = [
        ({"mean": torch.zeros(1, 4, 1, 1), "std": torch.ones(1, 4, 1, 1)}, "4 means and 4 .* for 3 channels"),
        ({"mean": torch.zeros(1, 3, 1, 1), "std": torch.zeros(1, 3, 1, 1)}, "the least 0, for 3 channels"),
        ({"mean": torch.zeros(1, 3, 1, 1)}, "it holds no tensors 'mean' and 'std'"),
    ]
    for said, why in cases:
        torch.save(said, stats)
        with pytest.raises(DataError, match=rf"latents_stats\.pt.*{why}.*give data\.shift"):
            registry.content(encoded(tmp_path))
    stats.write_bytes(b"no pickle")
    with pytest.raises(DataError, match=r"cannot read .*latents_stats\.pt: it holds no tensors"):
        registry.content(encoded(tmp_path))
    stats.unlink()
    with pytest.raises(DataError, match=r"latents_stats\.pt is not there, so nobody knows the scale"):
        registry.content(encoded(tmp_path))


def test_stats_alone_are_no_latents(encoded, tmp_path):
    torch.save({}, tmp_path / "latents_stats.pt")
    with pytest.raises(DataError, match=r"has latents_stats\.pt and no shards of latents"):
        registry.check(encoded(tmp_path))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(encoded, tmp_path, value):
    latents = torch.zeros(20, 3, SIDE, SIDE)
    latents[:, 1, 2, 3] = value
    write_shards(tmp_path, latents=latents)
    with pytest.raises(DataError, match=r"\d+ of the first \d+ latents .* no numbers \(NaN or infinite\): encode"):
        registry.load(encoded(tmp_path), "train")


# ---- one file an image


def test_files_that_are_not_as_the_others_are_left_out_each_with_its_reason(encoded, tmp_path):
    names = list(write_tree(tmp_path, 60))
    whole = (tmp_path / names[0]).read_bytes()
    (tmp_path / names[0]).write_bytes(whole[:-4])
    (tmp_path / names[1]).write_bytes(b"")
    np.save(tmp_path / names[2], np.zeros((8, 8, 8), np.float32))
    np.save(tmp_path / names[3], np.zeros((16, SIDE, SIDE), np.float16))  # as many bytes as the others have
    np.save(tmp_path / names[4], np.zeros((8, SIDE, SIDE), complex))
    (tmp_path / names[5]).unlink()
    np.save(tmp_path / "00000" / "unlisted.npy", np.zeros((8, SIDE, SIDE), np.float32))
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "link.npy").symlink_to("nowhere")
    (tmp_path / "loop.npy").symlink_to("loop.npy")
    train, said = told(encoded(tmp_path))
    _, validation = (registry.load(encoded(tmp_path), split) for split in ("train", "validation"))
    assert len(train) + len(validation) == 54
    assert train.skipped == validation.skipped == 10
    (left_out,) = (text for text in said if "left out" in text)
    assert left_out.startswith(f"10 of 64 files in {tmp_path} are left out: ")
    for reason in (
        "it has 636 bytes, where its header means 640", "it is no .npy file", "its values are complex128, not numbers",
        "its array is (8, 8, 8) of <f4, where most are (8, 4, 4) of <f4", "its array is (16, 4, 4) of <f2",
        "not in dataset.json", "in dataset.json, but there is no such file", "no .npy file", "no plain file",
    ):  # fmt: skip
        assert f"({reason}" in left_out


def test_of_very_many_files_one_of_another_kind_is_refused_when_it_is_read(encoded, tmp_path, monkeypatch):
    monkeypatch.setattr(alike, "_OPENED", 10)
    names = list(write_tree(tmp_path))
    np.save(tmp_path / names[30], np.zeros((16, SIDE, SIDE), np.float16))
    np.save(tmp_path / names[31], np.zeros((8, 8, 8), np.float32))
    given = encoded(tmp_path, scale=(0.18215,), shift=(0.0,))
    with pytest.raises(DataError, match=r"00030\.npy begins in another way than the files beside it"):
        [registry.load(given, split) for split in ("train", "validation")]
    (tmp_path / names[30]).unlink()
    assert registry.load(given, "train").skipped == 2


def test_where_no_file_is_whole_the_first_is_named(encoded, tmp_path):
    for name in write_tree(tmp_path, 3):
        (tmp_path / name).write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match=r"none of the 3 \.npy files .* first being 00000/.* \(it is no \.npy file\)"):
        registry.check(encoded(tmp_path))


@pytest.mark.parametrize("shape", [(4,), (5, 4, 4), (2, 8, 4, 4)])
def test_arrays_of_another_kind_are_refused(encoded, tmp_path, shape):
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.zeros(shape, np.float32))
    with pytest.raises(DataError, match=r"but EDM2 and REPA keep \(2C, H, W\) of floats"):
        registry.check(encoded(tmp_path))


def test_what_is_no_deviation_is_refused(encoded, tmp_path):
    for name, array in write_tree(tmp_path).items():
        np.save(tmp_path / name, -array)
    with pytest.raises(DataError, match=r"second half of the channels in .* negative values"):
        registry.load(encoded(tmp_path), "train")


def test_of_other_channels_than_four_the_scale_is_asked_for(encoded, tmp_path):
    random = np.random.default_rng(0)
    for number in range(50):
        np.save(tmp_path / f"{number}.npy", np.abs(random.normal(size=(32, SIDE, SIDE))).astype(np.float32))
    with pytest.raises(DataError, match=r"16 channels, of which EDM2 and REPA say nothing; say how a model sees them"):
        registry.load(encoded(tmp_path), "train")
    assert registry.load(encoded(tmp_path, scale=(1.0,), shift=(0.5,)), "train").seen.shape[1:] == (16, SIDE, SIDE)


@pytest.mark.parametrize("label", [-1, 0.5, "cat", None])
def test_labels_of_a_tree_are_whole_numbers(encoded, tmp_path, label):
    names = list(write_tree(tmp_path))
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": [[name, label] for name in names]}))
    with pytest.raises(DataError, match=r"has the label .*, not a whole number"):
        registry.check(encoded(tmp_path))


def test_a_list_of_other_files_is_refused(encoded, tmp_path):
    write_tree(tmp_path)
    (tmp_path / "dataset.json").write_text('{"labels": [["other/1.npy", 1]]}')
    with pytest.raises(DataError, match=r"dataset\.json lists none of the 50 \.npy files"):
        registry.check(encoded(tmp_path))


# ---- pairs


def test_pairs_without_one_half_are_left_out(encoded, tmp_path):
    write_pairs(tmp_path, 60)
    (tmp_path / "imagenet256_labels" / "3.npy").unlink()
    (tmp_path / "imagenet256_features" / "4.npy").unlink()
    (tmp_path / "imagenet256_labels" / "5.npy").write_bytes(b"")
    train, (said,) = told(encoded(tmp_path))
    assert train.skipped == 3
    for reason in ("it has no label", "a label without latents", "its label: it is no .npy file"):
        assert f"({reason})" in said


@pytest.mark.parametrize(("label", "shown"), [(-2, "-2"), (1.5, "1.5")])
def test_labels_of_pairs_are_whole_numbers(encoded, tmp_path, label, shown):
    write_pairs(tmp_path)
    for path in (tmp_path / "imagenet256_labels").iterdir():
        np.save(path, np.asarray([label]))
    with pytest.raises(DataError, match=rf"0\.npy of .*imagenet256_labels has the label {shown}, not a whole number"):
        registry.check(encoded(tmp_path))


def test_pairs_have_two_folders(encoded, tmp_path):
    write_pairs(tmp_path / "a")
    (tmp_path / "a" / "imagenet256_labels").rename(tmp_path / "a" / "labels")
    with pytest.raises(DataError, match=r"has its labels in .*/imagenet256_labels, and there is no such folder"):
        registry.check(encoded(tmp_path / "a"))
    write_pairs(tmp_path / "b")
    (tmp_path / "b" / "imagenet512_features").mkdir()
    with pytest.raises(DataError, match=r"several folders of features"):
        registry.check(encoded(tmp_path / "b"))
