"""A suite file becomes cells: grid, include, exclude, overrides, identity and round trips."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pdebench.errors import SuiteError
from pdebench.files.yaml_source import dump_yaml, read_text
from pdebench.models.registry import FAMILIES
from pdebench.run.preflight import preflight
from pdebench.suite.load import Suite, load_suite, shipped_suites
from pdebench.suite.matrix import PlacedValue, expand
from pdebench.suite.validation import cell_from_yaml

BASE: dict[str, Any] = {
    "suite": "small",
    "data": {"name": "folder", "resolution": 32, "path": "pictures"},
    "model": {"family": "DiT", "size": "XXS", "patch": 2},
    "train": {"steps": 10, "batch_size": 4, "lr": 1e-4},
}


@pytest.fixture
def write(tmp_path: Path):
    def _write(**keys: Any) -> Path:
        path = tmp_path / "small.yaml"
        path.write_text(dump_yaml(BASE | keys), encoding="utf-8")
        return path

    return _write


def load(folder: Path, document: dict[str, Any], overrides: tuple[str, ...] = ()) -> Suite:
    path = folder / "suite.yaml"
    path.write_text(dump_yaml(document), encoding="utf-8")
    return load_suite(path, overrides)


def test_a_suite_without_a_grid_is_one_cell_with_defaults_written_out(write, tmp_path):
    (cell,) = load_suite(write()).cells()
    assert cell.train.ema == 0.9999
    assert cell.evaluate.sampler == "heun"
    assert cell.flat()["train.betas"] == [0.9, 0.999]
    assert cell.flat()["data.path"] == str(tmp_path / "pictures")
    assert cell.config()["suite"] == "small"


def test_grid_is_a_product_in_written_order_over_the_sections(write):
    cells = load_suite(write(grid={"model.patch": [4, 2], "train.seed": [1, 0]})).cells()
    assert [(c.model.patch, c.train.seed) for c in cells] == [(4, 1), (4, 0), (2, 1), (2, 0)]


def test_family_options_are_filled_in(write):
    cells = load_suite(write(grid={"model.family": ["PDE-SSM-DiT", "DiT"]})).cells()
    assert cells[0].model.options["states"] == 1
    assert cells[0].flat()["model.convection"] is True
    assert cells[1].model.options == {"attention": "full"}


def test_an_include_extends_the_combinations_it_fits(write):
    grid = {"model.family": ["PDE-SSM-DiT", "DiT"], "train.seed": [0, 1]}
    include = [{"model.family": "PDE-SSM-DiT", "model.states": 4}]
    cells = load_suite(write(grid=grid, include=include)).cells()
    assert [c.model.options.get("states") for c in cells] == [4, 4, None, None]


def test_matrix_is_the_example_of_githubs_documentation():
    def entries(*rows: dict[str, Any]) -> list[dict[str, PlacedValue]]:
        return [{key: PlacedValue(value) for key, value in row.items()} for row in rows]

    grid = {key: [PlacedValue(v) for v in values] for key, values in
            {"fruit": ["apple", "pear"], "animal": ["cat", "dog"]}.items()}  # fmt: skip
    include = entries(
        {"color": "green"},
        {"color": "pink", "animal": "cat"},
        {"fruit": "apple", "shape": "circle"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    )
    points = [{k: s.value for k, s in point.items()} for point in expand([grid], include, []).points]
    assert points == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


def test_include_without_a_grid_is_just_its_entries(write):
    cells = load_suite(write(include=[{"train.seed": 3}, {"train.seed": 4}])).cells()
    assert [c.train.seed for c in cells] == [3, 4]


def test_excluded_combination_can_come_back_by_an_include(write):
    grid = {"model.patch": [2, 4], "train.seed": [0, 1]}
    out = {"model.patch": 4, "train.seed": 1}
    cells = load_suite(write(grid=grid, exclude=[out], include=[{**out, "train.lr": 0.5}])).cells()
    assert [(c.model.patch, c.train.seed) for c in cells] == [(2, 0), (2, 1), (4, 0), (4, 1)]
    assert cells[-1].train.lr == 0.5


def test_keys_can_come_from_the_grid_alone(tmp_path):
    document = {**BASE, "train": {"steps": 1, "batch_size": 1}, "grid": {"train.lr": [1, 1e-3]}}
    assert [c.train.lr for c in load(tmp_path, document).cells()] == [1.0, 1e-3]


def test_overrides_set_sections_and_grid(write):
    path = write(grid={"model.family": ["PDE-SSM-DiT", "DiT"], "train.seed": [0, 1]})
    suite = load_suite(path, ["train.lr=3e-4", "grid.model.family=[Mamba-DiT]", "suite=other"])
    assert [(c.suite, c.model.family, c.train.lr) for c in suite.cells()] == [("other", "Mamba-DiT", 3e-4)] * 2


def test_a_narrowed_grid_drops_the_entries_that_lost_their_object(write):
    path = write(
        grid={"model.family": ["PDE-SSM-DiT", "DiT"], "train.seed": [0, 1]},
        include=[{"model.family": "PDE-SSM-DiT", "model.states": 4}],
        exclude=[{"model.family": "PDE-SSM-DiT", "train.seed": 1}],
    )
    suite = load_suite(path, ["grid.model.family=[DiT]"])
    assert [c.model.family for c in suite.cells()] == ["DiT", "DiT"]
    assert not suite.include
    assert not suite.exclude


def test_an_override_holds_for_cells_that_an_include_gave_another_value(write):
    suite = load_suite("quickstart", ["train.steps=50"])
    assert {cell.train.steps for cell in suite.cells()} == {50}
    assert len(suite.cells()) == len(load_suite("quickstart").cells())
    again = load_suite(write(**yaml.safe_load(suite.to_yaml())))
    assert [cell.id for cell in again.cells()] == [cell.id for cell in suite.cells()]


def test_an_override_that_leaves_two_cells_alike_is_refused(write):
    suite = write(include=[{"train.steps": 5}, {"train.steps": 6}])
    with pytest.raises(SuiteError, match=r"include\[1\]: gives train.steps=7, the same cell"):
        load_suite(suite, ["train.steps=7"])


def test_a_value_that_an_override_replaces_may_be_wrong(write):
    path = write(train={"lr": "fast", "steps": 1, "batch_size": 1}, grid={"train.seed": ["one"]})
    suite = load_suite(path, ["train.lr=1e-4", "grid.train.seed=[1, 2]"])
    assert [cell.train.seed for cell in suite.cells()] == [1, 2]
    with pytest.raises(SuiteError, match=r"train\.lr"):
        load_suite(path, ["grid.train.seed=[1, 2]"])


def test_the_suite_as_run_loads_again(tmp_path, write):
    path = write(
        description="yes",  # text that YAML 1.1 reads as true
        grid={"model.family": ["PDE-SSM-DiT", "DiT"], "train.lr": [1e-5, 1]},
        include=[{"model.family": "PDE-SSM-DiT", "model.diffusion": "off"}],
    )
    suite = load_suite(path, ["train.clip=1", "train.betas=[0.5, 1e-1]"])
    again = tmp_path / "again.yaml"
    again.write_text(suite.to_yaml(), encoding="utf-8")
    assert load_suite(again).cells() == suite.cells()
    assert load_suite(again).description == "yes"
    assert suite.cells()[0].model.options["diffusion"] == "off"


def test_bare_names_find_local_suites_before_shipped_ones(tmp_path, monkeypatch):
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "mine.yaml").write_text(dump_yaml(BASE), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_suite("mine").name == "small"
    with pytest.raises(SuiteError, match=r"no suite of the name 'mien'; did you mean 'mine'\?"):
        load_suite("mien")


@pytest.mark.parametrize("name", sorted(shipped_suites()))
def test_shipped_suites_load(name):
    assert load_suite(name).cells()


def test_a_cells_identity_is_what_it_computes(write, tmp_path):
    cell = load_suite(write()).cells()[0]
    assert len(cell.id) == 12
    assert load_suite(write(suite="other", description="else")).cells()[0].id == cell.id
    assert load_suite(write(train={"lr": 1e-4, "batch_size": 4, "steps": 10})).cells()[0].id == cell.id
    assert load_suite(write(train={**BASE["train"], "ema": 0.9999})).cells()[0].id == cell.id
    assert cell_from_yaml(cell.to_yaml()) == cell


@pytest.mark.parametrize(
    "override",
    ["train.lr=1", "train.seed=1", "train.betas=[0.9, 0.99]", "data.flip=false", "data.path=other",
     "model.patch=4",
     "model.size=XS", "model.family=Mamba-DiT", "evaluate.nfe=2", "evaluate.every=5", "data.resolution=64"],
)  # fmt: skip
def test_every_value_is_part_of_the_identity(write, override):
    assert load_suite(write(), [override]).cells()[0].id != load_suite(write()).cells()[0].id


def test_numbers_and_words_are_those_of_yaml_1_2():
    text = "a: 1e-4\nb: 1e3\nc: no\nd: 12:30\ne: 010\nf: 2001-01-01\ng:\nh: 0x10\ni: .5\nj: -1.5E+2\n"
    expected = [1e-4, 1000, "no", "12:30", 10, "2001-01-01", None, 16, 0.5, -150.0]
    assert list(read_text(text, "x").data.values()) == expected


def test_anchors_and_merge_keys():
    text = "a: &a {x: 1, y: [2]}\nb:\n  <<: *a\n  x: 3\nc: *a\nd: {<<: [{x: 4}, *a]}\n"
    data = read_text(text, "x").data
    assert data["b"] == {"x": 3, "y": [2]}
    assert data["c"] == {"x": 1, "y": [2]}
    assert data["d"] == {"x": 4, "y": [2]}


def test_preflight_asks_the_data_set(write, tmp_path):
    from pdebench.errors import DataError

    cells = load_suite(write(data={"name": "folder", "resolution": 32, "path": str(tmp_path / "none")})).cells()
    with pytest.raises(DataError, match="none"):
        preflight(cells, tmp_path)


def test_reading_a_suite_imports_nothing_heavy(write):
    code = (
        "import sys, pdebench.suite.load as s; s.load_suite(sys.argv[1]); "
        "print([m for m in ('torch', 'numpy', 'pandas', 'PIL', 'torchvision') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(write())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


_values = {
    "model.family": list(FAMILIES),
    "model.size": ["XXS", "XS", "S"],
    "model.patch": [1, 2, 4, 8],
    "data.resolution": [16, 32, 64],
    "train.lr": [1, 0.5, 1e-4, 3e-05, 1e-16],
    "train.seed": [0, 1, 2],
    "train.schedule": ["constant", "cosine"],
    "train.clip": [None, 1, 0.5],
    "data.flip": [True, False],
    "train.betas": [[0, 0.5], [0.9, 0.99]],
}
grids = st.dictionaries(st.sampled_from(sorted(_values)), st.none(), min_size=1, max_size=4).flatmap(
    lambda keys: st.fixed_dictionaries(
        {key: st.lists(st.sampled_from(_values[key]), min_size=1, max_size=3, unique_by=repr) for key in keys}
    )
)


@given(grid=grids, description=st.text(max_size=20), data=st.data())
def test_random_suites(tmp_path_factory, grid, description, data):
    folder = tmp_path_factory.mktemp("random")
    document = {**BASE, "grid": grid}
    if yaml.reader.Reader.NON_PRINTABLE.search(description) is None:
        document["description"] = description
    suite = load(folder, document)
    size = 1
    for values in grid.values():
        size *= len(values)
    assert len(suite.cells()) == size
    assert len({cell.id for cell in suite.cells()}) == size

    key = data.draw(st.sampled_from(sorted(grid)))
    gone = data.draw(st.sampled_from(grid[key]))
    if len(grid[key]) > 1:
        suite = load(folder, {**document, "exclude": [{key: gone}]})
        assert len(suite.cells()) == size - size // len(grid[key])
    (folder / "again.yaml").write_text(suite.to_yaml(), encoding="utf-8")
    again = load_suite(folder / "again.yaml")
    assert again.cells() == suite.cells()
    assert again.description == suite.description
    assert [cell_from_yaml(cell.to_yaml()) for cell in suite.cells()] == suite.cells()
