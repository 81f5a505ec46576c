"""A packed set is the set that it was made of, whatever happened while it was packed."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from clip_kinds import frames, write_frames
from PIL import Image
from typer.testing import CliRunner

from pdebench.cli import app
from pdebench.data import registry
from pdebench.data.packed import images as packing
from pdebench.data.packed import writer
from pdebench.errors import CellWarning, DataError

SPLITS = ("train", "validation")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Sixty images in two classes, one of them cut short."""
    root = tmp_path / "images"
    for number in range(60):
        file = root / ("cats" if number % 2 else "dogs") / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(pixels).save(file)
    broken = root / "cats" / "broken.png"
    broken.write_bytes((root / "cats" / "1.png").read_bytes()[:200])
    return root


def pack(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["data", "pack", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def packed(images: Path, tmp_path: Path) -> Path:
    pack(images, "--resolution", 8, "--out", tmp_path / "packed", "--workers", 1)
    return tmp_path / "packed"


def loaded(config):  # type: ignore[no-untyped-def]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CellWarning)
        return [registry.load(config, split) for split in SPLITS]


def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PART_BYTES", 10 * 3 * 8 * 8)


def test_it_holds_what_the_folder_holds_in_the_same_order(packed: Path, images: Path, data) -> None:  # type: ignore[no-untyped-def]
    for ours, theirs in zip(loaded(data("packed", 8, packed)), loaded(data("folder", 8, images)), strict=True):
        assert np.array_equal(ours.images[:], theirs.images)
        assert np.array_equal(ours.labels, theirs.labels)
        assert ours.class_names == theirs.class_names == ("cats", "dogs")


def test_what_was_left_out_is_said_and_counted(packed: Path, data) -> None:  # type: ignore[no-untyped-def]
    with pytest.warns(CellWarning, match=r"1 image of .*images was left out: cats/broken\.png"):
        found = registry.load(data("packed", 8, packed), "train")
    assert found.skipped == 1


def test_interrupted_it_goes_on(
    images: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data
) -> None:  # type: ignore[no-untyped-def]
    small_parts(monkeypatch)
    out, asked = tmp_path / "again", data("folder", 8, images)
    made: list[int] = []

    def each(work, workers):  # type: ignore[no-untyped-def]
        for one in work:
            if len(made) == 3:
                raise KeyboardInterrupt
            packing._make(one)
            made.append(one.files.number)
            yield

    monkeypatch.setattr(packing, "_each", each)
    with pytest.raises(KeyboardInterrupt):
        packing.pack(asked, out, 1, lambda done, total: None)
    with pytest.raises(DataError, match="is not finished: run the same"):
        registry.check(data("packed", 8, out))
    (out / ".train-00003.npy.0123456789abcdef.tmp").write_bytes(b"half")
    made_before = list(made)
    made.clear()
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(packing, "_each", lambda work, workers: map(packing._make, work))
    packing.pack(asked, out, 1, lambda done, total: told.append((done, total)))
    assert made_before == [0, 1, 2]
    assert told == [(4, 7), (5, 7), (6, 7), (7, 7)]
    assert not list(out.glob(".*"))
    for ours, theirs in zip(loaded(data("packed", 8, out)), loaded(data("packed", 8, packed)), strict=True):
        assert np.array_equal(ours.images[:], theirs.images[:])
        assert np.array_equal(ours.labels, theirs.labels)


def test_any_source_can_be_packed(tmp_path: Path, data) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "photos"
    code, said, _ = pack("quickstart", "--resolution", 32, "--out", out)
    assert code == 0
    assert "1,630 images to train on, 192 held out" in said
    for ours, theirs in zip(loaded(data("packed", 32, out)), loaded(data("emoji", 32)), strict=True):
        assert np.array_equal(ours.images[:], theirs.images)
        assert np.array_equal(ours.labels, theirs.labels)


def test_a_changed_file_is_refused_by_content(packed: Path, data) -> None:  # type: ignore[no-untyped-def]
    config = data("packed", 8, packed)
    before = registry.content(config)
    assert registry.content(config) == before
    path = packed / "train-00000.npy"
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(DataError, match=r"train-00000\.npy is not as it was packed"):
        registry.content(config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 16}, "was packed at 8 px"),
        ({"scale": (1.0,)}, "holds images, not latents"),
        ({"channels": 4}, "data.channels is 4, and .* has 3"),
        ({"validation": Path("elsewhere")}, "does not read data.validation"),
        ({"path": Path("nowhere")}, "there is no folder nowhere"),
    ],
)
def test_what_does_not_fit_is_said(packed: Path, data, change, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=message):
        registry.check(data(**{"name": "packed", "resolution": 8, "path": packed, **change}))


def test_an_altered_index_is_refused(packed: Path, data) -> None:  # type: ignore[no-untyped-def]
    index = packed / "index.json"
    index.write_text(index.read_text().replace('"cats"', '"cows"'))
    with pytest.raises(DataError, match=r"index\.json is not as it was written"):
        registry.check(data("packed", 8, packed))


def test_another_folder_is_left_as_it_is(images: Path, packed: Path) -> None:
    for out in (images, packed):
        with pytest.raises(DataError, match="holds no packed set of these images"):
            pack(images, "--resolution", 4, "--out", out, "--workers", 1)
    assert len(list(images.rglob("*.png"))) == 61


def test_its_statistics_name_copies_within_and_across_splits(tmp_path: Path) -> None:
    for split, values in (("train", (0, 0, 100)), ("val", (100, 200))):
        for number, value in enumerate(values):
            file = tmp_path / "set" / split / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (value, 10, 20)).save(file)
    done = CliRunner().invoke(app, ["data", "stats", str(tmp_path / "set"), "--resolution", "8", "--json"])
    found = json.loads(done.stdout)
    assert (found["splits"]["train"]["images"], found["splits"]["train"]["copies"], found["shared"]) == (3, 1, 1)
    assert found["splits"]["train"]["mean"] == pytest.approx([100 / 3, 10, 20])
    assert found["splits"]["validation"]["std"] == pytest.approx([50, 0, 0])


def test_images_are_shown(packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "shown.png"
    done = CliRunner().invoke(app, ["data", "show", str(packed), "--out", str(out), "--count", "4"])
    assert "4 of " in done.stdout
    with Image.open(out) as shown:
        assert shown.size == (2 * 10 + 2, 2 * 10 + 2)


def test_packed_clips_are_those_of_their_videos(tmp_path: Path, data) -> None:  # type: ignore[no-untyped-def]
    for number in range(12):
        split, kind = ("val" if number < 4 else "train"), ("run" if number % 2 else "jump")
        write_frames(tmp_path / "clips" / split / kind / f"{number:02}", frames(7, seed=number))
    out = tmp_path / "packed"
    code, said, _ = pack(tmp_path / "clips", "--resolution", 8, "--set", "frames=3", "--out", out)
    assert code == 0
    assert "16 clips to train on, 8 held out" in said
    for split in SPLITS:
        of_videos = registry.load(data("clips", 8, tmp_path / "clips", frames=3), split)
        of_packed = registry.load(data("packed", 8, out, frames=3), split)
        assert np.array_equal(of_packed.images[:], of_videos.images[:])
        assert np.array_equal(of_packed.labels, of_videos.labels)
        assert of_packed.class_names == ("jump", "run")
    for asked, why in ((None, "data.frames is not given, and .* holds clips of 3 frames: set it to 3"), (4, "is 4")):
        with pytest.raises(DataError, match=why):
            registry.check(data("packed", 8, out, frames=asked))
    with pytest.raises(DataError, match=r"'packed' does not read data\.frame_stride"):
        registry.check(data("packed", 8, out, frames=3, frame_stride=2))
    told = CliRunner().invoke(app, ["data", "stats", str(out)]).stdout
    assert "3 x 3 x 8 x 8 of uint8" in told
    assert "train: 16 clips, 0 of them copies" in told
    sheet, moving = tmp_path / "sheet.png", tmp_path / "moving.webp"
    for path in (sheet, moving):
        done = CliRunner().invoke(app, ["data", "show", str(out), "--out", str(path), "--count", "4"])
        assert "4 of 16 clips of the train split" in done.stdout
    rows = registry.load(data("packed", 8, out, frames=3), "train").images
    with Image.open(sheet) as shown:
        assert np.array_equal(np.asarray(shown)[12:20, 22:30], rows[1][:, 2].transpose(1, 2, 0)), "second clip's last"
    with Image.open(moving) as shown:
        assert shown.n_frames == 3
        shown.seek(2)
        assert np.array_equal(np.asarray(shown.convert("RGB"))[2:10, 12:20], rows[1][:, 2].transpose(1, 2, 0))


def test_packed_images_are_no_clips(packed: Path, data) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=r"data\.frames is 3, and .* holds images: leave it out"):
        registry.check(data("packed", 8, packed, frames=3))
