"""The tree shows the architecture: rooms, each of which imports only those below it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import pdebench

ROOT = Path(pdebench.__file__).parent
# from the lowest to the highest; those in one line know nothing of each other
FLOORS = (
    ("errors", "column", "installing"),
    ("registry",),  # of families, data sets, metrics and tasks, which lie in rooms that know nothing of each other
    ("files", "ops"),
    ("system", "data", "anchors"),
    ("models",),
    ("metrics",),
    ("tasks",),
    ("suite",),
    ("results", "terminal"),
    ("train", "stats"),
    ("plan",),
    ("measure",),
    ("report", "regress"),
    ("compare",),
    ("run",),
    ("doctor",),
    ("cli",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# who must be quick, or run where there is no torch
PLAIN = ("anchors", "suite", "stats", "report", "regress", "compare", "terminal")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text())


def imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module == "pdebench":
                yield from (f"pdebench.{alias.name}" for alias in node.names)


def test_imports_run_downwards() -> None:
    upwards = [
        f"{name} imports {other}"
        for name, tree in modules()
        if "/" in name
        for other in imports(tree)
        if other.startswith("pdebench.") and (room := other.split(".")[1]) in FLOOR and room != name.split("/")[0]
        if FLOOR[room] >= FLOOR[name.split("/")[0]]
    ]
    assert not upwards


def test_every_room_has_a_floor_and_nothing_else_lies_at_the_root() -> None:
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms | {"errors", "registry", "column", "installing"} == set(FLOOR)
    alone = {"errors", "registry", "column", "installing"}
    assert {path.stem for path in ROOT.glob("*.py")} == {"__init__", "__main__", *alone}


@pytest.mark.parametrize("room", PLAIN)
def test_suites_tables_and_pages_need_no_torch(room: str) -> None:
    found = [name for name, tree in modules() if name.startswith(f"{room}/") and "torch" in map(_top, imports(tree))]
    assert not found


@pytest.mark.parametrize("module", ["pdebench.report.vega", "pdebench.measure.largest_batch", "pdebench.run.worker"])
def test_what_starts_a_process_of_its_own_starts_with_little(module: str) -> None:
    ask = f"import sys, {module}; print(*sorted({{'torch', 'pandas', 'altair', 'scipy'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.split() == []


def test_no_class_name_is_used_twice() -> None:
    names = Counter(node.name for _, tree in modules() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert not [name for name, count in names.items() if count > 1]


def _top(module: str) -> str:
    return module.split(".")[0]
