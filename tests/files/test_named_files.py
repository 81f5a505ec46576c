"""Files that the user names: links are followed, what is no file is not waited for, no slip overwrites another's."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from pdebench.cli import main
from pdebench.data.labels import is_labels
from pdebench.data.layout import list_images
from pdebench.errors import DataError
from pdebench.models.backbone import create_model
from pdebench.regress import history
from pdebench.regress.formats import XML
from pdebench.results.store import refuse_unlike
from pdebench.run.checkpoint import write_checkpoint
from pdebench.stats.source import read_table
from pdebench.suite.config import TrainConfig
from pdebench.tasks.generation.task import GENERATION


class Waits(BaseException):
    """A verb did not end."""


@pytest.fixture(autouse=True)
def _in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise Waits

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence with which `pdebench` turns these arguments down."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["pdebench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    error = capsys.readouterr().err
    assert ended.value.code == 2, error
    assert error.startswith("error: ")
    assert len(error.strip().splitlines()) == 1
    return error


def make_socket(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(os.path.relpath(path))


def link_to_fifo(path: Path) -> None:
    os.mkfifo(path.with_name("far"))
    path.symlink_to("far")


def link_to_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


ODD = [os.mkfifo, make_socket, link_to_fifo, link_to_endless, Path.mkdir]

NAMED: dict[str, tuple[str, tuple[object, ...]]] = {
    "suite": ("s.yaml", ("validate", "FILE")),
    "suite to run": ("s.yaml", ("run", "FILE", "--results", "NEW")),
    "checkpoint": ("c.safetensors", ("sample", "FILE", "--out", "NEW")),
    "checkpoint to inspect": ("c.safetensors", ("inspect", "FILE")),
    "table": ("t.csv", ("fit", "FILE", "--n", "n", "--d", "d", "--loss", "loss")),
    "packed table": ("t.csv.gz", ("fit", "FILE", "--n", "n", "--d", "d", "--loss", "loss")),
    "parquet": ("t.parquet", ("fit", "FILE", "--n", "n", "--d", "d", "--loss", "loss")),
    "baseline": ("b.json", ("regress", "quickstart", "--baseline", "FILE")),
    "history": ("h.jsonl", ("regress", "quickstart", "--against", "HEAD", "--history", "FILE")),
    "junit": ("j.xml", ("regress", "quickstart", "--against", "HEAD", "--junit", "FILE")),
    "picture": ("p.png", ("sample", "CHECKPOINT", "--out", "FILE")),
    "pictures": ("p", ("inspect", "CHECKPOINT", "--out", "FILE")),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    build = {"input_size": 16, "in_channels": 3, "num_classes": None, "depth": 1, "width": 32, "heads": 2}
    learner = GENERATION.learner(TrainConfig(steps=1, batch_size=1, lr=1e-3))
    write_checkpoint(create_model("DiT-XXS/8", **build), "DiT-XXS/8", build, learner, folder)
    return folder / "checkpoint.safetensors"


@pytest.mark.parametrize("make", ODD)
@pytest.mark.parametrize("what", NAMED)
def test_what_is_no_file_is_said_at_once(
    tmp_path: Path, checkpoint: Path, what: str, make: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    name, words = NAMED[what]
    if make is Path.mkdir and what in ("table", "packed table", "parquet", "pictures"):
        pytest.skip("a folder may be given there")
    make(tmp_path / name)
    given = {"FILE": tmp_path / name, "NEW": tmp_path / "new", "CHECKPOINT": checkpoint}
    assert name in said(capsys, *(given.get(str(word), word) for word in words))
    assert not (tmp_path / "new").exists()


def test_links_to_what_the_user_named_are_followed(tmp_path: Path) -> None:
    (tmp_path / "far.csv").write_text("n,d,loss\n1,2,3\n")
    (tmp_path / "t.csv").symlink_to("far.csv")
    assert len(read_table(tmp_path / "t.csv").table) == 1
    (tmp_path / "far.jsonl").write_text("")
    (tmp_path / "h.jsonl").symlink_to("far.jsonl")
    assert history.read(tmp_path / "h.jsonl") == []


def test_labels_that_are_no_file_are_not_waited_for(tmp_path: Path) -> None:
    for i in range(4):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / f"{i}.png")
    os.mkfifo(tmp_path / "dataset.json")
    assert not is_labels(tmp_path / "dataset.json")
    with pytest.raises(DataError, match=r"dataset\.json is no list of labels"):
        list_images(tmp_path)


@pytest.mark.parametrize("text", ["the user's", "x", "\n"])
def test_a_slip_does_not_overwrite_another_file(
    tmp_path: Path, checkpoint: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine"
    file.write_text(text)
    far = tmp_path / "far"
    far.symlink_to(file)
    for path in (file, far):
        assert str(path) in said(capsys, "sample", checkpoint, "--out", path, "--count", 1, "--nfe", 2)
        assert str(path) in said(capsys, "regress", "quickstart", "--against", "HEAD", "--junit", path)
        if not text.strip():
            continue  # a history of no nights, and no baseline
        assert str(path) in said(capsys, "regress", "quickstart", "--against", "HEAD", "--history", path)
        assert str(path) in said(capsys, "baseline", "save", "quickstart", "--file", path)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "physics.png").write_text(text)
    (pictures / "spatial.json").write_text(text)
    assert "spatial.json is not as pdebench wrote it" in said(capsys, "inspect", checkpoint, "--out", pictures)
    assert {path.read_text() for path in (file, *pictures.iterdir())} == {text}


def test_what_a_verb_wrote_it_writes_again(tmp_path: Path) -> None:
    for path, begins in ((tmp_path / "a.xml", XML), (tmp_path / "new.xml", XML), (tmp_path / "empty", b"x")):
        if path.name == "a.xml":
            path.write_bytes(XML + b"version='1.0'?><testsuite />")
        if path.name == "empty":
            path.touch()
        refuse_unlike(path, begins)
