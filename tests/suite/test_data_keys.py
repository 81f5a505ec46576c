"""What a data set cannot give, whatever it holds, is said where a suite is read: no run and no cell finds it out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pdebench.cli import app
from pdebench.errors import SuiteError
from pdebench.suite.load import load_suite

BASE = {
    "suite": "s",
    "model": {"family": "DiT", "size": "XXS", "patch": 8},
    "train": {"steps": 1, "batch_size": 2, "lr": 1e-3},
}
REFUSED = [
    ({"data": {"name": "clips", "path": "x", "resolution": 16}}, "data.frames: data set 'clips' needs data.frames"),
    ({"data": {"name": "sprites_video", "resolution": 16}}, "data.frames: data set 'sprites_video' needs data.frames"),
    (
        {"data": {"name": "emoji", "resolution": 32, "frames": 8}},
        "data.frames: data set 'emoji' does not read data.frames: leave it out, or take data.name: clips",
    ),
    ({"data": {"name": "folder", "path": "x", "resolution": 32, "frame_stride": 2}}, "data.frame_stride: data set"),
    (
        {"data": {"name": "shards", "path": "x", "resolution": 32, "frame_stride": 2}},
        "data.frame_stride: is of clips: leave it out, or set data.frames",
    ),
    ({"data": {"name": "digits", "resolution": 48}}, "data.resolution: data set 'digits' has no images of 48 px"),
    (
        {"task": "classification", "data": {"name": "digits", "resolution": 32}, "evaluate": {"resolutions": [16, 48]}},
        "evaluate.resolutions: data set 'digits' cannot give images of 48 px: take one of 8, 16",
    ),
    (
        {"task": "generation", "data": {"name": "emoji", "resolution": 32}, "evaluate": {"resolution": 128}},
        "evaluate.resolution: data set 'emoji' cannot give images of 128 px: take one of 64",
    ),
    (
        {"task": "segmentation", "data": {"name": "sprites", "resolution": 32}, "evaluate": {"resolution": 48}},
        "evaluate.resolution: data set 'sprites' cannot give images of 48 px: take one of 64, 128",
    ),
    (
        {"data": {"name": "packed", "path": "x", "resolution": 32}, "evaluate": {"resolution": 64}},
        "evaluate.resolution: data set 'packed' cannot give images of 64 px: it is of one side, so leave it out",
    ),
]


def written(tmp_path: Path, sections: dict[str, object]) -> Path:
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps(BASE | sections))
    return path


@pytest.mark.parametrize(("sections", "told"), REFUSED)
def test_a_suite_that_its_data_cannot_serve_is_refused_in_a_sentence(tmp_path, sections, told):
    with pytest.raises(SuiteError) as error:
        load_suite(str(written(tmp_path, sections)))
    assert f" {told}" in str(error.value)
    assert "\n" not in str(error.value)


TWICE = [
    {"data": {"name": "sprites_video", "resolution": 16, "frames": 4}, "grid": {"data.resolution": [16, 17]}},
    {"data": {"resolution": 48}, "grid": {"data.name": ["digits"]}},
    {"data": {"name": "shards", "resolution": 32, "frame_stride": 2}, "grid": {"data.path": ["x", "y"]}},
]


@pytest.mark.parametrize("sections", TWICE)
def test_what_its_data_and_its_cells_have_against_it_is_said_once(tmp_path, sections):
    told = []
    for with_parts in (False, True):
        with pytest.raises(SuiteError) as error:
            load_suite(str(written(tmp_path, sections)), with_parts=with_parts)
        said = [str(one) for one in (error.value, *error.value.others)]
        told.append([one.partition(", in the combination")[0] for one in said])
    assert len(told[0]) == 1
    assert [one for one in told[1] if "data.path" not in one] == told[0]


@pytest.mark.parametrize("verb", ["validate", "plan"])
def test_both_verbs_of_before_a_run_say_it(tmp_path, verb):
    path = written(tmp_path, REFUSED[0][0])
    done = CliRunner().invoke(app, [verb, str(path)])
    assert isinstance(done.exception, SuiteError)


def test_what_a_data_set_can_give_is_taken(tmp_path):
    data = {"name": "digits", "resolution": 32}
    asked = {"task": "classification", "data": data, "evaluate": {"resolutions": [8, 16, 32]}}
    assert len(load_suite(str(written(tmp_path, asked))).planned()) == 1
    asked = {"data": {"name": "folder", "path": "x", "resolution": 32}, "evaluate": {"resolution": 48}}
    assert len(load_suite(str(written(tmp_path, asked))).planned()) == 1
