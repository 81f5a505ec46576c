"""`budget` in a suite: steps follow from FLOPs where it is read, and what cannot be held to a budget is refused there."""

# ruff: noqa: E501 -- the tables of sentences read better unbroken

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pdebench.errors import SuiteError
from pdebench.models.registry import FAMILIES
from pdebench.plan.cost import count_one_block
from pdebench.suite.budget import flops_of_step
from pdebench.suite.load import Cell, load_suite
from pdebench.suite.validation import cell_from_yaml

GOOD = """\
suite: equal_compute
data: {name: emoji, resolution: 32}
model: {family: DiT, size: XS, patch: 4}
train: {batch_size: 16, lr: 1e-3}
grid:
  budget.train_flops: [2e12, 6e12]
  model.family: [PDE-SSM-DiT, DiT]
  model.size: [XXS, XS]
  train.seed: [0, 1]
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


def spent(cell: Cell) -> float:
    """What the record of a cell will say: `flops_train`, by the counter on the meta device."""
    counted, _ = count_one_block(
        f"{cell.model.family}-{cell.model.size}/{cell.model.patch}", input_size=cell.data.resolution, in_channels=3,
        num_classes=10, **cell.model.dimensions, **cell.model.options,
    )  # fmt: skip
    return counted.flops_train_step(cell.train.batch_size) * cell.train.steps


def test_every_family_and_size_spends_its_budget(suite_file):
    families = ", ".join(FAMILIES)
    overrides = [f"grid.model.family=[{families}]", "grid.train.seed=[0]", "grid.budget.train_flops=[6e12]"]
    cells = load_suite(suite_file, [*overrides, "grid.model.size=[XXS]"]).cells()
    assert len(cells) == len(FAMILIES)
    for cell in cells:  # half a step of rounding
        assert spent(cell) == pytest.approx(6e12, rel=0.5 / cell.train.steps + 0.001), cell.model.family


def test_the_cell_is_its_steps(suite_file):
    """The budget is no part of a cell: by hand, the same steps are the same cell, and its record is the same."""
    suite = load_suite(suite_file)
    cell = suite.cells()[0]
    assert cell.train.steps > 10
    assert not any("budget" in key for key in cell.flat())
    assert cell_from_yaml(cell.to_yaml()) == cell
    by_hand = Path("by_hand.yaml")
    by_hand.write_text(GOOD.replace("budget.train_flops: [2e12, 6e12]", f"train.steps: [{cell.train.steps}]"))
    assert load_suite(by_hand).cells()[0].id == cell.id


def test_the_suite_as_run_loads_again(suite_file, tmp_path):
    for text in (GOOD, GOOD.replace("grid:\n  budget.train_flops: [2e12, 6e12]", "budget: {train_flops: 2e12}\ngrid:")):
        suite_file.write_text(text)
        suite = load_suite(suite_file)
        again = tmp_path / "again.yaml"
        again.write_text(suite.to_yaml())
        assert load_suite(again).cells() == suite.cells()


def test_a_budget_of_a_matched_suite_is_spent_at_the_matched_size(suite_file):
    cell = load_suite(suite_file, ["match.by=macs", "match.to=DiT"]).cells()[0]
    assert cell.model.width != load_suite(suite_file).cells()[0].model.width
    assert spent(cell) == pytest.approx(2e12, rel=0.5 / cell.train.steps + 0.001)


def test_overrides(suite_file):
    assert len(load_suite(suite_file, ["grid.budget.train_flops=[4e12]"]).cells()) == 8
    assert message(suite_file, "budget.train_flops=4e12").startswith(
        "--set budget.train_flops=4e12: budget.train_flops: the grid on line 6 sweeps this key"
    )


STEPS = "budget chooses this for each cell; leave it out, or leave budget out"
SMALL = (
    "1.2e11 FLOPs train PDE-SSM-DiT-XS/4 at 32 px for 9 steps: one takes 1.4e10 at batch 16, and under 10 steps cannot "
    "be held to a budget; raise it, or make the batch smaller"
)
BAD = [
    ("train: {", "train: {steps: 10, ", 4, f"train.steps: {STEPS}"),
    ("train.seed: [0, 1]", "train.steps: [10]", 9, f"grid.train.steps[0]: {STEPS}"),
    ("train.seed: [0, 1]", "train.seed: [0]\ninclude:\n  - {model.size: S, train.steps: 3}", 11, f"include[0].train.steps: {STEPS}"),
    ("[2e12, 6e12]", "[2e12, -1]", 6, "grid.budget.train_flops[1]: must be a number above 0, not -1"),
    ("[2e12, 6e12]", "[2e12, much]", 6, "grid.budget.train_flops[1]: must be a number above 0, not 'much'"),
    ("[2e12, 6e12]", "2e12", 6, "grid.budget.train_flops: must be a list of values, such as [2000000000000], not 2000000000000"),
    ("budget.train_flops", "budget.train_flop", 6, "grid.budget.train_flop: there is no such key to set; did you mean 'budget.train_flops'?"),
    ("grid:", "budget: 1e12\ngrid:", 5, "budget: must be keys and values, not 1000000000000"),
    ("grid:", "budget: {flops: 1e12}\ngrid:", 5, "budget.flops: unknown key; did you mean 'train_flops'?"),
    ("suite: equal_compute", "suite: equal_compute\ntrain_flops: 1e12", 2, "train_flops: unknown key; it belongs under 'budget:'"),
    ("  budget.train_flops: [2e12, 6e12]\n", "", 4, "train.steps: is missing; set it under 'train:' or in the grid"),
    ("  budget.train_flops: [2e12, 6e12]\n", "  budget.train_flops: [1.2e11]\n", 6, f"grid.budget.train_flops[0]: {SMALL}"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "expected"), BAD, ids=[f"{i}-{b[1][:20]}" for i, b in enumerate(BAD)])
def test_bad_budgets(suite_file, old, new, line, expected):
    assert GOOD.count(old) == 1
    suite_file.write_text(GOOD.replace(old, new))
    assert message(suite_file).startswith(f"suite.yaml:{line}: {expected}")


def test_a_combination_without_a_budget(suite_file):
    text = GOOD.replace("  budget.train_flops: [2e12, 6e12]\n", "")
    suite_file.write_text(text + "include:\n  - {model.size: XS, train.seed: 0, budget.train_flops: 2e12}\n")
    assert message(suite_file).endswith("budget.train_flops: is missing; set it under 'budget:' or in the grid")


def test_a_budgeted_suite_is_read_without_torch(suite_file):
    code = (
        "import sys, pdebench.suite.load as s; s.load_suite(sys.argv[1]); "
        "print([m for m in ('torch', 'numpy', 'pandas', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(suite_file)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_shipped_suites_of_scaling():
    scaling, sizes = load_suite("scaling"), load_suite("model_size")
    assert min(cell.train.steps for cell in scaling.cells()) >= 10
    assert {"PDE-SSM-DiT", "DiT"} <= {cell.model.family for cell in scaling.cells()}
    assert len({cell.train.steps for cell in sizes.cells()}) == 1
    for suite in (scaling, sizes):  # the small version that the description gives can be copied out of it
        words = suite.description.partition("--set ")[2].replace("'", "").split("--set ")
        small = load_suite(suite.file, [word.strip() for word in words])
        assert 0 < len(small.cells()) < len(suite.cells())


def test_the_reference_study_has_its_sizes_and_its_sealed_budget():
    cells = load_suite("reference").planned()
    sizes: dict[tuple[str, float], set[str]] = {}
    for cell in cells:
        assert cell.train.steps >= 40
        spent = cell.train.steps * flops_of_step(cell)
        budget = min((1e11, 3e11, 1e12, 3e12, 1e13, 3e13), key=lambda one: abs(one - spent))
        assert spent == pytest.approx(budget, rel=0.02)
        assert cell.train.lr == pytest.approx(8e-3 * min(1, 128 / cell.model.width), rel=0.01)
        sizes.setdefault((cell.model.family, budget), set()).add(cell.model.size)
    assert {family for family, _ in sizes} == {"PDE-SSM-DiT", "DiT", "DiG", "GFNet-DiT", "Wave-DiT"}
    assert all(len(found) >= 3 for (_, budget), found in sizes.items() if 1e11 < budget < 3e13)
    before = load_suite("reference", ["grid.budget.train_flops=[1e11, 3e11, 1e12, 3e12, 1e13]"]).planned()
    sealed = {cell.id for cell in cells} - {cell.id for cell in before}
    assert len(sealed) == 10
    assert {cell.id for cell in before} < {cell.id for cell in cells}
