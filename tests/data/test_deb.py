"""Files out of Debian packages: every compression, and a sentence for each kind of damage."""

from __future__ import annotations

import io
import random
import sys
import tarfile
from pathlib import Path

import pytest
from made_up_debs import deb

from pdebench.data.photographs.deb import read_files
from pdebench.errors import DataError

FILES = {"usr/share/a.jpg": random.Random(0).randbytes(70_001), "usr/share/b.jpg": b"b" * 5_000, "etc/c": b"c"}


def written(folder: Path, content: bytes) -> Path:
    path = folder / "some_1.0_all.deb"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_wanted_files_are_read_and_no_others(tmp_path: Path, suffix: str) -> None:
    found = read_files(written(tmp_path, deb(FILES, suffix)), ["usr/share/a.jpg", "etc/c", "not/there"])
    assert found == {name: FILES[name] for name in ("usr/share/a.jpg", "etc/c")}
    assert list(tmp_path.iterdir()) == [tmp_path / "some_1.0_all.deb"]  # nothing is unpacked to disk


def test_zstd_is_read_where_there_is_a_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zstandard = pytest.importorskip("zstandard")
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        about = tarfile.TarInfo("./etc/c")
        about.size = 1
        tar.addfile(about, io.BytesIO(b"c"))
    path = written(tmp_path, deb({}, ".zst", zstandard.compress(plain.getvalue())))
    assert read_files(path, ["etc/c"]) == {"etc/c": b"c"}
    with pytest.raises(DataError, match=r"some_1\.0_all\.deb is damaged or was cut short"):
        read_files(written(tmp_path, deb({}, ".zst", b"no zstd at all")), ["etc/c"])
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(DataError, match=r"compressed with zstd: .*pip install .*zstandard"):
        read_files(path, ["etc/c"])


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
@pytest.mark.parametrize("kept", [4, 40, 150, 40_000])
def test_a_package_that_was_cut_short_is_named(tmp_path: Path, suffix: str, kept: int) -> None:
    path = written(tmp_path, deb(FILES, suffix)[:kept])
    with pytest.raises(DataError, match=r"some_1\.0_all\.deb is damaged or was cut short \(.+\): fetch it again$"):
        read_files(path, FILES)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\x89PNG and so on", "it does not begin as a .deb does"),
        (b"!<arch>\n" + f"{'debian-binary':<48}{'x':<10}`\n".encode(), "invalid literal"),
        (b"!<arch>\n" + f"{'debian-binary':<48}{-60:<10}`\n".encode(), "a member has a size below 0"),
        (deb({}).replace(b"data.tar.xz", b"other.tarxz"), "it has no data.tar"),
    ],
)
def test_what_is_no_package_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(DataError, match=f"some_1.0_all.deb is damaged or was cut short .*{why}"):
        read_files(written(tmp_path, content), FILES)


def test_an_unknown_compression_a_folder_and_nothing_at_all_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.tar\.lz is compressed in a way that is not read here"):
        read_files(written(tmp_path, deb({}, ".lz", b"lz")), FILES)
    (tmp_path / "folder.deb").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*folder\.deb: it is no plain file"):
        read_files(tmp_path / "folder.deb", FILES)
    with pytest.raises(DataError, match=r"cannot read .*none\.deb: No such file"):
        read_files(tmp_path / "none.deb", FILES)


def test_links_are_not_followed_to_what_they_name(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        link = tarfile.TarInfo("./etc/c")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert read_files(written(tmp_path, deb({}, "", stream.getvalue())), ["etc/c"]) == {}
