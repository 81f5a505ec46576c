"""Digests of large files are remembered for as long as the files are not touched."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from pdebench.data import digests
from pdebench.errors import DataError


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    made = [tmp_path / name for name in ("a", "b")]
    for path in made:
        path.write_bytes(path.name.encode() * 1000)
    return made


def expected(files: list[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]


def test_a_change_is_seen_even_where_size_and_date_are_put_back(files: list[Path]) -> None:
    assert digests.file_digests(files) == expected(files)
    about = files[0].stat()
    files[0].write_bytes(b"c" * 1000)
    os.utime(files[0], ns=(about.st_atime_ns, about.st_mtime_ns))
    assert digests.file_digests(files) == expected(files)


def test_what_is_settled_is_not_read_again(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_SETTLED", 0.0)
    time.sleep(0.01)
    before = digests.file_digests(files)
    monkeypatch.setattr(digests, "_digest", lambda path: pytest.fail("it was read again"))
    assert digests.file_digests(files) == before


def test_a_file_that_is_gone_is_named(files: list[Path]) -> None:
    files[1].unlink()
    with pytest.raises(DataError, match=r"cannot read .*/b"):
        digests.file_digests(files)
