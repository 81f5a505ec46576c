"""Things of other packages by name: imported when asked for, and a broken one harms nobody else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import pdebench.registry
from pdebench.errors import PdebenchError
from pdebench.registry import Registry


@dataclass(frozen=True)
class Shape:
    name: str
    summary: str = ""


class ShapeError(PdebenchError):
    pass


MODULES = {
    "added_round": "from test_one_registry import Shape\nROUND, OTHER = Shape('round'), Shape('round', 'another')\n",
    "added_three": "THREE = 3\n",
    "added_lost": "import no_such_module_anywhere\n",
    "added_script": "import sys\nsys.exit(3)\n",
    "added_hungry": "raise MemoryError('no room')\n",
    "added_square": "from test_one_registry import Shape\nSQUARE = Shape('square', 'not the built-in one')\n",
    "added_flat": "from test_one_registry import Shape\nFLAT = Shape('flat')\n",
}


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Registry[Shape]]]:
    """A registry with a built-in square, and entry points such as `round=added_round:ROUND`."""
    for name, code in MODULES.items():
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "test_one_registry", sys.modules[__name__])

    def made(*points: str) -> Registry[Shape]:
        found = tuple(EntryPoint(*point.split("=", 1), "pdebench.shapes") for point in points)
        monkeypatch.setattr(pdebench.registry, "installed", lambda group: found if group == "pdebench.shapes" else ())
        return Registry("shape", "pdebench.shapes", Shape, [Shape("square")], ShapeError)

    yield made
    for name in MODULES:
        sys.modules.pop(name, None)


def test_an_added_thing_is_imported_when_it_is_asked_for_and_not_before(registry) -> None:
    shapes = registry("round=added_round:ROUND", "lost=added_lost:X")
    assert list(shapes) == ["square", "round", "lost"]
    assert len(shapes) == 3
    assert "round" in shapes
    assert "oval" not in shapes
    assert shapes["square"].name == "square"
    assert "added_round" not in sys.modules
    assert shapes["round"].name == "round"
    assert "added_round" in sys.modules
    with pytest.raises(KeyError):
        shapes["oval"]


@pytest.mark.parametrize(
    ("point", "why"),
    [
        ("lost=added_lost:X", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("script=added_script:X", "cannot be imported: SystemExit: 3"),
        ("gone=added_round:GONE", "cannot be imported: AttributeError: module 'added_round' has no attribute 'GONE'"),
        ("three=added_three:THREE", "is not an instance of test_one_registry.Shape, but of int"),
        ("disc=added_round:ROUND", "calls itself 'round'; the entry point needs that name too"),
    ],
)
def test_a_broken_package_harms_those_alone_who_name_it(registry, point: str, why: str) -> None:
    shapes = registry(point, "flat=added_flat:FLAT")
    name, place = point.split("=")
    sentence = f"shape '{name}' of another package ({place}) {why}"
    for ask in (shapes.__getitem__, shapes.find):
        with pytest.raises(ShapeError) as caught:
            ask(name)
        assert str(caught.value) == sentence
    assert shapes.get(name) is None
    assert shapes["flat"].name == "flat"
    assert shapes.broken() == {name: sentence}
    assert list(shapes.at_hand()) == ["square", "flat"]


def test_memory_that_ran_out_is_not_remembered(registry, tmp_path: Path) -> None:
    shapes = registry("hungry=added_hungry:X")
    with pytest.raises(MemoryError):
        shapes.get("hungry")
    (tmp_path / "added_hungry.py").write_text(
        "from test_one_registry import Shape\nX = Shape('hungry')\n# there is room\n"
    )
    assert shapes["hungry"].name == "hungry"


def test_a_built_in_name_is_not_taken_over(registry) -> None:
    shapes = registry("square=added_square:SQUARE")
    assert shapes["square"].summary == ""
    assert list(shapes) == ["square"]
    assert "the name of a built-in one, which stays" in shapes.broken()["square"]
    assert "added_square" not in sys.modules


def test_one_name_of_two_packages_is_refused_whichever_comes_first(registry) -> None:
    shapes = registry("round=added_round:ROUND", "round=added_round:OTHER")
    with pytest.raises(ShapeError, match=r"added_round:ROUND.* and of .*added_round:OTHER.* is one name for two"):
        shapes["round"]
    assert list(shapes.broken()) == ["round"]
    assert "added_round" not in sys.modules


def test_an_unknown_name_is_answered_with_the_nearest_or_why_that_is_not_to_be_had(registry) -> None:
    shapes = registry("lost=added_lost:X", "flat=added_flat:FLAT")
    with pytest.raises(ShapeError, match=r"^unknown shape 'squares'; did you mean 'square'\?$"):
        shapes.find("squares")
    with pytest.raises(ShapeError, match=r"^unknown shape 'flats'; did you mean 'flat'\?$"):
        shapes.find("flats")
    assert "added_lost" not in sys.modules
    with pytest.raises(
        ShapeError, match=r"^unknown shape 'Lost'; the nearest is not to be had: shape 'lost' of .*no_su"
    ):
        shapes.find("Lost")


LOOKS_FOR_NONE = """
import importlib.metadata, sys
looked = importlib.metadata.entry_points
def entry_points(*, group):
    assert not group.startswith("pdebench."), group
    return looked(group=group)
importlib.metadata.entry_points = entry_points
from pdebench.cli import main
sys.argv = ["pdebench", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize("arguments", [["--help"], ["validate", "quickstart"]])
def test_where_no_package_is_meant_none_is_looked_for(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOOKS_FOR_NONE, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
