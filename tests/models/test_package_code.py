"""The code of another package is known by its bytes, wherever it lies, and is not run to be known."""

from __future__ import annotations

import importlib
import py_compile
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from pdebench.models.package_code import digest_of_package

RAISES = "raise SystemExit('this was run')\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    digest_of_package.cache_clear()


def digest(name: str) -> str | None:
    importlib.invalidate_caches()
    digest_of_package.cache_clear()
    return digest_of_package(name)


def package(site: Path) -> None:
    (site / "mixers" / "inner").mkdir(parents=True)
    for file in ("__init__.py", "inner/__init__.py", "inner/deep.py"):
        (site / "mixers" / file).write_text(RAISES)


def namespace(site: Path) -> None:
    (site / "mixers" / "inner").mkdir(parents=True)
    (site / "mixers" / "inner" / "deep.py").write_text(RAISES)


def module(site: Path) -> None:
    (site / "mixers.py").write_text(RAISES)


def compiled(site: Path) -> None:
    source = site / "away.py"
    source.write_text(RAISES)
    (site / "mixers").mkdir()
    py_compile.compile(str(source), cfile=str(site / "mixers" / "__init__.pyc"))
    (site / "mixers" / "kernel.so").write_bytes(b"\0\xff")


@pytest.mark.parametrize("lay", [package, namespace, module, compiled])
def test_a_changed_byte_is_another_package_and_nothing_is_run(lay: Callable[[Path], None], site: Path) -> None:
    lay(site)
    before = digest("mixers")
    assert before is not None
    assert digest("mixers") == before
    files = [file for file in site.rglob("*") if file.is_file() and file.name != "away.py"]
    for file in files:
        kept = file.read_bytes()
        file.write_bytes(kept + b"\n")
        assert digest("mixers") not in (None, before), file
        file.write_bytes(kept)
    assert digest("mixers") == before
    assert "mixers" not in sys.modules


def test_a_file_that_is_added_or_moved_is_another_package(site: Path) -> None:
    package(site)
    before = digest("mixers")
    (site / "mixers" / "more.py").write_text("")
    added = digest("mixers")
    (site / "mixers" / "more.py").rename(site / "mixers" / "moved.py")
    assert len({before, added, digest("mixers")}) == 3


def test_what_python_makes_of_it_is_not_part_of_it(site: Path) -> None:
    package(site)
    before = digest("mixers")
    (site / "mixers" / "__pycache__").mkdir()
    (site / "mixers" / "__pycache__" / "deep.cpython-311.pyc").write_bytes(b"\0")
    assert digest("mixers") == before


def test_a_package_in_an_archive(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pack(text: str) -> None:
        with zipfile.ZipFile(site / "mixers.zip", "w") as archive:
            archive.writestr("zipped/__init__.py", text)

    pack("")
    monkeypatch.syspath_prepend(site / "mixers.zip")
    before = digest("zipped")
    pack("x = 1")
    assert digest("zipped") not in (None, before)


def test_another_version_is_another_package(site: Path) -> None:
    package(site)
    about = site / "some_mixers-1.0.dist-info"
    about.mkdir()
    (about / "top_level.txt").write_text("mixers\n")
    found = set()
    for version in ("1.0", "1.1"):
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: some-mixers\nVersion: {version}\n")
        found.add(digest("mixers"))
    assert len(found) == 2


def test_what_has_no_code_to_be_found_has_no_digest(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert digest("nothing_of_that_name") is None
    monkeypatch.setitem(sys.modules, "made_in_memory", ModuleType("made_in_memory"))
    assert digest("made_in_memory") is None
    assert digest("sys") is None
