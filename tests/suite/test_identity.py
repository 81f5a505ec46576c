"""What a cell is: all that decides its numbers, resolved and by content; nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pdebench.errors import DataError, SuiteError
from pdebench.models.registry import FAMILIES
from pdebench.suite.config import Cell, TrainConfig
from pdebench.suite.identity import NEUTRAL
from pdebench.suite.load import load_suite
from pdebench.suite.precision import precision_here
from pdebench.suite.resolved import resolved
from pdebench.tasks.generation.evaluation import GenerationEvaluation

SECTIONS = {
    "suite": "one",
    "data": {"name": "latents", "resolution": 16},
    "model": {"family": "DiT", "size": "XXS", "patch": 4},
    "train": {"steps": 2, "batch_size": 4, "lr": 1e-4},
}


def cell(**changes: dict[str, object]) -> Cell:
    sections = {**SECTIONS, **{name: {**SECTIONS.get(name, {}), **keys} for name, keys in changes.items()}}
    return Cell.model_validate_json(json.dumps(sections))


def images(folder: Path, first: int = 0) -> Path:
    for number in range(first, first + 40):
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def suite(folder: Path, path: str, **keys: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    document = {**SECTIONS, "suite": "one", "data": {"name": "folder", "resolution": 8, "path": path}, **keys}
    (folder / "one.yaml").write_text(json.dumps(document))
    return folder / "one.yaml"


def test_a_default_that_changes_later_changes_no_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    eager, compiled = cell(train={"compile": "eager"}).id, cell(train={"compile": "compile"}).id
    assert cell().id == eager != compiled
    monkeypatch.setattr(TrainConfig.model_fields["compile"], "default", "compile")
    assert cell(train={"compile": "eager"}).id == eager
    assert cell(train={"compile": "compile"}).id == compiled


def test_an_option_that_comes_later_leaves_the_identities_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    before, other = cell(model={"family": "PDE-SSM-DiT"}).id, cell(model={"family": "PDE-SSM-DiT", "states": 2}).id
    family = FAMILIES["PDE-SSM-DiT"]
    family = replace(family, neutral={**family.neutral, "states": 2})  # as if 2 had been the rule
    monkeypatch.setattr("pdebench.suite.identity.FAMILIES", {family.name: family})
    assert cell(model={"family": "PDE-SSM-DiT", "states": 2}).id != other
    assert cell(model={"family": "PDE-SSM-DiT", "states": 1}).id == before


def test_a_family_whose_numbers_change_has_other_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    before, other = cell().id, cell(model={"family": "None-DiT"}).id
    family = replace(FAMILIES["DiT"], revision=2)
    monkeypatch.setattr("pdebench.suite.identity.FAMILIES", {**FAMILIES, family.name: family})
    assert cell().id != before
    assert cell(model={"family": "None-DiT"}).id == other


def test_every_neutral_value_is_one_that_its_key_may_have() -> None:
    written = {section: dict(keys) for section, keys in NEUTRAL.items()}
    assert cell(**written).id == cell().id
    assert cell(evaluate={"samples": 1}).id != cell().id
    assert GenerationEvaluation().model_dump().keys() >= NEUTRAL.get("evaluate", {}).keys()


def test_what_auto_comes_to_is_part_of_what_a_cell_is() -> None:
    (fp32,), (bf16,) = resolved([cell()], "fp32"), resolved([cell()], "bf16")
    assert fp32.id == cell(train={"precision": "fp32"}).id != bf16.id == cell(train={"precision": "bf16"}).id
    assert fp32.planned_as == bf16.planned_as == cell().planned_as
    assert precision_here() in ("fp32", "bf16")


def test_auto_beside_what_it_comes_to_is_refused() -> None:
    with pytest.raises(SuiteError, match="one and the same"):
        resolved([cell(), cell(train={"precision": "fp32"})], "fp32")


def test_the_same_images_elsewhere_are_the_same_cell_and_others_another(tmp_path: Path) -> None:
    images(tmp_path / "a" / "images")
    images(tmp_path / "b" / "pictures")
    images(tmp_path / "c" / "images", 100)
    ours, same, other = (
        load_suite(suite(tmp_path / name, path)).cells()[0]
        for name, path in (("a", "images"), ("b", "pictures"), ("c", "images"))
    )
    assert ours.id == same.id != other.id
    assert ours.data.path == tmp_path / "a" / "images"


def test_a_relative_path_begins_at_its_suite_wherever_it_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images(tmp_path / "a" / "images")
    path = suite(tmp_path / "a", "images", grid={"data.path": ["images", "../a/images/"]})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SuiteError, match="is listed twice"):
        load_suite(path)
    for where in (tmp_path, tmp_path / "a"):
        monkeypatch.chdir(where)
        (found,) = load_suite(suite(tmp_path / "a", "images")).planned()
        assert found.data.path == tmp_path / "a" / "images"
    copy = tmp_path / "copy.yaml"
    copy.write_text(load_suite(tmp_path / "a" / "one.yaml").to_yaml())
    assert load_suite(copy).cells()[0].id == load_suite(tmp_path / "a" / "one.yaml").cells()[0].id
    (here,) = load_suite(tmp_path / "a" / "one.yaml", ["data.path=pictures"]).planned()
    assert here.data.path == tmp_path / "a" / "pictures", "a path of the command line begins where that was typed"


def test_one_set_under_two_paths_is_refused(tmp_path: Path) -> None:
    images(tmp_path / "x")
    images(tmp_path / "y")
    with pytest.raises(SuiteError, match="hold the same images"):
        resolved(load_suite(suite(tmp_path, "x", grid={"data.path": ["x", "y"]})).planned(), "fp32")


def test_a_suite_may_pin_what_its_data_hold(tmp_path: Path) -> None:
    images(tmp_path / "x")
    (found,) = load_suite(suite(tmp_path, "x")).cells()
    pinned = suite(tmp_path, "x", data={"name": "folder", "path": "x", "resolution": 8, "content": found.data.content})
    assert [one.id for one in resolved(load_suite(pinned).planned(), "fp32")] == [found.id]
    images(tmp_path / "x", 200)
    with pytest.raises(DataError, match=r"data\.content is .* in the suite"):
        resolved(load_suite(pinned).planned(), "fp32")


def test_a_suite_is_read_where_its_data_are_not(tmp_path: Path) -> None:
    (planned,) = load_suite(suite(tmp_path, "nowhere")).cells()
    assert planned.data.content is None
