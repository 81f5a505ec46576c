"""A suite may have a list of grids: their combinations are run one grid after another."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from pdebench.errors import SuiteError
from pdebench.files.yaml_source import read_text
from pdebench.suite.load import json_schema, load_suite

SUITE = """\
suite: several
data: {name: emoji, resolution: 32}
model: {family: PDE-SSM-DiT, size: XXS, patch: 4}
train: {steps: 1, batch_size: 2, lr: 1e-3}
grid:
  - model.diffusion: [full, isotropic]
    train.seed: [0, 1]
  - {model.family: [DiT], train.seed: [0, 1]}
exclude:
  - {model.diffusion: isotropic, train.seed: 1}
"""


def cells(tmp_path: Path, text: str = SUITE, *overrides: str) -> list[tuple[str, str | None, int]]:
    path = tmp_path / "several.yaml"
    path.write_text(text)
    planned = load_suite(path, overrides).planned()
    return [(cell.model.family, cell.model.options.get("diffusion"), cell.train.seed) for cell in planned]


def test_each_has_its_own_combinations(tmp_path: Path) -> None:
    assert cells(tmp_path) == [
        ("PDE-SSM-DiT", "full", 0),
        ("PDE-SSM-DiT", "full", 1),
        ("PDE-SSM-DiT", "isotropic", 0),
        ("DiT", None, 0),
        ("DiT", None, 1),
    ]


def test_the_suite_as_it_ran_has_them_too(tmp_path: Path) -> None:
    (tmp_path / "first.yaml").write_text(SUITE)
    first = load_suite(tmp_path / "first.yaml")
    (tmp_path / "again.yaml").write_text(first.to_yaml())
    assert load_suite(tmp_path / "again.yaml").planned() == first.planned()


def test_an_include_is_added_where_it_fits(tmp_path: Path) -> None:
    text = SUITE + "include:\n  - {train.seed: 1, train.warmup: 1}\n"
    (tmp_path / "s.yaml").write_text(text)
    found = [(cell.train.seed, cell.train.warmup) for cell in load_suite(tmp_path / "s.yaml").planned()]
    assert found == [(0, 0), (1, 1), (0, 0), (0, 0), (1, 1)]


def test_an_override_reaches_every_grid_that_has_the_key(tmp_path: Path) -> None:
    assert {seed for *_, seed in cells(tmp_path, SUITE, "grid.train.seed=[5]")} == {5}
    assert [family for family, *_ in cells(tmp_path, SUITE, "grid.model.family=[None-DiT]")][-1] == "None-DiT"


FAMILIES = """\
grid:
  - model.family: [PDE-SSM-DiT, DiT]
  - {model.family: [PDE-SSM-DiT], model.diffusion: [isotropic], train.seed: [7]}
  - {model.family: [DiT], train.seed: [9]}
"""


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("PDE-SSM-DiT", [("PDE-SSM-DiT", "full", 0), ("PDE-SSM-DiT", "isotropic", 7)]),
        ("DiT", [("DiT", None, 0), ("DiT", None, 9)]),
        (
            "PDE-SSM-DiT, DiT",
            [("PDE-SSM-DiT", "full", 0), ("DiT", None, 0), ("PDE-SSM-DiT", "isotropic", 7), ("DiT", None, 9)],
        ),
    ],
)
def test_families_that_are_asked_for_go_where_they_are_listed(
    tmp_path: Path, asked: str, found: list[tuple[str, str | None, int]]
) -> None:
    """The options that one grid sweeps are of its own families: another would be refused there."""
    text = SUITE[: SUITE.index("grid:")] + FAMILIES
    assert cells(tmp_path, text, f"grid.model.family=[{asked}]") == found


def test_a_family_that_no_grid_lists_goes_into_each(tmp_path: Path) -> None:
    text = SUITE[: SUITE.index("grid:")] + FAMILIES
    with pytest.raises(SuiteError, match="None-DiT takes no option 'diffusion'"):
        cells(tmp_path, text, "grid.model.family=[None-DiT]")


@pytest.mark.parametrize(
    ("old", "new", "overrides", "expected"),
    [
        ("[DiT]", "[DIT]", (), "several.yaml:8: grid[1].model.family[0]: unknown family 'DIT'"),
        ("[DiT]", "[]", (), "several.yaml:8: grid[1].model.family: is an empty list"),
        ("model.family: [DiT]", "model.famly: [DiT]", (), "several.yaml:8: grid[1].model.famly: there is no such key"),
        ("{model.family: [DiT], train.seed: [0, 1]}", "7", (), "several.yaml:8: grid[1]: must be keys with lists"),
        ("[0, 1]}", "[0, 0]}", (), "several.yaml:8: grid[1].train.seed[1]: 0 is listed twice"),
        ("[DiT]", "[PDE-SSM-DiT]", (), "several.yaml:8: grid[1].model.family[0]: gives "),
        ("", "", ("grid.train.lr=[1]",), "--set grid.train.lr=[1]: grid.train.lr: none of the suite's grids sweeps"),
        ("", "", ("train.seed=3",), "--set train.seed=3: train.seed: the grid on line 7 sweeps this key"),
    ],
)
def test_what_is_wrong_is_named_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, overrides: tuple[str, ...], expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("several.yaml").write_text(SUITE.replace(old, new))
    with pytest.raises(SuiteError) as caught:
        load_suite("several.yaml", overrides)
    assert str(caught.value).startswith(expected)


def test_the_schema_takes_and_checks_them() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    good = read_text(SUITE, "s").data
    assert validator.is_valid(good)
    assert not validator.is_valid({**good, "grid": [{"model.famly": ["DiT"]}]})
    assert not validator.is_valid({**good, "grid": []})
