"""`match` in a suite: sizes are resolved where it is read, and what cannot be matched is refused there."""

# ruff: noqa: E501 -- the tables of sentences read better unbroken

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pdebench.errors import SuiteError
from pdebench.models.backbone_cost import backbone_cost
from pdebench.models.registry import FAMILIES
from pdebench.results.store import frame_of
from pdebench.suite.load import Cell, load_suite
from pdebench.suite.validation import cell_from_yaml

GOOD = """\
suite: sizes
data: {name: noise, resolution: 32}
model: {family: DiT, size: S, patch: 4}
match: {by: params, to: DiT}
train: {steps: 10, batch_size: 4, lr: 1e-3}
grid:
  model.family:
    - PDE-SSM-DiT
    - DiT
  data.resolution: [32, 64]
  train.seed: [0, 1]
include:
  - {model.family: PDE-SSM-DiT, model.gate: true}
"""


@pytest.fixture
def suite_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("suite.yaml")
    path.write_text(GOOD)
    return path


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(SuiteError) as caught:
        load_suite(path, overrides)
    return str(caught.value)


def cost(cell: Cell, by: str) -> float:
    family, model = FAMILIES[cell.model.family], cell.model
    dimensions = family.dimensions(model.size, family.options(**model.options), **model.dimensions)
    found = backbone_cost(
        family, dimensions, model.patch, family.options(**model.options), input_size=cell.data.resolution,
        in_channels=3, num_classes=None,
    )  # fmt: skip
    return getattr(found, by)


@pytest.mark.parametrize("by", ["params", "macs"])
def test_cells_are_resized_to_the_reference(suite_file, by):
    cells = load_suite(suite_file, [f"match.by={by}"]).cells()
    assert len(cells) == 8
    alone = {cell.data.resolution: cell for cell in cells if cell.model.family == "DiT"}
    for cell in cells:
        assert cost(cell, by) == pytest.approx(cost(alone[cell.data.resolution], by), rel=0.02)
    assert all(
        cell.model.dimensions == {"depth": 12, "width": 384, "heads": 6, "mlp_hidden": 1536} for cell in alone.values()
    )
    assert 384 not in {cell.model.width for cell in cells if cell.model.family != "DiT"}


def test_resolved_sizes_are_what_the_cell_is(suite_file):
    """They stand in config.yaml and in the record; the cell is that of a suite which gives them by hand."""
    cell = load_suite(suite_file).cells()[0]
    assert cell.config()["model"]["width"] == cell.flat()["model.width"] == cell.model.width != 384
    assert cell_from_yaml(cell.to_yaml()) == cell
    suite_file.write_text(GOOD.replace("match: {by: params, to: DiT}\n", ""))
    assert load_suite(suite_file).cells()[0].id != cell.id
    dimensions = [f"model.{key}={value}" for key, value in cell.model.dimensions.items() if value]
    by_hand = load_suite(suite_file, ["grid.model.family=[PDE-SSM-DiT]", *dimensions])
    assert by_hand.cells()[0] == cell
    assert by_hand.cells()[0].id == cell.id


def test_dimensions_are_whole_numbers_of_a_record(suite_file):
    cells = load_suite(suite_file).cells()
    frame = frame_of([json.loads(json.dumps(cell.flat())) for cell in cells])
    for key in ("model.depth", "model.width", "model.heads", "model.mlp_hidden"):
        assert str(frame[key].dtype) == "Int64"
    assert frame["model.heads"].isna().tolist() == [cell.model.family != "DiT" for cell in cells]
    alone = frame_of([cells[0].flat()])  # no family with heads in the table
    assert str(alone["model.heads"].dtype) == "Int64"


def test_the_suite_as_run_loads_again(suite_file, tmp_path):
    suite = load_suite(suite_file, ["match.by=macs", "grid.data.resolution=[64]"])
    again = tmp_path / "again.yaml"
    again.write_text(suite.to_yaml())
    assert load_suite(again).match == suite.match
    assert load_suite(again).cells() == suite.cells()


def test_an_override_can_match_a_suite_that_does_not(suite_file):
    matched = load_suite(suite_file).cells()
    suite_file.write_text(GOOD.replace("match: {by: params, to: DiT}\n", ""))
    assert load_suite(suite_file).match is None
    assert load_suite(suite_file, ["match.by=params", "match.to=DiT"]).cells() == matched
    assert message(suite_file, "match.by=params") == (
        "--set match.by=params: match.to: is missing; match is written {by: params, to: DiT}"
    )


BAD = [
    ("by: params", "by: flops", 4, "match.by: unknown value 'flops'; known: macs, params, peak_memory, step_time"),
    ("by: params", "by: 3", 4, "match.by: must be one of params, macs, step_time, peak_memory, not 3"),
    ("to: DiT}", "to: Dit}", 4, "match.to: unknown family 'Dit'; did you mean 'DiT'?"),
    ("to: DiT}", "too: DiT}", 4, "match.too: unknown key; did you mean 'to'?"),
    ("to: DiT}", "to: DiT, lr: 1}", 4, "match.lr: unknown key; it belongs under 'train:'"),
    (", to: DiT}", "}", 4, "match.to: is missing; match is written {by: params, to: DiT}"),
    ("match: {by: params, to: DiT}", "match: DiT", 4, "match: must be keys and values, such as {by: params, to: DiT}, not 'DiT'"),
    ("match: {by: params, to: DiT}", "to: DiT", 4, "to: unknown key; it belongs under 'match:'"),
    ("match: {", "mach: {", 4, "mach: unknown key; did you mean 'match'?"),
    ("train.seed: [", "match.by: [", 11, "grid.match.by: match is the same for all of a suite; set it under 'match:'"),
    # what a match chooses
    ("patch: 4", "patch: 4, width: 384", 3, "model.width: match chooses this for each family; leave it out, or leave match out"),
    ("train.seed: [0, 1]", "model.heads: [6]", 11, "grid.model.heads[0]: match chooses this for each family; leave it out, or leave match out"),
    ("model.gate: true", "model.depth: 3", 13, "include[0].model.depth: match chooses this for each family; leave it out, or leave match out"),
    ("model.gate: true", "model.mlp_hidden: 64", 13, "include[0].model.mlp_hidden: match chooses this for each family; leave it out, or leave match out"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "expected"), BAD, ids=[f"{i}-{b[1][:20]}" for i, b in enumerate(BAD)])
def test_bad_matches(suite_file, old, new, line, expected):
    assert GOOD.count(old) == 1
    suite_file.write_text(GOOD.replace(old, new))
    assert message(suite_file) == f"suite.yaml:{line}: {expected}"


def test_an_override_of_what_a_match_chooses(suite_file):
    assert message(suite_file, "model.width=256") == (
        "--set model.width=256: model.width: match chooses this for each family; leave it out, or leave match out"
    )
    assert load_suite(suite_file, ["model.width=null"]).cells() == load_suite(suite_file).cells()


UNMATCHED = (
    "GFNet-DiT-XXS/2 at 1024 px cannot be matched to DiT by params: DiT has 34.83 M parameters, and the nearest that "
    "GFNet-DiT comes to, at no less than half its own width and depth, is 50.45 M parameters that act (depth 2, width 64, MLP 128)"
)


def test_a_family_that_cannot_be_matched(suite_file):
    text = GOOD.replace("size: S, patch: 4", "size: XXS, patch: 2").replace("- DiT", "- GFNet-DiT")
    suite_file.write_text(text.replace("[32, 64]", "[32, 1024]"))
    assert message(suite_file) == (
        f"suite.yaml:9: grid.model.family[1]: {UNMATCHED}, in the combination model.family=GFNet-DiT, data.resolution=1024"
    )
    head = text.partition("grid:")[0].replace("family: DiT", "family: GFNet-DiT")
    suite_file.write_text(f"{head}grid:\n  data.resolution:\n    - 32\n    - 1024\n")
    assert message(suite_file) == f"suite.yaml:9: grid.data.resolution[1]: {UNMATCHED}"
    suite_file.write_text(head.replace("resolution: 32", "resolution: 1024"))
    assert message(suite_file) == f"suite.yaml:3: model.family: {UNMATCHED}"


def test_values_that_give_one_cell(suite_file):
    """A null stands for what the size, or the match, gives."""
    suite_file.write_text(
        GOOD.replace(
            "  - {model.family: PDE-SSM-DiT, model.gate: true}",
            "  - {model.size: S}\n  - {model.size: S, train.seed: 0, model.family: DiT, data.resolution: 128}\n  - {data.resolution: 128}",
        )
    )
    assert message(suite_file).startswith(
        "suite.yaml:15: include[2]: gives data.resolution=128, the same cell as model.size=S, train.seed=0"
    )
    suite_file.write_text(
        GOOD.replace("match: {by: params, to: DiT}\n", "").replace("train.seed: [0, 1]", "model.depth: [null, 12]")
    )
    assert message(suite_file).startswith(
        "suite.yaml:10: grid.model.depth[1]: gives model.family=PDE-SSM-DiT, data.resolution=32, model.depth=12"
    )


def test_a_big_suite_is_matched_at_once(suite_file):
    text = GOOD.replace("[32, 64]", "[32, 64, 128, 256]").replace("[0, 1]", "[0, 1, 2]\n  model.size: [S, B, L, XL]")
    suite_file.write_text(text.replace("    - DiT\n", "    - DiT\n    - Mamba-DiT\n    - AFNO-DiT\n    - None-DiT\n"))
    for by in ("params", "macs"):
        start = time.process_time()
        assert len(load_suite(suite_file, [f"match.by={by}"]).cells()) == 240
        assert time.process_time() - start < 0.5


def test_a_matched_suite_is_read_without_torch(suite_file):
    code = (
        "import sys, pdebench.suite.load as s; s.load_suite(sys.argv[1]); "
        "print([m for m in ('torch', 'numpy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(suite_file)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("by", ["params", "macs"])
def test_the_baselines_are_every_family_at_one_cost(by):
    """As shipped, by parameters; and it can be asked for by MACs."""
    suite = load_suite("baselines", [f"match.by={by}"])
    assert yaml.safe_load(Path(suite.file).read_text())["match"] == {"by": "params", "to": "DiT"}
    assert suite.grids[0]["model.family"] == list(FAMILIES)
    cells = suite.cells()
    assert len(cells) == 3 * len(FAMILIES)
    (reference,) = {cost(cell, by) for cell in cells if cell.model.family == "DiT"}
    for cell in cells:
        assert cost(cell, by) == pytest.approx(reference, rel=0.02), cell.model.family


@pytest.mark.parametrize("by", ["params", "macs", "step_time", "peak_memory"])
def test_a_reference_that_does_not_take_the_data_is_refused(by, tmp_path):
    """Its numbers would be those of a model that there is not, and where they are measured the run would end there."""
    asked = yaml.safe_load(GOOD) | {"match": {"by": by, "to": "DiCo"}}
    asked |= {
        "data": {"name": "sprites_video", "resolution": 16, "frames": 4},
        "grid": {"model.family": ["PDE-SSM-DiT"]},
    }
    (tmp_path / "clips.yaml").write_text(yaml.safe_dump(asked))
    with pytest.raises(SuiteError) as error:
        load_suite(tmp_path / "clips.yaml")
    assert "match.to: DiCo takes images only: its mixer has no form for clips; match to a family" in str(error.value)
    assert load_suite(tmp_path / "clips.yaml", ["match.to=DiT"]).planned()
