"""Files of others are opened with care, files of ours are written whole."""

from __future__ import annotations

import os
import socket
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from pdebench.files.disk import NotPlain, append_plain, is_link_below, lock_file, open_plain, read_plain, replacing


def test_a_plain_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    assert read_plain(tmp_path / "a", 4) == b"text"
    with open_plain(tmp_path / "a") as file:
        assert file.read() == b"text"


def test_one_byte_too_many_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    with pytest.raises(NotPlain, match="larger than 3 bytes"):
        read_plain(tmp_path / "a", 3)


OPENS: list[Callable[[Path], Any]] = [open_plain, append_plain, lock_file]


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(os.path.relpath(path))


def make_link(path: Path) -> None:
    path.with_name("elsewhere").write_bytes(b"theirs")
    path.symlink_to("elsewhere")


def make_dangling(path: Path) -> None:
    path.symlink_to("nowhere")


@pytest.mark.parametrize("opens", OPENS)
@pytest.mark.parametrize("make", [make_fifo, make_socket, Path.mkdir, make_link, make_dangling])
def test_what_is_no_plain_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], None], opens: Callable[[Path], BinaryIO]
) -> None:
    make(tmp_path / "a")
    with pytest.raises(NotPlain):
        opens(tmp_path / "a")
    assert not (tmp_path / "nowhere").exists()


def test_a_link_that_the_user_named_is_followed(tmp_path: Path) -> None:
    make_link(tmp_path / "a")
    assert read_plain(tmp_path / "a", 10, follow=True) == b"theirs"
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "to_fifo").symlink_to("fifo")
    with pytest.raises(NotPlain):
        open_plain(tmp_path / "to_fifo", follow=True)


def test_a_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    make_link(tmp_path / "a")
    with replacing(tmp_path / "a") as file:
        file.write(b"ours")
    assert (tmp_path / "elsewhere").read_bytes() == b"theirs"
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"ours"


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"before")

    def stopped() -> None:
        with replacing(tmp_path / "a") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"before"


def test_temporary_names_are_never_the_same(tmp_path: Path) -> None:
    seen = set()
    for _ in range(20):
        with replacing(tmp_path / "a"):
            seen |= {path.name for path in tmp_path.glob(".a.*")}
    assert len(seen) == 20


def test_a_link_below_the_root_is_found(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "root").symlink_to("far")
    (tmp_path / "far/cells").symlink_to("..")
    root = tmp_path / "root"
    assert is_link_below(root, root / "cells" / "x") == root / "cells"
    assert is_link_below(root, root / "report" / "x") is None


def test_reading_takes_memory_for_what_is_there_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"text")
    tracemalloc.start()
    try:
        assert read_plain(tmp_path / "a", 2**28) == b"text"
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
