"""The keys of sampling and of the times that are trained at, as a suite gives them."""

# ruff: noqa: E501 -- the tables of sentences read better unbroken

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pdebench.errors import SuiteError
from pdebench.suite.config import Cell
from pdebench.suite.load import load_suite, shipped_suites
from pdebench.suite.smoke import smoke_document
from pdebench.tasks.generation.options import DIFFUSIONS, SAMPLERS
from pdebench.tasks.registry import TASKS

ONE = """\
suite: one
data: {name: emoji, resolution: 32}
model: {family: DiT, size: XXS, patch: 4}
train: {steps: 10, batch_size: 4, lr: 1e-4%s}
evaluate: {samples: 8%s}
"""


def cell(**changes: dict[str, object]) -> Cell:
    sections: dict[str, Any] = {
        "suite": "one",
        "data": {"name": "latents", "resolution": 16},
        "model": {"family": "DiT", "size": "XXS", "patch": 4},
        "train": {"steps": 2, "batch_size": 4, "lr": 1e-4},
    }
    sections |= {name: {**sections.get(name, {}), **keys} for name, keys in changes.items()}
    return Cell.model_validate_json(json.dumps(sections))


def refused(folder: Path, train: str = "", evaluate: str = "", more: str = "") -> str:
    path = folder / "one.yaml"
    path.write_text(ONE % (train, evaluate) + more)
    with pytest.raises(SuiteError) as error:
        load_suite(path)
    return str(error.value).removeprefix(f"{path}:")


@pytest.mark.parametrize(
    ("evaluate", "expected"),
    [
        (", tolerance: 1e-4", "5: evaluate.tolerance: tolerance is an option of dopri5, but the sampler is heun; leave it out, or take dopri5"),
        (", sampler: euler, diffusion: sigma", "5: evaluate.diffusion: diffusion is an option of euler_maruyama, but the sampler is euler; leave it out, or take euler_maruyama"),
        (", sampler: dopri5, nfe: 50", "5: evaluate.nfe: dopri5 spends what its tolerance takes; leave nfe out, or take heun"),
        (", sampler: dopri5, time_shift: 3", "5: evaluate.time_shift: dopri5 chooses its own steps; leave time_shift out, or take a sampler of fixed steps"),
        (", sampler: dopri5, tolerance: 1e-9", "5: evaluate.tolerance: must be a number of at least 1e-07 and below 1 or null, not 1e-09"),
        (", nfe: 7", "5: evaluate.nfe: heun spends two evaluations a step: nfe must be even, not 7; change it, or take euler"),
        (", sampler: euler_maruyama, nfe: 1", "5: evaluate.nfe: euler_maruyama takes a step with noise and a last one without: nfe must be 2 or more, not 1"),
        (", guidance_interval: [0.1, 0.9]", "5: evaluate.guidance_interval: guidance_interval says when guidance works, but guidance is 1; set that, or leave this out"),
        (", guidance: 2, guidance_interval: [0.9, 0.1]", "5: evaluate.guidance_interval: guidance_interval must be two times, 0 <= low < high <= 1, not 0.9 and 0.1"),
        (", guidance: 2, guidance_interval: [0.1, 1.5]", "5: evaluate.guidance_interval[1]: must be"),
        (", guidance: 2, guidance_interval: 0.5", "5: evaluate.guidance_interval: must be a list of 2 values, each a number"),
        (", sampler: euler_maruyama, diffusion: SBDN", "5: evaluate.diffusion: unknown value 'SBDN'; did you mean 'SBDM'?"),
        (", time_shift: 0", "5: evaluate.time_shift: must be a number above 0, not 0"),
    ],
)  # fmt: skip
def test_keys_of_sampling_that_do_not_go_together(tmp_path: Path, evaluate: str, expected: str) -> None:
    assert refused(tmp_path, evaluate=evaluate).startswith(expected)


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        (", times_mean: 1", "4: train.times_mean: times_mean is an option of times: lognormal, but times is uniform; leave it out, or take lognormal"),
        (", times: shifted, times_std: 1", "4: train.times_std: times_std is an option of times: lognormal, but times is shifted"),
        (", times: lognormal, times_shift: 2", "4: train.times_shift: times_shift is an option of times: shifted, but times is lognormal"),
        (", times: lognormal, times_std: 0", "4: train.times_std: must be a number above 0 or null, not 0"),
        (", times: logitnormal", "4: train.times: unknown value 'logitnormal'; did you mean 'lognormal'?"),
        (", prediction: v", "4: train.prediction: unknown value 'v'; known: velocity, x"),
    ],
)  # fmt: skip
def test_keys_of_training_that_do_not_go_together(tmp_path: Path, train: str, expected: str) -> None:
    assert refused(tmp_path, train=train).startswith(expected)


def test_the_key_that_a_grid_sweeps_is_the_one_to_blame(tmp_path: Path) -> None:
    grid = "grid:\n  evaluate.sampler:\n    - dopri5\n    - heun\n"
    said = refused(tmp_path, evaluate=", tolerance: 1e-4", more=grid)
    assert said.startswith("9: grid.evaluate.sampler[1]: tolerance is an option of dopri5, but the sampler is heun")


def test_defaults_that_belong_to_a_sampler_are_written_out() -> None:
    found = [cell(evaluate={"samples": 1, "sampler": name}).config()["evaluate"] for name in SAMPLERS]
    told = {one["sampler"]: (one["nfe"], one["tolerance"], one["diffusion"]) for one in found}
    assert told == {
        "euler": (50, None, None),
        "heun": (50, None, None),
        "dopri5": (None, 1e-5, None),
        "euler_maruyama": (50, None, "sigma"),
    }
    trained = cell(train={"times": "lognormal"}).train
    assert (trained.times_mean, trained.times_std, trained.times_shift) == (0, 1, None)
    assert cell(train={"times": "shifted"}).train.times_shift == 3


@pytest.mark.parametrize(
    ("short", "whole"),
    [
        ({"evaluate": {"sampler": "dopri5"}}, {"evaluate": {"sampler": "dopri5", "tolerance": 1e-5, "nfe": None}}),
        ({"evaluate": {"nfe": 50}}, {"evaluate": {}}),
        ({"evaluate": {"time_shift": 1.0}}, {"evaluate": {}}),
        ({"train": {"times": "shifted"}}, {"train": {"times": "shifted", "times_shift": 3.0}}),
        ({"train": {"times": "uniform", "prediction": "velocity"}}, {"train": {}}),
    ],
)
def test_what_is_filled_in_is_what_a_cell_is(short: dict[str, Any], whole: dict[str, Any]) -> None:
    assert cell(**short).id == cell(**whole).id


def test_each_of_the_new_values_is_another_cell() -> None:
    ways: list[dict[str, Any]] = [{"evaluate": {"sampler": name}} for name in SAMPLERS]
    ways += [{"evaluate": {"sampler": "euler_maruyama", "diffusion": one}} for one in DIFFUSIONS if one != "sigma"]
    ways += [{"evaluate": {"sampler": "dopri5", "tolerance": 1e-4}}, {"evaluate": {"time_shift": 2.0}}]
    ways += [{"evaluate": {"guidance": 2.0, **more}} for more in ({}, {"guidance_interval": [0.1, 0.9]})]
    ways += [{"train": {"times": name}} for name in ("lognormal", "shifted")]
    ways += [{"train": {"times": "lognormal", "times_mean": -0.8}}, {"train": {"prediction": "x"}}]
    assert len({cell(**way).id for way in ways}) == len(ways)


def test_the_suites_of_samplers_and_objectives_use_every_option_and_shrink(tmp_path: Path) -> None:
    cells = [one for name in ("samplers", "objectives") for one in load_suite(shipped_suites()[name]).planned()]
    evaluated, trained = [one.config()["evaluate"] for one in cells], [one.config()["train"] for one in cells]
    assert {one["sampler"] for one in evaluated} == set(SAMPLERS)
    assert {one["diffusion"] for one in evaluated} == {None, *DIFFUSIONS}
    assert any(one["time_shift"] != 1 for one in evaluated)
    assert any(one["guidance_interval"] for one in evaluated)
    assert {one["times"] for one in trained} == {"uniform", "lognormal", "shifted"}
    assert {one["prediction"] for one in trained} == {"velocity", "x"}
    for name in ("samplers", "objectives"):
        suite = load_suite(shipped_suites()[name])
        path = tmp_path / f"{name}.yaml"
        path.write_text(smoke_document(suite, tmp_path / "data"))
        assert len(load_suite(path).planned()) >= 4


def test_a_plan_reckons_with_the_passes_that_guidance_and_dopri5_take() -> None:
    def passes(**evaluate: Any) -> int:
        found = TASKS["generation"].passes(cell(evaluate={"samples": 4, **evaluate}).evaluate)
        assert found is not None
        return found.images * found.evaluations

    assert passes(nfe=10) == 40
    assert passes(nfe=10, guidance=2.0) == 80
    assert passes(nfe=10, guidance=2.0, guidance_interval=[0.0, 0.5]) == 60  # guided at 0, .2, .2, .4 and .4
    assert passes(sampler="euler_maruyama", nfe=10) == 40
    assert 100 < passes(sampler="dopri5", tolerance=1e-3) < passes(sampler="dopri5", tolerance=1e-6) < 1000
