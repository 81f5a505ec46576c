"""Pillow draws some vector formats by running an interpreter: no file that is read as a picture makes it do so."""

from __future__ import annotations

import io
import os
import struct
import sys
import types
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import EpsImagePlugin, Image
from started_programs import started

from pdebench.data import pixels
from pdebench.data.folder import FolderSource
from pdebench.errors import DataError
from pdebench.files.picture import LARGEST, read_png
from pdebench.report.sections.samples import encode
from pdebench.results import tracking
from pdebench.suite.config import DataConfig

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n%%EOF\n"
RECORD = {"suite": "tiny", "cell": "0123456789ab", "model_name": "DiT-XXS/8", "started_at": "2026-01-01T00:00:00+00:00"}


@pytest.fixture(autouse=True)
def no_program(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """None is started; Pillow looks for its interpreter anew."""
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    started.clear()
    yield
    assert not started


def test_the_attack_works_where_it_is_let() -> None:
    with pytest.raises(OSError, match="Ghostscript"):
        Image.open(io.BytesIO(EPS)).load()
    assert started
    started.clear()


def shown(folder: Path) -> object:
    return encode(folder / "samples.png", 10**6)


def to_tensorboard(folder: Path) -> object:
    tracking.write("tensorboard", folder, RECORD)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / "tensorboard")).Reload().Tags()["images"] or None


def to_wandb(folder: Path) -> object:
    """A stand-in, which opens what it is given as a name as wandb does."""

    def image(given: Any) -> Any:
        return Image.open(given).load() if isinstance(given, str) else given

    logged: dict[str, Any] = {}
    run = types.SimpleNamespace(log=lambda row, **more: logged.update(row), summary={}, finish=lambda: None)
    stand_in = types.SimpleNamespace(init=lambda **more: run, Settings=dict, Image=image)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "wandb", stand_in)
        patch.setattr(os, "environ", dict(os.environ))
        tracking.write("wandb", folder, RECORD)
    return logged.get("samples")


READERS = [shown, to_tensorboard, to_wandb]


@pytest.mark.parametrize("read", READERS)
def test_samples_are_shown(tmp_path: Path, read: Callable[[Path], object]) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "samples.png")
    assert read(tmp_path) is not None


def eps(path: Path) -> None:
    path.write_bytes(EPS)


def of_another_format(path: Path) -> None:
    Image.new("RGB", (8, 8)).save(path, "BMP")


def far_too_large(path: Path) -> None:
    """A head that claims 10^10 pixels, and no pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 10**5, 10**5, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)))


def link(path: Path) -> None:
    Image.new("RGB", (8, 8)).save(path.with_name("elsewhere.png"))
    path.symlink_to("elsewhere.png")


def cut_short(path: Path) -> None:
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("make", [eps, of_another_format, far_too_large, link, os.mkfifo, Path.mkdir, cut_short])
def test_samples_that_are_none_are_left_out(
    tmp_path: Path, make: Callable[[Path], None], read: Callable[[Path], object]
) -> None:
    make(tmp_path / "samples.png")
    assert read(tmp_path) is None


def test_a_file_of_more_bytes_than_any_samples_have_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "samples.png").open("wb") as file:
        file.truncate(LARGEST + 1)
    assert read_png(tmp_path / "samples.png") is None


def test_a_vector_file_among_images_is_left_out(tmp_path: Path) -> None:
    for i in range(40):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / f"{i}.png")
        (tmp_path / f"vector{i}.png").write_bytes(EPS + b"%" * i)
    source, config = FolderSource(), DataConfig(name="folder", path=str(tmp_path), resolution=8)
    source.check(config)
    with pytest.warns(UserWarning, match="not an image"):
        assert source.load(config, "train").skipped == 40


def test_a_folder_of_vector_files_has_no_images(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(EPS)
    with pytest.raises(DataError, match="is no image"):
        FolderSource().check(DataConfig(name="folder", path=str(tmp_path), resolution=8))


def test_what_pillow_does_not_decode_itself_is_never_opened() -> None:
    """Also of a Pillow, or a package beside it, that knows more formats than this one."""
    Image.init()
    assert {"EPS", "IPTC", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "PDF"}.isdisjoint(pixels.formats())
    usual = {"PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "ICO", "PSD", "TGA"}
    assert usual & set(Image.OPEN) <= set(pixels.formats())


def test_what_a_tracker_was_not_given_by_us_stays(tmp_path: Path) -> None:
    tracking.write("tensorboard", tmp_path, RECORD)
    (tmp_path / "tensorboard" / "notes.md").write_text("mine")
    tracking.write("tensorboard", tmp_path, RECORD)
    assert (tmp_path / "tensorboard" / "notes.md").read_text() == "mine"
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
