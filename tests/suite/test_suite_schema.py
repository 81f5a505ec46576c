"""The JSON Schema accepts what loads and refuses what an editor should underline."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import pytest

from pdebench.files.yaml_source import read_file
from pdebench.suite.load import json_schema, shipped_suites

GOOD: dict[str, Any] = {
    "suite": "resolution",
    "data": {"name": "emoji", "resolution": 32},
    "model": {"family": "PDE-SSM-DiT", "size": "S", "patch": 2, "states": 4},
    "train": {"steps": 10, "batch_size": 4, "lr": 1, "betas": [0.9, 0.99], "clip": None},
    "evaluate": {"samples": 10, "metrics": ["kid"]},
    "exclude": [{"train.seed": 0}],
    "grid": {"train.seed": [0, 1], "data.flip": [True, False]},
}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def changed(way: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(GOOD)
    *outer, last = way.split("/")
    inner = document
    for key in outer:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return document


@pytest.mark.parametrize(
    ("way", "value"),
    [("suite", "other"),
     ("grid/model.family", ["DiT", "PDE-SSM-DiT"]), ("include", [{"model.states": 2}]),
     ("model/diffusion", "off"),
     ("grid/train.betas", [[0.9, 0.99]]), ("train/steps", 1e4), ("evaluate", None),
     ("model/width", 256), ("match", {"by": "params", "to": "DiT"})],
)  # fmt: skip
def test_accepts(validator, way, value):
    validator.validate(changed(way, value))


@pytest.mark.parametrize(
    ("way", "value"),
    [("suite", "../up"), ("suite", None),
     ("trian", {}), ("train/stepz", 1), ("train/steps", "many"),
     ("train/steps", True),
     ("train/steps", None), ("model/family", "DIT"), ("model/family", "DiT"),
     ("model/statez", 1), ("model/states", 99), ("model/size", "M"), ("data/name", "emojis"),
     ("evaluate/metrics", ["fidd"]), ("evaluate/sampler", "rk"), ("grid/train.seed", []),
     ("grid/train.seed", 3),
     ("grid/train.seed", ["0"]),
     ("grid/seed", [1]), ("grid/model.family", ["DIT"]), ("grid", {}),
     ("include", [{"model.stats": 2}]),
     ("include", [{"model.states": "2"}]), ("include", []), ("exclude", [{}]),
     ("match", {"by": "flops", "to": "DiT"}), ("match", {"by": "macs", "to": "DIT"}), ("match", {"by": "macs"}),
     ("match", {"by": "macs", "to": "DiT", "at": 1}), ("grid/match.by", ["macs"])],
)  # fmt: skip
def test_refuses(validator, way, value):
    assert not validator.is_valid(changed(way, value))


@pytest.mark.parametrize(
    ("way", "value"),
    [("model/width", 256), ("grid/model.heads", [2]), ("include", [{"model.depth": 3}]), ("model/mlp_hidden", 64)],
)  # fmt: skip
def test_a_match_chooses_the_dimensions(validator, way, value):
    document = changed(way, value)
    validator.validate(document)
    document["match"] = {"by": "macs", "to": "DiT"}
    assert not validator.is_valid(document)


def test_any_familys_options_where_the_grid_sweeps_the_family(validator):
    document = changed("grid/model.family", ["DiT", "PDE-SSM-DiT"])
    document["model"]["family"] = "DiT"
    assert validator.is_valid(document)


def test_a_key_may_come_from_the_grid_alone(validator):
    document = changed("train/lr", None)
    assert not validator.is_valid(document)
    document["grid"]["train.lr"] = [1e-4, 1e-3]
    validator.validate(document)


def test_everything_is_described():
    schema = json_schema()
    for section in ("data", "model", "train", "evaluate", "match"):
        assert schema["properties"][section]["description"]
        for key, field in schema["properties"][section]["properties"].items():
            assert field.get("description"), f"{section}.{key}"


@pytest.mark.parametrize("name", sorted(shipped_suites()))
def test_shipped_suites_follow_the_schema(validator, name):
    validator.validate(read_file(shipped_suites()[name]).data)


def test_the_shipped_schema_is_the_current_one():
    """Editors read the file beside the suites; `pdebench schema > suites/suite.schema.json` brings it up to date."""
    shipped = next(iter(shipped_suites().values())).parent / "suite.schema.json"
    assert json.loads(shipped.read_text()) == json_schema()
