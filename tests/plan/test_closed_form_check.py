"""A cost by hand is held to what is counted, whoever wrote it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import NAME, install, register
from torch import Tensor, nn

from pdebench.models import closed_form
from pdebench.models.closed_form import Cost, linear
from pdebench.models.mixer_context import MixerContext
from pdebench.models.registry import FAMILIES
from pdebench.models.shell import Shell
from pdebench.plan.closed_form_check import disagreement, idle_parameters
from pdebench.plan.cost import count_by_name
from pdebench.results.cell_warnings import heard
from pdebench.run.cell import run_cell
from pdebench.suite.config import Cell

BUILD: dict[str, Any] = {"input_size": 32, "in_channels": 3, "num_classes": None}


def layers(count: int) -> Any:
    def build(self: Any) -> None:
        self.layers = nn.Sequential(*(nn.Linear(self.d, self.d) for _ in range(count)))

    return build


def mix(self: Any, u: Tensor) -> Tensor:
    return self.layers(u.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def two(place: MixerContext, options: Any) -> Cost:
    return linear(place.width, place.width, place.tokens).times(2)


def found(name: str = NAME, **build: Any) -> str | None:
    return disagreement(name, BUILD | build, *count_by_name(name, **BUILD | build))


def test_a_cost_that_agrees_is_passed_over_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, layers(2), mix, two)
    assert found() is None
    assert found(depth=2, width=64, num_classes=10, learn_sigma=True) is None


def test_a_cost_that_does_not_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, layers(3), mix, two)
    assert found() == (
        "family Made-Up: its cost by hand says 1.158 M parameters and 0.04328 GMACs for Made-Up-XXS/4, counted are "
        "1.224 M and 0.04747: budgets and matched sizes rest on the former; mend its `cost`"
    )


def test_a_single_parameter_is_told_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_more(place: MixerContext, options: Any) -> Cost:
        return two(place, options) + Cost(1, 0)

    install(monkeypatch, layers(2), mix, one_more)
    sentence = found(depth=1)
    _, params = count_by_name(NAME, **BUILD | {"depth": 1})
    assert sentence is not None
    assert f"says {params + 1:,} parameters and" in sentence
    assert f"counted are {params:,} and" in sentence


@pytest.mark.parametrize(("share", "told"), [(1 + 5e-4, False), (1 - 5e-4, False), (1.003, True), (0.997, True)])
def test_macs_may_be_a_per_mille_apart(share: float, told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    cost, params = count_by_name("DiT-XXS/4", **BUILD)

    def stretched(place: MixerContext, options: Any) -> Cost:
        right = closed_form.attention(place, options)
        return right + Cost(0, (share - 1) * cost.macs / place.depth)

    register(monkeypatch, replace(FAMILIES["DiT"], cost=stretched))
    assert (disagreement("DiT-XXS/4", BUILD, cost, params) is not None) == told


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        return u @ u


def test_operations_that_nobody_counts_are_named_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def product(place: MixerContext, options: Any) -> Cost:
        return Cost(0, place.width * place.tokens * place.grid[0])

    install(monkeypatch, lambda self: None, lambda self, u: Hidden.apply(u), product)
    sentence = found()
    assert sentence is not None
    assert sentence.endswith("mend its `cost`, or give it `handles` for what is not counted: prim::PythonOp.Hidden")

    def handle(inputs: Any, outputs: Any) -> dict[str, float]:
        return {"matmul": outputs[0].size * inputs[0].shape[-1]}

    install(
        monkeypatch, lambda self: None, lambda self, u: Hidden.apply(u), product,
        handles={"prim::PythonOp.Hidden": handle},
    )  # fmt: skip
    assert found() is None


@pytest.mark.parametrize("broken", [lambda place, options: 1 / 0, lambda place, options: None])
def test_a_cost_that_cannot_be_computed_is_told_and_ends_nothing(broken: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, layers(1), mix, broken, shell=Shell(mlp="none"))
    sentence = disagreement(NAME, BUILD, *count_by_name(NAME, **BUILD))
    assert sentence is not None
    assert sentence.startswith("family Made-Up: its cost by hand cannot be computed for Made-Up-XXS/4 (")
    assert sentence.endswith("): budgets and matched sizes rest on it; mend its `cost`")
    assert "\n" not in sentence
    assert idle_parameters(NAME, BUILD) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_the_families_here_agree(family: str) -> None:
    name = f"{family}-XXS/4"
    assert disagreement(name, BUILD, *count_by_name(name, **BUILD)) is None


@pytest.mark.parametrize(("family", "idle"), [("GFNet-DiT", 3 * 128 * 2 * 4), ("PDE-SSM-DiT", 0)])
def test_a_record_has_the_parameters_that_never_act(family: str, idle: int, tmp_path: Path) -> None:
    cell = Cell.model_validate(
        {
            "suite": "idle",
            "data": {"name": "noise", "resolution": 16},
            "model": {"family": family, "size": "XXS", "patch": 4, "depth": 3},
            "train": {"steps": 0, "batch_size": 2, "lr": 1e-4},
        }
    )
    assert run_cell(cell, tmp_path)["params_idle"] == idle


def test_a_run_tells_it_and_its_record_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, layers(3), mix, two)
    cell = Cell.model_validate(
        {
            "suite": "wrong",
            "data": {"name": "noise", "resolution": 16},
            "model": {"family": "Made-Up", "size": "XXS", "patch": 4, "depth": 1},
            "train": {"steps": 0, "batch_size": 2, "lr": 1e-4},
        }
    )
    told: list[str] = []
    with heard(told.append):
        run_cell(cell, tmp_path)
    assert len(told) == 1
    assert told[0].startswith("family Made-Up: its cost by hand says")
