"""Surveys whose numbers are numbers and whose form is right, and which are none: each is refused by its name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pdebench.errors import ResultsError
from pdebench.measure.spatial.findings import read_survey
from pdebench.measure.spatial.survey import survey
from pdebench.models.backbone import create_model
from pdebench.tasks.generation.learner import GenerationLearner


@pytest.fixture(scope="module")
def sound() -> str:
    torch.manual_seed(0)
    model = create_model("PDE-SSM-DiT-XXS/8", input_size=32, in_channels=3, num_classes=2, depth=2, width=32)
    return survey(model.eval(), torch.randn(2, 3, 32, 32), learner=GenerationLearner()).model_dump_json()


def gains(value: float) -> Callable[[Any], Any]:
    return lambda found: found["frequency"].update(gain=[value] * len(found["frequency"]["gain"]))


ODD: dict[str, Callable[[Any], Any]] = {
    "gains beyond all sense": gains(1e200),
    "gains that are infinite once rounded": gains(1.79769e308),
    "no gains": lambda found: found["frequency"].update(gain=[]),
    "gains of other rings": lambda found: found["frequency"]["gain"].pop(),
    "no anisotropy": lambda found: found["frequency"].update(anisotropy=[]),
    "no rings": lambda found: found["frequency"].update(cycles=[]),
    "no map": lambda found: found.update(field_map=[]),
    "a map of empty rows": lambda found: found.update(field_map=[[]]),
    "a ragged map": lambda found: found.update(field_map=[[1.0], [1.0, 2.0]]),
    "a map of another size": lambda found: found.update(field_map=[[1.0]]),
    "no lengths": lambda found: found.update(lengths=[]),
    "an area of 400 digits": lambda found: found["field"].update(area_95=10**400),
    "a layer of 40 digits": lambda found: found.update(layer=10**40),
    "physics without lengths": lambda found: found["physics"].update(length=[]),
    "physics without drift": lambda found: found["physics"].update(drift=[]),
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_a_survey_that_does_not_fit_together_is_named(sound: str, tmp_path: Path, change: Callable[[Any], Any]) -> None:
    path, found = tmp_path / "spatial.json", json.loads(sound)
    path.write_text(sound)
    assert read_survey(path) is not None
    change(found["mixers"][0])
    path.write_text(json.dumps(found))
    with pytest.raises(ResultsError, match="is not a spatial survey"):
        read_survey(path)


def test_a_survey_without_layers_is_named(sound: str, tmp_path: Path) -> None:
    path = tmp_path / "spatial.json"
    path.write_text(json.dumps(json.loads(sound) | {"mixers": []}))
    with pytest.raises(ResultsError, match="is not a spatial survey"):
        read_survey(path)
