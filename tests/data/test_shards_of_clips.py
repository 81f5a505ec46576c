"""Videos in tar shards: the pixels of the same videos in a folder, and what is said of bad ones."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from clip_kinds import CODECS, frames, write_video
from PIL import Image

from pdebench.data import registry
from pdebench.data.clips import video
from pdebench.errors import CellWarning, DataError


def tar(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def clip(tmp_path: Path, count: int, seed: int = 0, suffix: str = ".mp4") -> bytes:
    return write_video(tmp_path / f"one{suffix}", frames(count, seed=seed)).read_bytes()


def said(config, split="train"):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CellWarning)
        found = registry.load(config, split)
    return found, "\n".join(str(one.message) for one in caught)


@pytest.fixture
def videos(tmp_path) -> dict[str, bytes]:
    """A video of 7 frames in each container, for each split."""
    return {
        f"{split}/{'jump' if number % 2 else 'run'}/{number}{suffix}": clip(tmp_path, 7, seed, suffix)
        for split, seed in (("train", 0), ("val", 10))
        for number, suffix in enumerate(CODECS)
    }


def test_a_video_in_a_shard_has_the_pixels_of_the_same_video_in_a_folder(data, tmp_path, videos):
    members: dict[str, dict[str, bytes]] = {"train": {}, "val": {}}
    for name, content in videos.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        split, kind, file = name.split("/")
        label = int(kind == "run")
        members[split][file] = content
        key = file.split(".")[0]
        members[split] |= (
            {f"{key}.json": json.dumps({"label": label, "caption": "x"}).encode()}
            if label
            else {f"{key}.cls": b"0", f"{key}.jpg": b"a thumbnail"}
        )
    for split, inside in members.items():
        tar(tmp_path / "shards" / f"{split}-000.tar", inside)
    for stride in (1, 2):
        keys = {"frames": 3, "frame_stride": stride}
        by_folder, by_shards = (
            [registry.load(data(name, 24, tmp_path / where, **keys), split) for split in ("train", "validation")]
            for name, where in (("clips", "folder"), ("shards", "shards"))
        )
        for one, other in zip(by_folder, by_shards, strict=True):
            assert one.images.shape == other.images.shape == ((10 if stride == 1 else 5), 3, 3, 24, 24)
            held = [
                sorted((row.tobytes(), int(label)) for row, label in zip(part.images[:], part.labels, strict=True))
                for part in (one, other)
            ]
            assert held[0] == held[1]
            assert other.class_names == ("0", "1")
    assert registry.class_count(data("shards", 24, tmp_path / "shards", frames=3)) == 2
    rows = by_shards[0].images
    assert np.array_equal(pickle.loads(pickle.dumps(rows))[1:3], rows[1:3])


def test_frames_far_into_a_long_video_are_sought_within_its_bytes(data, tmp_path):
    content = clip(tmp_path, 150, suffix=".webm")
    inside = {"before.mp4": clip(tmp_path, 6), "long.webm": content, "after.mp4": clip(tmp_path, 6, 1)}
    tar(tmp_path / "shards" / "train.tar", inside)
    tar(tmp_path / "shards" / "val.tar", {"a.mp4": clip(tmp_path, 6, 2)})
    for where, name in (
        ("train/x", "long.webm"),
        ("train/x", "before.mp4"),
        ("val/x", "a.mp4"),
        ("train/x", "after.mp4"),
    ):
        path = tmp_path / "folder" / where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(inside.get(name) or clip(tmp_path, 6, 2))
    one = registry.load(data("clips", 16, tmp_path / "folder", frames=6), "train")
    other = registry.load(data("shards", 16, tmp_path / "shards", frames=6), "train")
    assert len(one) == len(other) == 27
    assert {row.tobytes() for row in one.images[:]} == {row.tobytes() for row in other.images[:]}
    assert other.labels is None


def test_bad_members_are_counted_with_their_reasons(data, tmp_path):
    whole = clip(tmp_path, 20)
    inside = {
        "a.mp4": clip(tmp_path, 6), "a.cls": b"0", "torn.mp4": whole[:900], "torn.cls": b"0",
        "playlist.avi": b"#EXTM3U\n/etc/passwd\n", "playlist.cls": b"1", "short.mp4": clip(tmp_path, 2),
        "short.cls": b"1", "bare.mp4": whole, "b.mp4": clip(tmp_path, 6, 1), "b.cls": b"1",
        "b.png": b"its thumbnail", "c.cls": b"1",
    }  # fmt: skip
    tar(tmp_path / "train.tar", inside)
    tar(tmp_path / "val.tar", {"v.mp4": clip(tmp_path, 6, 2), "v.cls": b"0"})
    found, text = said(data("shards", 16, tmp_path, frames=3))
    assert len(found) == 4
    assert found.skipped == 6
    for told in (
        "6 members are left out", "train.tar/torn.mp4, train.tar/playlist.avi (Invalid data",
        "train.tar/short.mp4 (shorter than data.frames: 3)", "bare of train.tar (no label beside it, as others have)",
        "b.png of train.tar (neither video nor label)", "c.cls of train.tar (no video has that name)",
    ):  # fmt: skip
        assert told in text


def test_a_hash_of_the_key_holds_out_and_keeps_a_recording_together(data, tmp_path):
    content = clip(tmp_path, 2)
    inside = {f"v_Run_g{number // 4:02}_c{number % 4:02}.mp4": content for number in range(80)}
    tar(tmp_path / "all.tar", inside)
    sides = [registry.load(data("shards", 16, tmp_path, frames=2), split) for split in ("train", "validation")]
    names = [{held.clip.recording for held in part.images.clips} for part in sides]
    assert names[0]
    assert names[1]
    assert not names[0] & names[1]
    assert sum(map(len, sides)) == 80


def test_what_a_set_is_and_what_was_looked_at_is_kept(data, tmp_path, monkeypatch):
    tar(tmp_path / "train.tar", {"a.mp4": clip(tmp_path, 6)})
    tar(tmp_path / "val.tar", {"a.mp4": clip(tmp_path, 6, 1)})
    config = data("shards", 16, tmp_path, frames=3)
    first, checksum = registry.content(config), registry.load(config, "train").checksum
    monkeypatch.setattr(video, "look", lambda one: pytest.fail("it was looked at before"))
    assert registry.load(config, "train").checksum == checksum
    monkeypatch.undo()
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    assert registry.load(data("shards", 16, tmp_path, frames=2), "train").checksum != checksum
    tar(tmp_path / "train.tar", {"a.mp4": clip(tmp_path, 6, 2)})
    assert registry.content(config) != first


def test_videos_pictures_and_frames_that_do_not_go_together_are_refused_in_a_sentence(data, tmp_path):
    tar(tmp_path / "videos" / "train.tar", {"a.mp4": clip(tmp_path, 6)})
    stream = io.BytesIO()
    Image.fromarray(frames(1)[0]).save(stream, "PNG")
    tar(tmp_path / "pictures" / "train.tar", {"a.png": stream.getvalue()})
    for config, why in (
        (data("shards", 16, tmp_path / "videos"), r"data.frames is missing, and the shards in .* hold videos"),
        (data("shards", 16, tmp_path / "pictures", frames=3), r"hold no videos but such as a\.png: leave it out"),
        (data("shards", 16, tmp_path / "videos", frames=3, scale=(1.0,)), "data.scale is of latents"),
    ):
        with pytest.raises(DataError, match=why) as error:
            registry.check(config)
        assert "\n" not in str(error.value)


def test_a_shard_that_changed_since_is_refused_where_a_row_is_read(data, tmp_path):
    tar(tmp_path / "train.tar", {"a.mp4": clip(tmp_path, 6)})
    tar(tmp_path / "val.tar", {"a.mp4": clip(tmp_path, 6, 1)})
    rows = registry.load(data("shards", 16, tmp_path, frames=3), "train").images
    tar(tmp_path / "train.tar", {"a.mp4": clip(tmp_path, 6, 3)})
    with pytest.raises(DataError, match=r"train\.tar was changed since"):
        rows[0]


def test_shards_that_short_clips_would_empty_are_foreseen(data, tmp_path):
    inside = {"a.mp4": clip(tmp_path, 6), "a.cls": b"0", "b.mp4": clip(tmp_path, 2), "b.cls": b"1"}
    tar(tmp_path / "train.tar", inside)
    tar(tmp_path / "val.tar", {"v.mp4": clip(tmp_path, 6, 2), "v.cls": b"0"})
    registry.foresee(data("shards", 16, tmp_path, frames=2))
    with pytest.raises(DataError, match=r"class '1' in .* left without a clip to train on: train.tar/b.mp4 \(shorter"):
        registry.foresee(data("shards", 16, tmp_path, frames=3))
    with pytest.raises(DataError, match=r"none of the 3 clips in .* can be used"):
        registry.foresee(data("shards", 16, tmp_path, frames=7))
