"""A census finds the same however many processes share it, and whatever becomes of those that help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pdebench.errors import ModelError
from pdebench.models.registry import FAMILIES
from pdebench.plan import model_costs as census_module
from pdebench.plan.cost import count_one_block
from pdebench.plan.model_costs import Model, ModelCosts, Pass, model_costs
from pdebench.plan.trace import trace_step

BUILD: tuple[tuple[str, Any], ...] = (("input_size", 16), ("num_classes", 10))
WANTED: dict[Model, set[Pass]] = {
    Model("DiT-XXS/4", BUILD): {Pass(2, "fp32"), Pass(4, "bf16")},
    Model("PDE-SSM-DiT-XXS/4", BUILD): {Pass(2, "fp32")},
    Model("Mamba-DiT-XXS/4", BUILD): set(),
}


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDEBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def helpers(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """Processes that the census starts, on three cores and for as little as a model each."""
    started: list[subprocess.Popen[bytes]] = []

    class Watched(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(census_module.subprocess, "Popen", Watched)  # type: ignore[attr-defined]
    monkeypatch.setattr(census_module, "available_cores", lambda: (0, 1, 2))
    monkeypatch.setattr(census_module, "FEWEST", 1)
    return started


def alone() -> dict[Model, ModelCosts]:
    return {
        model: ModelCosts(
            *count_one_block(model.name, **dict(BUILD)),
            {one: trace_step(model.name, **one._asdict(), **dict(BUILD)) for one in passes},
        )
        for model, passes in WANTED.items()
    }


def test_processes_share_the_models_and_find_what_one_does(helpers: list[subprocess.Popen[bytes]]) -> None:
    found = model_costs(WANTED)
    assert found == alone()
    assert [helper.returncode for helper in helpers] == [0, 0]


def test_helpers_that_die_cost_nothing_but_time(
    helpers: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census_module.sys, "executable", "/bin/false")  # type: ignore[attr-defined]
    assert model_costs(WANTED) == alone()
    assert [helper.returncode for helper in helpers] == [1, 1]


@pytest.mark.parametrize("place", [0, *(pytest.param(n, marks=pytest.mark.exhaustive) for n in (1, 2))])
def test_a_model_that_cannot_be_built_is_told_of_wherever_it_is_met_and_no_process_is_left(
    place: int, helpers: list[subprocess.Popen[bytes]]
) -> None:
    wanted = list(WANTED.items())
    wanted[place] = (Model("DiT-XXS/3", BUILD), set())
    with pytest.raises(ModelError, match="patch"):
        model_costs(dict(wanted))
    assert all(helper.returncode is not None for helper in helpers)


def test_few_models_start_no_process(helpers: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census_module, "FEWEST", 2)
    model_costs(dict(list(WANTED.items())[2:]))
    assert helpers == []


HUGE = """
import resource, sys
import torch
from pdebench.plan.model_costs import Model, Pass, _look_at
from pdebench.plan.cost import count_one_block
used = int(open("/proc/self/statm").read().split()[5]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_DATA, (used + 2 * 2**30,) * 2)
models = [Model(f"{name}-S/4", (("input_size", 8192), ("num_classes", None))) for name in sys.argv[1:]]
print([found.cost.macs > 0 for found in _look_at([(model, {Pass(1, "fp32")}) for model in models]).values()])
"""


@pytest.mark.exhaustive
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_DATA counts allocations on Linux alone")
def test_a_model_of_millions_of_tokens_is_counted_without_their_memory() -> None:
    """2048 x 2048 tokens, whose position embedding alone would take 12 GB."""
    ran = subprocess.run([sys.executable, "-c", HUGE, *FAMILIES], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.count("True") == len(FAMILIES)
