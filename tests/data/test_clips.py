"""A user's own videos: which frames become which rows, whatever they are kept in, and what is said of bad ones."""

from __future__ import annotations

import json
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from clip_kinds import CODECS, frames, write_animation, write_frames, write_video
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pdebench.data import registry
from pdebench.data.clips import video
from pdebench.data.clips.layout import Clip, list_clips
from pdebench.data.clips.source import _split
from pdebench.data.clips.video import Looked, Video
from pdebench.data.pixels import centre_crop
from pdebench.data.scenes import scene
from pdebench.errors import CellWarning, DataError
from pdebench.run.preflight import preflight
from pdebench.suite.config import Cell


def both(config):
    return [registry.load(config, split) for split in ("train", "validation")]


def said(config):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CellWarning)
        registry.load(config, "train")
    return "\n".join(str(one.message) for one in caught)


def window(made, resolution):
    """Frames (T, H, W, 3) as a row (3, T, R, R), by the function that images go through."""
    return np.stack([centre_crop(Image.fromarray(image), resolution) for image in made], 1)


@pytest.fixture
def folders(tmp_path):
    """Twelve clips of 7 frames in two classes, as folders of frames in two splits."""
    root = tmp_path / "clips"
    for number in range(12):
        split, kind = ("val" if number < 4 else "train"), ("run" if number % 2 else "jump")
        write_frames(root / split / kind / f"{number:02}", frames(7, seed=number))
    return root


def test_a_folder_of_frames_is_cut_into_windows_exact_to_the_bit(data, folders):
    config = data("clips", 24, folders, frames=3)
    train, held_out = both(config)
    assert train.images.shape == (16, 3, 3, 24, 24), "8 clips of 7 frames have two windows each"
    assert held_out.images.shape == (8, 3, 3, 24, 24)
    assert train.class_names == ("jump", "run")
    expected = {
        window(frames(7, seed=number)[begin : begin + 3], 24).tobytes(): number % 2
        for number in range(4, 12)
        for begin in (0, 3)
    }
    rows = train.images[:]
    assert {row.tobytes(): label for row, label in zip(rows, train.labels, strict=True)} == expected
    assert np.array_equal(train.images[[5, 0, -1]], rows[[5, 0, -1]])
    assert len(set(train.labels[:8])) == 2, "windows are mixed"
    assert registry.class_count(config) == 2


def test_a_stride_takes_every_second_frame(data, folders):
    train, _ = both(data("clips", 24, folders, frames=3, frame_stride=2))
    assert train.images.shape[0] == 8, "floor(7 / (3 x 2)) is one"
    expected = {window(frames(7, seed=number)[0:6:2], 24).tobytes() for number in range(4, 12)}
    assert {row.tobytes() for row in train.images[:]} == expected


@pytest.mark.parametrize("suffix", sorted(CODECS))
def test_a_video_gives_its_frames_wherever_a_window_begins(data, tmp_path, suffix):
    made = frames(130, seed=1)
    write_video(tmp_path / "clips" / "train" / f"a{suffix}", made)
    write_video(tmp_path / "clips" / "val" / f"b{suffix}", frames(10, seed=2))
    train, _ = both(data("clips", 24, tmp_path / "clips", frames=10))
    assert len(train) == 13
    rows = train.images[:].astype(int)
    begins = [begin for _, begin in train.images.windows]
    assert sorted(begins) == list(range(0, 130, 10))
    off = np.stack([np.abs(row - window(made[b : b + 10], 24)) for row, b in zip(rows, begins, strict=True)])
    inside = off[..., 3:5, 3:5]  # of a patch, away from the edges that 4:2:0 blurs
    assert inside.max() <= (0 if suffix == ".mkv" else 30)
    assert inside.mean() < 5
    other = np.abs(rows[0] - window(made[begins[1] : begins[1] + 10], 24))[..., 3:5, 3:5]
    assert other.mean() > 40, "another window is nothing like it"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(st.integers(0, 199), st.integers(1, 8), st.integers(1, 5), st.sampled_from([".mp4", ".mov", ".webm", ".avi"]))
def test_frames_that_are_sought_are_those_that_are_read_through(tmp_path_factory, begin, count, stride, suffix):
    path = tmp_path_factory.getbasetemp() / f"sought{suffix}"
    if not path.exists():
        write_video(path, frames(200, seed=3))
    looked = video.look(Video(path, path.suffix))
    wanted = range(min(begin, 199 - (count - 1) * stride), 200, stride)[:count]
    sought = [np.asarray(image) for image in video.frames(Video(path, path.suffix), wanted, looked.times)]
    through = [np.asarray(image) for image in video.frames(Video(path, path.suffix), wanted, ())]
    assert looked.frames == 200
    assert np.array_equal(sought, through)


@pytest.mark.parametrize("name", ["a.webp", "a.gif"])
def test_animations_are_clips_and_their_stills_are_frames(data, tmp_path, name):
    root = tmp_path / "clips"
    made = frames(4, seed=5)
    for number in range(2):
        write_animation(root / "train" / f"{number}{name}", made if number == 0 else frames(4, seed=6 + number))
    write_animation(root / "val" / name, frames(4, seed=8))
    stills = frames(4, seed=9)
    (root / "val" / "still").mkdir()
    for number, image in enumerate(stills):
        Image.fromarray(image).save(root / "val" / "still" / f"{number}.webp", lossless=True)
    train, held_out = both(data("clips", 24, root, frames=4))
    assert {row.tobytes() for row in held_out.images[:]} >= {window(stills, 24).tobytes()}
    off = min(np.abs(row.astype(int) - window(made, 24)).max() for row in train.images[:])
    assert off <= (0 if name == "a.webp" else 60), "a GIF has 256 colours"


def test_no_video_stands_in_both_splits_nor_does_one_recording(data, tmp_path):
    root = tmp_path / "clips"
    for number in range(40):
        write_frames(root / "Archery" / f"v_Archery_g{number // 4:02}_c{number % 4:02}", frames(6, seed=number))
    train, held_out = both(data("clips", 24, root, frames=2))
    names = [{held.clip.name for held in part.images.clips} for part in (train, held_out)]
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == 40
    assert not {name[:-4] for name in names[0]} & {name[:-4] for name in names[1]}, "nor clips of one recording"
    assert len(train) + len(held_out) == 120


def test_the_split_of_a_clip_is_of_its_bytes(tmp_path):
    one, other = (Clip(name, (Path(name),), "video") for name in ("a.mp4", "b/c.mp4"))
    assert _split(one, "ff") == _split(other, "ff")
    assert {_split(one, str(number)) for number in range(60)} == {"train", "validation"}


@pytest.mark.parametrize("how", ["v_Run_g01_c01", "v_Run_g01_c01.avi", "v_Run_g01_c01.avi 2"])
def test_a_list_as_ucf101_has_it_says_what_is_held_out(data, tmp_path, how):
    for number in range(1, 4):
        write_frames(tmp_path / "clips" / "Run" / f"v_Run_g01_c0{number}", frames(4, seed=number))
    (tmp_path / "testlist01.txt").write_text(f"Run/{how}\r\nRun/v_Run_g09_c09.avi\r\n")
    config = data("clips", 24, tmp_path / "clips", frames=4, validation=tmp_path / "testlist01.txt")
    train, held_out = both(config)
    assert [len(train), len(held_out)] == [2, 1]
    assert np.array_equal(held_out.images[0], window(frames(4, seed=1), 24))
    assert "1 of the 2 clips that testlist01.txt names are not there: Run/v_Run_g09_c09.avi" in said(config)
    for text, why in (("Walk/x.avi\n", "names none of the 3 clips"), ("", "it is empty")):
        (tmp_path / "testlist01.txt").write_text(text)
        with pytest.raises(DataError, match=why):
            registry.check(config)


def test_another_folder_holds_out_clips_of_the_same_classes(data, tmp_path, folders):
    held_out = folders / "val"
    config = data("clips", 24, folders / "train", frames=3, validation=held_out)
    assert [len(one) for one in both(config)] == [16, 8]
    (held_out / "jump").rename(held_out / "swim")
    with pytest.raises(DataError, match=r"other classes than those that are trained on \(swim/\)"):
        registry.check(config)


def test_a_video_of_a_telephone_held_upright_is_shown_upright(tmp_path):
    made = frames(3, size=(40, 24))
    path = write_video(tmp_path / "a.mp4", made)
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 24 << 16, 0, 1 << 30)
    path.write_bytes(content)  # a quarter turn clockwise
    looked = video.look(Video(path, path.suffix))
    assert (looked.width, looked.height) == (24, 40)
    (first, *_) = video.frames(Video(path, path.suffix), range(3), looked.times)
    off = np.abs(np.asarray(first).astype(int) - np.rot90(made[0], -1))
    assert off[3:6, 3:5].max() < 12


def test_bad_clips_are_named_and_left_out(data, folders):
    train = folders / "train" / "run"
    (train / "torn.mp4").write_bytes(write_video(folders.parent / "x.mp4", frames(20)).read_bytes()[:900])
    (train / "playlist.avi").write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    (train / "short").mkdir()
    Image.fromarray(frames(1)[0]).save(train / "short" / "1.png")
    write_frames(train / "sizes", frames(7))
    Image.fromarray(frames(1, size=(64, 48))[0]).save(train / "sizes" / "3.png")
    write_frames(train / "torn_frame", frames(7))
    (train / "torn_frame" / "5.png").write_bytes((train / "torn_frame" / "5.png").read_bytes()[:60])
    (train / "notes.txt").write_text("mine")
    config = data("clips", 24, folders, frames=3)
    text = said(config)
    for told in (
        "6 of 18 are left out", "run/torn.mp4", "run/playlist.avi", "run/short (shorter than data.frames: 3)",
        "its frames are of several sizes: 1.png of 32 x 24 and 3.png of 64 x 48", "5.png: ",
        "run/notes.txt (neither a clip nor a frame)",
    ):  # fmt: skip
        assert told in text
    found = registry.load(config, "train")
    assert len(found) == 16
    assert found.skipped == 6


def test_grey_frames_become_rgb_like_all_others(data, tmp_path):
    for split in ("train", "val"):
        write_frames(tmp_path / split / "a", frames(4))
        for path in (tmp_path / split / "a").iterdir():
            Image.open(path).convert("L").save(path)
        write_frames(tmp_path / split / "b", frames(4, seed=1))
    train, _ = both(data("clips", 24, tmp_path, frames=4))
    assert train.images.shape == (2, 3, 4, 24, 24)
    assert any(np.array_equal(row[0], row[1]) for row in train.images[:])


def test_uneven_and_differing_rates_are_said(data, tmp_path):
    write_video(tmp_path / "train" / "a.mp4", frames(6), times=[0, 1, 2, 7, 8, 9])
    write_video(tmp_path / "train" / "b.mp4", frames(6, seed=1))
    write_video(tmp_path / "val" / "c.mp4", frames(6, seed=2))
    text = said(data("clips", 24, tmp_path, frames=6))
    assert "1 of 3 clips have frames at uneven times: frames are taken one after another" in text
    assert "frames a second, and are not resampled" in text


def test_a_copy_that_is_trained_on_is_said(data, folders):
    write_frames(folders / "train" / "jump" / "copy", frames(7, seed=0))
    assert "1 clip is held out and trained on as well" in said(data("clips", 24, folders, frames=3))


def test_nothing_that_can_be_used_is_refused(data, folders, tmp_path):
    with pytest.raises(DataError, match=r"none of the 12 clips .* can be used: .*shorter than data.frames: 8"):
        registry.load(data("clips", 24, folders, frames=8), "train")
    with pytest.raises(DataError, match=r"shorter than data.frames x data.frame_stride, 4 x 2 frames"):
        registry.load(data("clips", 24, folders, frames=4, frame_stride=2), "train")
    with pytest.raises(DataError, match=r"needs data\.frames"):
        registry.check(data("clips", 24, folders))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no clips in"):
        registry.check(data("clips", 24, tmp_path / "empty", frames=2))
    with pytest.raises(DataError, match="has 7 pictures and no clips"):
        registry.check(data("clips", 24, folders / "train" / "jump" / "04", frames=2))
    write_frames(tmp_path / "one" / "a", frames(4))
    with pytest.raises(DataError, match=r"split of .* is empty \(1 clip in all\)"):
        registry.check(data("clips", 24, tmp_path / "one", frames=2))
    write_frames(folders / "train" / "loose", frames(4))
    with pytest.raises(DataError, match="clips beside sub-folders with clips"):
        registry.check(data("clips", 24, folders, frames=2))


@pytest.mark.parametrize(("key", "value"), [("frames", 4), ("frame_stride", 2)])
def test_still_images_have_no_frames(data, key, value):
    with pytest.raises(DataError, match=f"'emoji' does not read data.{key}: leave it out"):
        registry.check(data("emoji", **{key: value}))


def test_a_missing_decoder_is_said_with_what_installs_it(data, tmp_path, monkeypatch):
    write_video(tmp_path / "train" / "a.mp4", frames(4))
    write_frames(tmp_path / "val" / "b", frames(4))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"needs the package av for \.mp4 files: .*pip install"):
        registry.check(data("clips", 24, tmp_path, frames=4))
    (tmp_path / "train" / "a.mp4").unlink()
    write_frames(tmp_path / "train" / "a", frames(4))
    registry.check(data("clips", 24, tmp_path, frames=4))


def test_what_a_set_holds_is_its_clips_and_not_where_they_lie(data, folders, tmp_path):
    config = data("clips", 24, folders, frames=3)
    before = registry.content(config)
    moved = tmp_path / "moved"
    folders.rename(moved)
    (moved / "train" / "run" / "05").rename(moved / "train" / "run" / "fifth")
    assert registry.content(data("clips", 24, moved, frames=3)) == before
    path = moved / "train" / "run" / "fifth" / "2.png"
    Image.fromarray(frames(1, seed=77)[0]).save(path)
    assert registry.content(data("clips", 24, moved, frames=3)) != before


def test_a_clip_that_changes_while_it_is_trained_on_is_refused(data, folders):
    found = registry.load(data("clips", 24, folders, frames=3), "train")
    for path in folders.rglob("2.png"):
        Image.fromarray(frames(1, seed=77)[0]).save(path)
    with pytest.raises(DataError, match="was changed since it was looked at"):
        found.images[:]


def test_clips_are_looked_at_once(data, folders, monkeypatch):
    config = data("clips", 24, folders, frames=3)
    first = registry.load(config, "train")
    monkeypatch.setattr("pdebench.data.clips.index._look", lambda clip: pytest.fail("it was decoded again"))
    again = registry.load(config, "train")
    assert again.checksum == first.checksum
    assert np.array_equal(again.images[:], first.images[:])


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    write_frames(tmp_path / "a", frames(12))
    (clip,) = list_clips(tmp_path, None).clips
    assert [path.name for path in clip.paths] == [f"{number}.png" for number in range(1, 13)]


def test_moving_sprites_are_the_scenes_and_their_class_is_in_front(data, monkeypatch):
    monkeypatch.setattr("pdebench.data.sprites_video.COUNTS", {"train": 40, "validation": 8})
    config = data("sprites_video", 16, frames=5, frame_stride=2)
    train, held_out = both(config)
    assert train.images.shape == (40, 3, 5, 16, 16)
    assert len(held_out) == 8
    assert train.class_names is not None
    assert len(train.class_names) == registry.class_count(config) == 9
    made = scene("train", 7, 9, 16)
    assert np.array_equal(train.images[7], made.frames[::2].transpose(3, 0, 1, 2))
    assert train.labels[7] == made.sprites[-1].value - 1
    x, y = np.asarray(made.sprites[-1].centre) + 4 * np.asarray(made.sprites[-1].velocity)
    assert 0 <= min(x, y) <= max(x, y) < 16, "in the middle of the clip it is inside"
    moving = (np.diff(train.images[:].astype(int), axis=2) != 0).any((1, 2, 3, 4))
    assert moving.all()
    with pytest.raises(DataError, match=r"'sprites_video' needs data\.frames"):
        registry.check(data("sprites_video", 16))


def test_a_set_that_short_clips_would_empty_is_foreseen_by_looking_at_a_few(data, folders, monkeypatch):
    registry.foresee(data("clips", 24, folders, frames=7))
    for keys, asked in (
        ({"frames": 8}, "data.frames: 8"),
        ({"frames": 4, "frame_stride": 2}, "data.frames x data.frame_stride, 4 x 2 frames"),
    ):
        with pytest.raises(DataError, match=r"none of the 12 clips in .* can be used: ") as error:
            registry.foresee(data("clips", 24, folders, **keys))
        assert f"(shorter than {asked})" in str(error.value)
        assert "\n" not in str(error.value)
    looked = []
    monkeypatch.setattr(
        "pdebench.data.clips.pictures.look_at_frames", lambda paths: looked.append(paths) or Looked(7, 9, 9)
    )
    monkeypatch.setenv("PDEBENCH_CACHE", str(folders.parent / "another"))
    registry.foresee(data("clips", 24, folders, frames=7))
    assert len(looked) == 3, "one of each class to train on, and one that is held out"


def test_a_class_or_a_split_whose_clips_are_all_too_short_is_foreseen(data, folders):
    for number, split in ((0, "train"), (1, "val")):
        write_frames(folders / split / "jump" / "brief", frames(2, seed=90 + number))
    config = data("clips", 24, folders, frames=3)
    registry.foresee(config)
    assert "2 of 14 are left out" in said(config), "single short clips are counted, as ever"
    for clip in (folders / "train" / "run").iterdir():
        for frame in sorted(clip.iterdir())[2:]:
            frame.unlink()
    with pytest.raises(DataError, match=r"class 'run' in .* would be left without a clip to train on: train/run/"):
        registry.foresee(config)
    registry.foresee(config, trained=False)  # other weights may be evaluated on the others
    trained = {"name": "clips", "path": str(folders), "resolution": 24, "frames": 2}
    model = {"family": "DiT", "size": "4XS", "patch": 8}
    train = {"steps": 1, "batch_size": 2, "lr": 1e-3}
    sections = {"suite": "s", "data": trained, "model": model, "train": train, "evaluate": {"samples": 0, "frames": 3}}
    preflight([Cell.model_validate_json(json.dumps(sections))], folders)
    for clip in (folders / "train" / "run").iterdir():
        write_frames(clip, frames(7, seed=int(clip.name)))
    for clip in (folders / "val").glob("*/*"):
        for frame in sorted(clip.iterdir())[2:]:
            frame.unlink()
    with pytest.raises(
        DataError, match=r"none of the 5 held-out clips in .* can be used: .*shorter than data.frames: 3"
    ):
        registry.foresee(config, trained=False)
