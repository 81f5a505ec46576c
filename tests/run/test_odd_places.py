"""Links and FIFOs in the place of all that a results folder has: no verb waits, or follows one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tally
from runs import pdebench_run, run_one_cell

from pdebench.errors import ResultsError
from pdebench.report import build
from pdebench.results.store import Results
from pdebench.run.slurm import jobs
from pdebench.suite.load import load_suite

SECONDS = 90  # in which any verb ends that waits for nobody

_outside: list[Path] = []
_followed: list[str] = []


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Note every opening of what lies outside of the results folder, as far as Python does it."""
    if event == "open" and _outside and isinstance(arguments[0], str):
        refuses = int(arguments[2] or 0) & os.O_NOFOLLOW
        if not refuses and Path(os.path.realpath(arguments[0])).is_relative_to(_outside[0]):
            _followed.append(arguments[0])


sys.addaudithook(_watch)


class Waits(BaseException):
    """A verb did not end."""


@contextmanager
def in_time() -> Iterator[None]:
    def late(*_: object) -> None:
        raise Waits

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite of one cell, and its results with every kind of file that there is."""
    root = tmp_path_factory.mktemp("made")
    suite, out = run_one_cell(root)
    (cell,) = load_suite(suite).cells()
    (identity,) = Results(out).plan()
    jobs.add(out, jobs.Submission("17", (identity,), "2026-01-01"))
    (out / "predictions.json").write_text(json.dumps({"suite": "tiny", "device": {}, "cells": []}))
    folder = out / "cells" / identity
    (folder / "spatial.json").write_text("{}")
    (folder / "lease").write_text("{}")
    (folder / "state").mkdir()
    (folder / "state" / "00000001.pt").write_bytes(b"none")
    (out / ".jobs.lock").touch()
    (out / "slurm").mkdir()
    assert cell.planned_as
    return root


FILES = (
    "suite.yaml", "plan.json", "machine.json", "table.csv", "table.parquet", "curves.parquet", "report.html",
    "jobs.json", "predictions.json", ".lock", ".jobs.lock", ".pdebench.sha256",
    *(f"cells/ID/{name}" for name in (
        "config.yaml", "record.json", "log.txt", "checkpoint.safetensors", "samples.png", "real.png", "curve.parquet",
        "spatial.json", "timings.json", "lease", "state/00000001.pt",
    )),
)  # fmt: skip
TAKEN_BY_REPORTS = FILES[:7]
FOLDERS = ("cells", "cells/ID", "cells/ID/state", "slurm")


def fifo(path: Path, far: Path) -> None:
    os.mkfifo(path)


def link_to_fifo(path: Path, far: Path) -> None:
    os.mkfifo(far / "fifo")
    path.symlink_to(far / "fifo")


def link_to_what_was_there(path: Path, far: Path) -> None:
    path.symlink_to(far / "it")


def link_to_nothing(path: Path, far: Path) -> None:
    path.symlink_to(far / "nothing")


def test_all_files_are_tried(made: Path) -> None:
    """What a run leaves beyond these is in need of a line above."""
    (identity,) = Results(made / "out").plan()
    there = {path.relative_to(made / "out").as_posix().replace(identity, "ID") for path in (made / "out").rglob("*")}
    assert there == {*FILES, *FOLDERS}


SAMPLE = ("sample", "OUT/cells/ID/checkpoint.safetensors", "--out", "NEW/s.png", "--count", 1, "--nfe", 2)
REPORT = ("report", "OUT", "--out", "NEW")
VERBS: tuple[tuple[object, ...], ...] = (
    ("status", "OUT"), ("cancel", "OUT"), ("fit", "OUT"), ("run", "SUITE", "--results", "OUT"), ("report", "OUT"),
)  # fmt: skip
READ_BY_REPORTS = (
    "samples.png",
    "real.png",
    "curve.parquet",
    "spatial.json",
    "predictions.json",
    "suite.yaml",
    "plan.json",
    "record.json",
)


@pytest.mark.parametrize("make", [fifo, link_to_what_was_there])
@pytest.mark.parametrize("place", [*FILES, *FOLDERS])
def test_no_verb_waits_or_follows(
    made: Path, tmp_path: Path, place: str, make: Callable[[Path, Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs = VERBS if place in (*TAKEN_BY_REPORTS, *FOLDERS[:2]) else VERBS[:-1]
    verbs += (REPORT,) if Path(place).name in READ_BY_REPORTS else ()
    verbs += (SAMPLE,) if place.endswith("checkpoint.safetensors") else ()
    _try(made, tmp_path, place, make, verbs, monkeypatch)


@pytest.mark.chaos
@pytest.mark.parametrize("make", [fifo, link_to_fifo, link_to_what_was_there, link_to_nothing])
@pytest.mark.parametrize("place", [*FILES, *FOLDERS])
def test_no_verb_at_all_waits_or_follows(
    made: Path, tmp_path: Path, place: str, make: Callable[[Path, Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = "links and FIFOs in every place, verbs"
    try:
        statuses = _try(made, tmp_path, place, make, (*VERBS, REPORT, SAMPLE), monkeypatch)
    except Waits:
        tally.note(kind, "hung")
        raise
    except AssertionError:
        tally.note(kind, "escaped")
        raise
    for status in statuses:
        tally.note(kind, "refused" if status else "survived")


def _try(
    made: Path,
    tmp_path: Path,
    place: str,
    make: Callable[[Path, Path], None],
    verbs: tuple[tuple[object, ...], ...],
    monkeypatch: pytest.MonkeyPatch,
) -> list[int]:
    """The exit statuses of verbs, each of which was well behaved."""
    statuses = []
    # they read nothing, and take a second each
    monkeypatch.setattr(build.drawings, "figure_files", lambda *_: ({}, list))
    (identity,) = Results(made / "out").plan()
    out, far = tmp_path / "out", tmp_path / "far"
    shutil.copytree(made / "out", out)
    far.mkdir()
    path = out / place.replace("ID", identity)
    shutil.move(path, far / "it")
    make(path, far)
    kept = snapshot(far)
    words = {"OUT": str(out), "ID": identity, "NEW": str(tmp_path / "new"), "SUITE": str(made / "tiny.yaml")}
    for verb in verbs:
        typed = [put(str(word), words) for word in verb]
        _outside[:], _followed[:] = [far], []
        try:
            with in_time():
                ended = pdebench_run(*typed)
        finally:
            _outside.clear()
        assert ended.returncode in (0, 2), (verb, ended.stdout, ended.stderr)
        if ended.returncode == 2:
            assert len(ended.stderr.strip().splitlines()) == 1, (verb, ended.stderr)
        assert verb is SAMPLE or not _followed, (verb, _followed)
        assert snapshot(far) == kept, verb
        statuses.append(ended.returncode)
    return statuses


def put(word: str, words: dict[str, str]) -> str:
    for short, long in words.items():
        word = word.replace(short, long)
    return word


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("place", ["cells", "cells/0123456789ab"])
def test_a_cells_folder_is_never_behind_a_link(tmp_path: Path, place: str) -> None:
    (tmp_path / "far" / "0123456789ab").mkdir(parents=True)
    out = tmp_path / "out"
    (out / place).parent.mkdir(parents=True)
    (out / place).symlink_to(tmp_path / "far")
    with pytest.raises(ResultsError, match=f"{place} is a link that leads out"):
        Results(out).cell("0123456789ab")
    (tmp_path / "near").symlink_to(out)  # which the user named
    (out / place).unlink()
    assert Results(tmp_path / "near").cell("0123456789ab").parent.parent == tmp_path / "near"


def test_a_cell_is_run_where_its_folder_has_odd_things(made: Path, tmp_path: Path) -> None:
    """Links there are replaced, not written through; hidden files of others stay."""
    (identity,) = Results(made / "out").plan()
    cell, far = tmp_path / "out" / "cells" / identity, tmp_path / "far"
    cell.mkdir(parents=True)
    (far / "state").mkdir(parents=True)
    (far / "mine").write_text("mine")
    for name in (
        "log.txt",
        "config.yaml",
        "curve.parquet",
        "checkpoint.safetensors",
        "samples.png",
        "real.png",
        "timings.json",
    ):
        (cell / name).symlink_to(far / "mine")
    (cell / "state").symlink_to(far / "state")
    (cell / ".mine.tmp").write_text("mine")
    (cell / f".record.json.{'0' * 16}.tmp").write_text("half")
    kept = snapshot(far)
    ran = pdebench_run("run", made / "tiny.yaml", "--results", tmp_path / "out")
    assert ran.returncode == 0, ran.stderr
    assert snapshot(far) == kept
    assert (cell / ".mine.tmp").read_text() == "mine"
    assert not (cell / f".record.json.{'0' * 16}.tmp").exists()
    assert not any(path.is_symlink() for path in cell.iterdir())


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir])
def test_a_log_that_is_no_file_is_said(made: Path, tmp_path: Path, make: Callable[[Path], None]) -> None:
    (identity,) = Results(made / "out").plan()
    cell = tmp_path / "out" / "cells" / identity
    cell.mkdir(parents=True)
    make(cell / "log.txt")
    with in_time():
        ran = pdebench_run("run", made / "tiny.yaml", "--results", tmp_path / "out")
    assert ran.returncode == 2
    assert "log.txt: it is no plain file" in ran.stderr
    assert "Traceback" not in ran.stderr
