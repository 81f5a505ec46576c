"""What happened to a process is not remembered of an image: only what its bytes say, wherever they are read."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, features

from pdebench.data import pixels, registry
from pdebench.data.source import SPLITS
from pdebench.errors import DataError
from pdebench.suite.config import DataConfig

LARGE = """
import resource, sys, threading
from pathlib import Path
from pdebench.suite.config import DataConfig
from pdebench.data import pixels, registry
import numpy

threading.stack_size(2**18)
pixels.formats()
used = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(sys.argv[3])) * 1024
resource.setrlimit(getattr(resource, sys.argv[2]), (used + 40 * 2**20,) * 2)
registry.load(DataConfig(name="folder", path=Path(sys.argv[1]), resolution=8), "train")
"""


@pytest.fixture(autouse=True)
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 small images, none like another."""
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(1)
    (tmp_path / "images").mkdir()
    for number in range(40):
        picture = Image.fromarray(rng.integers(0, 255, (9, 9, 3), dtype=np.uint8))
        picture.save(tmp_path / "images" / f"{number}.png")
    return tmp_path / "images"


def loaded(images: Path) -> int:
    """How many are there to train on and to hold out."""
    return sum(len(registry.load(DataConfig(name="folder", path=images, resolution=8), split)) for split in SPLITS)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads what this process takes")
@pytest.mark.parametrize(
    ("form", "limit", "used"),
    [
        *((form, "RLIMIT_DATA", "VmData") for form in ("png", "jpg", "webp", "tif", "jp2")),
        ("png", "RLIMIT_AS", "VmSize"),
    ],
)
def test_an_image_that_did_not_fit_into_memory_is_there_in_the_next_run(
    images: Path, form: str, limit: str, used: str
) -> None:
    Image.new("RGB", (6000, 4000), "red").save(images / f"large.{form}")
    under = subprocess.run(
        [sys.executable, "-c", LARGE, str(images), limit, used], capture_output=True, text=True, check=False
    )
    assert under.returncode
    assert "MemoryError" in under.stderr.splitlines()[-1]
    assert loaded(images) == 41


def _raising(error: BaseException) -> Callable[..., Any]:
    def fail(*given: object, **named: object) -> Any:
        raise error

    return fail


NOT_OF_THE_BYTES = (
    MemoryError(),
    OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    OSError(errno.EMFILE, os.strerror(errno.EMFILE)),
    OSError(errno.EIO, os.strerror(errno.EIO)),
    PermissionError(errno.EACCES, os.strerror(errno.EACCES)),
    ImportError("failed to map segment from shared object"),
    RuntimeError("can't allocate memory: you tried to allocate 9 bytes"),
    KeyboardInterrupt(),
    SystemExit(1),
)


@pytest.mark.parametrize("error", NOT_OF_THE_BYTES, ids=repr)
@pytest.mark.parametrize("where", ["open", "load"])
def test_a_failure_of_this_process_is_not_kept(
    images: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, where: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(*((Image, "open") if where == "open" else (ImageFile.ImageFile, "load")), _raising(error))
        with pytest.raises((MemoryError, DataError, KeyboardInterrupt, SystemExit)):
            loaded(images)
        if where == "open":
            with pytest.raises((MemoryError, DataError, KeyboardInterrupt, SystemExit)):
                pixels.refusal(io.BytesIO())
    assert loaded(images) == 40


@pytest.mark.parametrize(
    "text", ["broken data stream when reading image file", "out of memory when reading image file", "decoder error -2"]
)
def test_a_decoder_that_had_no_memory_and_calls_the_file_broken_is_not_believed(
    images: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(ImageFile.ImageFile, "load", _raising(OSError(text)))
        patched.setattr(pixels, "_SPARE", 2**62)  # more than there is
        with pytest.raises(MemoryError, match=r"memory ran out while .*\.png was decoded"):
            loaded(images)
    assert loaded(images) == 40


def test_what_the_bytes_say_is_kept(images: Path) -> None:
    """Cut short, no image at all, and larger than is safe, each said by the file itself."""
    whole = io.BytesIO()
    Image.new("RGB", (64, 64)).save(whole, "PNG")
    (images / "cut.png").write_bytes(whole.getvalue()[:60])
    (images / "text.png").write_text("not pixels")
    header = b"P6\n60000 60000\n255\n"
    (images / "bomb.ppm").write_bytes(header)
    with pytest.warns(UserWarning, match="3 of 43 images"):
        assert loaded(images) == 40


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ENOMEM, errno.ESTALE])
def test_a_file_that_cannot_be_read_now_is_no_other_data_set(
    images: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Left out, it would make other cells of the same suite."""
    config = DataConfig(name="folder", path=images, resolution=8)
    (images / "no_suffix").write_bytes((images / "0.png").read_bytes())
    (images / "deep").mkdir()
    (images / "deep" / "dataset.json").write_text("{}")
    content, real = registry.content(config), os.open
    for name in ("7.png", "no_suffix", "dataset.json"):

        def fail(path: Any, *given: Any, name: str = name, **named: Any) -> Any:
            if Path(path).name == name:
                raise OSError(number, os.strerror(number), str(path))
            return real(path, *given, **named)

        with monkeypatch.context() as patched:
            patched.setattr(os, "open", fail)
            patched.setattr("pdebench.data.folder._known", None)
            with pytest.raises(DataError, match=rf"{name}.*{os.strerror(number)}|{name} cannot be read"):
                registry.content(config)
    assert registry.content(config) == content


def test_a_pillow_without_a_decoder_does_not_speak_for_others(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(features, "check_module", lambda name: name != "webp")
        pixels.missing_decoders.cache_clear()
        patched.setattr(ImageFile.ImageFile, "load", _raising(OSError("decoder webp not available")))
        with (
            pytest.warns(UserWarning, match="left out|have no image"),
            pytest.raises(DataError, match="none of the 40 images"),
        ):
            loaded(images)
    pixels.missing_decoders.cache_clear()
    assert loaded(images) == 40
