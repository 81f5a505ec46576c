"""`shell` in a suite: swept as any key, resolved for each family, told apart, matched; and refused where it must be."""

# ruff: noqa: E501 -- the table of sentences reads better unbroken

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pdebench.errors import Interrupted, SuiteError
from pdebench.models.backbone_cost import backbone_cost
from pdebench.models.registry import FAMILIES
from pdebench.models.settings import shell_of
from pdebench.plan.suite_plan import make_plan
from pdebench.report.frame import make_frame
from pdebench.results.store import frame_of
from pdebench.run.cell import run_cell
from pdebench.run.checkpoint import read_checkpoint
from pdebench.suite.build import build_of
from pdebench.suite.config import Cell
from pdebench.suite.labels import labels
from pdebench.suite.load import load_suite
from pdebench.suite.smoke import smoke_document
from pdebench.suite.validation import cell_from_yaml
from pdebench.train.state import Snapshots

GOOD: dict[str, Any] = {
    "suite": "shells",
    "data": {"name": "latents", "resolution": 16},
    "model": {"family": "DiT", "size": "XXS", "patch": 4},
    "train": {"steps": 2, "batch_size": 4, "lr": 1e-3},
}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def written(**sections: Any) -> Path:
        (tmp_path / "suite.yaml").write_text(yaml.safe_dump({**GOOD, **sections}))
        return tmp_path / "suite.yaml"

    return written


def cells(path: Path) -> list[Cell]:
    return load_suite(path).planned()


def test_a_sweep_of_shells_makes_cells_and_leaves_those_of_before(write: Any) -> None:
    (before,) = cells(write())
    found = cells(write(grid={"shell.preset": ["dit", "lightning", "uvit"], "shell.qk_norm": [False, True]}))
    assert len({cell.id for cell in found}) == 6
    assert found[0].id == before.id
    assert [cell.model.mlp_hidden for cell in found] == [512, 512, 341, 341, 512, 512]
    assert [build_of(cell, None)[1].get("shell") for cell in found[::2]] == [
        None,
        {"norm": "rms", "mlp": "swiglu", "rope": True},
        {"skips": True},
    ]


def test_a_preset_is_what_its_keys_are(write: Any) -> None:
    (preset,) = cells(write(shell={"preset": "lightning"}))
    (spelled,) = cells(write(shell={"norm": "rms", "mlp": "swiglu", "rope": True}))
    (less,) = cells(write(shell={"preset": "lightning", "rope": False}))
    assert preset.id == spelled.id != less.id
    assert spelled.config() == preset.config()
    assert less.shell.preset == "lightning"
    (plain,) = cells(write(shell={"norm": "layer", "mlp": "gelu"}))  # DiT's own
    assert plain.id == cells(write())[0].id


@pytest.mark.parametrize("family", FAMILIES)
def test_a_cell_reads_back_as_it_was(write: Any, family: str) -> None:
    for shell in ({}, {"preset": "lightning"}, {"preset": "uvit", "adaln": "single"}):
        (cell,) = cells(write(model={**GOOD["model"], "family": family}, shell=shell))
        again = cell_from_yaml(cell.to_yaml())
        assert (again, again.id) == (cell, cell.id)
        assert cell.flat()["shell.rope"] is (shell.get("preset") == "lightning" and FAMILIES[family].queries_and_keys)


@pytest.mark.parametrize("preset", ["lightning", "uvit"])
def test_a_match_is_within_the_shell(write: Any, preset: str) -> None:
    def cost(cell: Cell) -> int:
        family = FAMILIES[cell.model.family].in_shell(cell.shell)
        options = family.options(**cell.model.options)
        found = backbone_cost(family, cell.model.resolved, 4, options, input_size=16, in_channels=3, num_classes=None)
        return found.params - found.idle

    swept = {"model.family": ["DiT", "PDE-SSM-DiT", "DiG", "Mamba-DiT"]}
    found = cells(write(shell={"preset": preset}, match={"by": "params", "to": "DiT"}, grid=swept))
    for cell in found:
        assert cost(cell) == pytest.approx(cost(found[0]), rel=0.02)
    (alone,) = cells(write(shell={"preset": preset}))
    assert found[0].model.dimensions == alone.model.dimensions


def test_a_budget_buys_the_steps_of_the_shell(write: Any) -> None:
    train = {"batch_size": 4, "lr": 1e-3}
    plain, skipping = cells(write(train=train, budget={"train_flops": 1e11}, grid={"shell.preset": ["dit", "uvit"]}))
    assert skipping.train.steps < plain.train.steps


def test_a_plan_tells_shells_apart(write: Any) -> None:
    plan = make_plan(load_suite(write(grid={"shell.preset": ["dit", "lightning", "uvit"]})), "h100")
    plain, lightning, uvit = plan.predictions
    assert lightning.params - plain.params == 9 * 128 + 4 * (3 * 128 * 341 + 2 * 341 - 8 * 128 * 128 - 4 * 128)
    assert uvit.params - plain.params == 2 * 128 * 128 + 128
    assert uvit.macs_forward - plain.macs_forward == 16 * 2 * 128 * 128


def test_names_tell_shells_apart(write: Any) -> None:
    grid = {"model.family": ["DiT", "DiG"], "shell.preset": ["dit", "lightning"]}
    include = [{"model.family": "PDE-SSM-DiT", "shell.preset": "lightning", "shell.adaln": "single"}]
    assert list(labels(cells(write(grid=grid, include=include))).values()) == [
        "DiT · dit shell",
        "DiT · lightning shell",
        "DiG · dit shell",
        "DiG · lightning shell",
        "PDE-SSM-DiT · lightning shell, adaln single",
    ]
    assert list(labels(cells(write(grid={"model.family": ["DiT", "DiG"]}))).values()) == ["DiT", "DiG"]


def test_a_report_tells_shells_apart_and_records_of_before_are_of_dits(write: Any) -> None:
    found = cells(write(grid={"shell.preset": ["dit", "lightning"], "train.seed": [0, 1]}))
    rows = [{"cell": cell.id, "status": "done", "suite": "shells", **cell.flat(), "val_loss": 1.0} for cell in found]
    for row in rows[:1]:
        for key in [key for key in row if key.startswith("shell.")]:
            del row[key]
    table = make_frame(frame_of(rows))
    assert sorted(table["setting"]) == ["dit shell", "dit shell", "lightning shell", "lightning shell"]
    assert shell_of("DiT", {}) == shell_of("DiT", {"shell.norm": "own", "shell.rope": None}) == "dit shell"


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"shell": {"rope": True}, "model": {**GOOD["model"], "family": "PDE-SSM-DiT"}}, "shell.rope: is of queries and keys, and the mixer of PDE-SSM-DiT has none"),
        ({"shell": {"rope": True}, "grid": {"model.family": ["DiT", "AFNO-DiT"]}}, "AFNO-DiT has none that it could act on: leave it out, or take a preset"),
        ({"shell": {"preset": "lightening"}}, "unknown value 'lightening'; did you mean 'lightning'?"),
        ({"shell": {"registers": 4}}, "shell.registers: unknown key"),
        ({"model": {**GOOD["model"], "rope": True}}, "it belongs under 'shell:'"),
        ({"shell": {"skips": True}, "model": {**GOOD["model"], "depth": 2}}, "joins blocks around a middle one, and a model of 2 has none"),
        ({"shell": {"rope": True}, "model": {**GOOD["model"], "heads": 64}}, "and a head has 2: take other heads"),
        ({"grid": {"model.family": ["ZigMa"], "shell.preset": ["dit", "lightning"]}}, "the same cell as"),
        ({"task": "classification", "data": {"name": "emoji", "resolution": 32}, "shell": {"adaln": "single"}}, "single is of times and classes, and the model is given neither"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_shell(write: Any, sections: dict[str, Any], said: str) -> None:
    with pytest.raises(SuiteError) as caught:
        load_suite(write(**sections))
    assert said in str(caught.value)


def test_a_smoke_run_keeps_the_shell(write: Any, tmp_path: Path) -> None:
    suite = load_suite(write(shell={"preset": "uvit", "qk_norm": True}))
    (tmp_path / "smoke.yaml").write_text(smoke_document(suite, tmp_path))
    (small,) = cells(tmp_path / "smoke.yaml")
    (whole,) = suite.planned()
    assert small.shell == whole.shell


def test_a_cell_is_trained_cut_short_resumed_and_read_back(write: Any, tmp_path: Path) -> None:
    shell = {"preset": "lightning", "qk_norm": True, "skips": True, "adaln": "single"}
    evaluate = {"samples": 2, "batch_size": 2, "nfe": 2, "metrics": []}
    measure = {"parts": ["mixer", "block"], "seconds": 0.01}
    (cell,) = cells(write(shell=shell, evaluate=evaluate, measure=measure))
    (whole, cut) = (tmp_path / name for name in ("whole", "cut"))
    for folder in (whole, cut):
        folder.mkdir()

    class Dies(Snapshots):
        def save(self, step: int, state: dict[str, Any]) -> None:
            super().save(step, state)
            raise Interrupted("killed")

    row = run_cell(cell, whole)
    assert row.get("warnings") is None
    assert row["block_ms_median"] > 0
    with pytest.raises(Interrupted):
        run_cell(cell, cut, snapshots=Dies(tmp_path / "states", steps=1, cell=cell.id))
    resumed = run_cell(cell, cut, snapshots=Snapshots(tmp_path / "states", steps=1, cell=cell.id))
    assert resumed["resumed_from_step"] == 1
    one, other = (read_checkpoint(folder / "checkpoint.safetensors").model for folder in (whole, cut))
    assert one.skips == 1
    assert one.adaLN_single is not None
    for (name, ours), theirs in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs), name
