"""A plan counts products in Fourier space by the road that its device would take, and says which that is."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from pdebench.plan.suite_plan import Plan, make_plan
from pdebench.plan.text import print_plan
from pdebench.plan.trace import TrainingStep, trace_step
from pdebench.suite.load import load_suite

WIDTH, BATCH = 128, 2
ASKED = "PDEBENCH_SPECTRAL_KERNELS"


def traced(family: str = "PDE-SSM-DiT", side: int = 16, device: str = "cuda", capability: int = 9) -> TrainingStep:
    return trace_step(
        f"{family}-XXS/2", batch_size=BATCH, precision="bf16", device=device, capability=capability, depth=3,
        input_size=2 * side, in_channels=3, num_classes=None,
    )  # fmt: skip


@pytest.mark.parametrize(("family", "name"), [("PDE-SSM-DiT", "pde_mixing"), ("GFNet-DiT", "filter_mixing")])
def test_a_kernel_that_is_asked_for_is_one_operation_a_pass(
    family: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ASKED, "1")
    step = traced(family)
    tokens = BATCH * 16 * 16 * WIDTH * 2  # bytes of the tokens in bf16
    for operations, passes in ((step.forward, 2), (step.backward, 3)):  # x and y; dy, x and dx
        found = {one: count for one, count in operations.items() if one.name == name}
        assert sum(found.values()) == 3
        if family == "PDE-SSM-DiT":  # whose parameters weigh little
            assert all(1 <= one.bytes / (passes * tokens) < 1.1 for one in found)
    assert step.road == "one Triton kernel"
    assert traced(family, device="cpu", capability=0).road == "packed complex fft2"


def test_what_a_kernel_does_not_take_and_what_nobody_asked_for_is_counted_as_pytorch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(ASKED, "1")
    steps = {"64 tokens a side before Hopper": traced(side=64, capability=8), "12 a side": traced(side=12)}
    monkeypatch.setenv(ASKED, "0")
    steps["not asked for"] = traced()
    for step in steps.values():
        assert not any(one.name == "pde_mixing" for one in step.operations)
        assert step.road is not None
        assert step.road.startswith("matrices in bf16, half spectra (rfft2) in fp32; no Triton kernel: ")
    assert traced("DiT").road is None


@pytest.mark.parametrize("family", ["SSM2D-DiT", "Hyena2D-DiT"])
def test_the_road_of_a_zero_padded_filter_is_named_too(family: str) -> None:
    road = traced(family, side=8, device="cpu", capability=0).road
    assert road is not None
    assert road.endswith(" of the zero-padded grid")


def test_what_a_step_finds_from_the_step_before_is_none_of_its_operations() -> None:
    """Neither the waves of a symbol nor the matrices of a transform, which are there after the first."""
    names = {one.name for one in traced().operations}
    assert "bmm" in names or "mm" in names
    assert "arange" not in names


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "suite: roads\ndata: {name: noise, resolution: 32}\nmodel: {size: XXS, patch: 2}\n"
        "train: {steps: 2, batch_size: 4, lr: 1e-3, precision: bf16}\n"
        "grid: {model.family: [PDE-SSM-DiT, DiT], train.compile: [eager, compile-graphs]}\n"
    )
    return make_plan(load_suite(str(suite)), "h100")


def test_a_plan_says_the_road_and_that_graphs_wait_for_no_host(plan: Plan) -> None:
    console = Console(width=1000, record=True)
    print_plan(console, plan)
    text = console.export_text()
    assert "Products in Fourier space of PDE-SSM-DiT: matrices in bf16" in text
    assert f"{ASKED}=1 asks for it." in text
    assert "Cells of compile-graphs: without that least time of an operator" in text
    by_mode = [prediction.predicted_step_seconds for prediction in plan.predictions]
    for eager, graphed in zip(by_mode[::2], by_mode[1::2], strict=True):
        assert eager is not None
        assert graphed is not None
        assert graphed < eager / 2
