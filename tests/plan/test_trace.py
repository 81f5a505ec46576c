"""The traced step against the counter, against a real run's memory, and against the whole of a deeper model."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from pdebench import create_model
from pdebench.models.registry import FAMILIES
from pdebench.ops import spectral
from pdebench.plan import trace
from pdebench.plan.cost import count_one_block
from pdebench.plan.trace import trace_step
from pdebench.tasks.generation import path as flow

SIDE, BATCH = 32, 4


@pytest.fixture(autouse=True)
def _by_fft(monkeypatch: pytest.MonkeyPatch) -> None:
    """The convention of what a spectral product costs, whatever backend a small grid takes."""
    monkeypatch.setattr(spectral, "BY_MATRICES", {})


def forward_flops(name: str, batch: int) -> Counter[str]:
    total: Counter[str] = Counter()
    for operation, calls in trace_step(name, batch_size=batch, input_size=SIDE).forward.items():
        total[operation.kind] += operation.flops * calls  # type: ignore[assignment]
    return total


@pytest.mark.parametrize("family", FAMILIES)
def test_the_forward_pass_does_what_is_counted(family: str) -> None:
    """Operators as they are dispatched against what a trace of the modules records: nothing is missed, or seen twice.

    What is formed once for a batch, as S4D's kernel is, is in neither side.
    """
    name = f"{family}-XXS/4"
    counted, _ = count_one_block(name, input_size=SIDE)
    once, twice = forward_flops(name, BATCH), forward_flops(name, 2 * BATCH)
    for kind in ("linear", "attention", "scan", "fft"):
        # AFNO's way back is two one-dimensional transforms on a CPU, which is a little more than one of two
        rel = 0.1 if (family, kind) == ("AFNO-DiT", "fft") else 1e-3
        assert twice[kind] - once[kind] == pytest.approx(2 * BATCH * counted.of_kinds()[kind], rel=rel), kind


# scores that a kernel of attention forms again: 4 blocks, 64 tokens, 128 channels; on the meta device they are kept
@pytest.mark.parametrize(("family", "again"), [("DiT", 4 * 2 * BATCH * 64 * 64 * 128), ("None-DiT", 0)])
def test_products_and_attention_of_a_step_are_what_pytorchs_own_counter_has(family: str, again: int) -> None:
    name = f"{family}-XXS/4"
    step = trace_step(name, batch_size=BATCH, input_size=SIDE)
    with torch.device("meta"):
        model = create_model(name, input_size=SIDE).train()
        images, labels = torch.zeros(BATCH, 4, SIDE, SIDE), torch.zeros(BATCH, dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            flow.velocity_error(model, images, labels, torch.zeros(BATCH), images).mean().backward()
    traced = sum(one.flops * calls for one, calls in step.operations.items() if one.kind in ("linear", "attention"))
    assert traced == counter.get_total_flops() + again


def measured_peak(name: str, precision: str, **build: object) -> int:
    """The most that a real forward and backward pass has allocated at a time, by PyTorch's own account."""
    model = create_model(name, **build).train()  # type: ignore[arg-type]

    def step() -> None:
        images, labels = torch.randn(BATCH, 4, SIDE, SIDE), torch.zeros(BATCH, dtype=torch.int64)
        noise, times = torch.randn_like(images), torch.rand(BATCH)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = flow.velocity_error(model, images, labels, times, noise).mean()
        loss.backward()

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    live = peak = 0
    for event in profiler.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


@pytest.mark.parametrize(
    ("family", "precision"),
    [
        *((family, "fp32") for family in ("PDE-SSM-DiT", "DiT", "Mamba-DiT", "ZigMa", "Mamba2-DiT", "DiG", "S4D-DiT")),
        ("PDE-SSM-DiT", "bf16"),
    ],
)
def test_memory_is_what_a_real_step_allocates(family: str, precision: str) -> None:
    build = {"input_size": SIDE, "depth": 2}
    step = trace_step(f"{family}-XS/2", batch_size=BATCH, precision=precision, **build)
    assert step.working_bytes == pytest.approx(measured_peak(f"{family}-XS/2", precision, **build), rel=0.1)
    assert 0 < step.held_bytes <= step.working_bytes


@pytest.mark.parametrize("family", ["PDE-SSM-DiT", "DiT", "ZigMa", "DiG"])
@pytest.mark.parametrize("batch", [1, 16])
def test_two_blocks_tell_what_five_do(family: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one image the peak is where backward ends, with sixteen where it begins."""
    arguments = {"batch_size": batch, "input_size": 16, "depth": 5}
    short = trace_step(f"{family}-XXS/2", **arguments)
    monkeypatch.setattr(trace, "BUILT", 5)
    whole = trace_step(f"{family}-XXS/2", **arguments)
    assert short.parameter_bytes == whole.parameter_bytes
    assert short.gradient_bytes == whole.gradient_bytes
    assert short.held_bytes == pytest.approx(whole.held_bytes, rel=0.01)
    assert short.working_bytes == pytest.approx(whole.working_bytes, rel=0.01)
    assert short.bytes_moved == pytest.approx(whole.bytes_moved, rel=0.01)


def test_bf16_halves_what_attention_holds_and_leaves_weights_as_they_are() -> None:
    full = trace_step("DiT-XS/2", batch_size=BATCH, input_size=SIDE)
    half = trace_step("DiT-XS/2", batch_size=BATCH, input_size=SIDE, precision="bf16")
    assert half.parameter_bytes == full.parameter_bytes
    assert 0.5 * full.held_bytes < half.held_bytes < 0.9 * full.held_bytes


def test_views_move_nothing_and_additions_move_three_tensors() -> None:
    with trace.FakeTensorMode():
        x, y = torch.empty(10, 20), torch.empty(10, 20)
        watch = trace._Watch()
        with watch:
            total = (x + y).t().view(-1, 2, 5)
            assert watch.live == 800
            del total
            assert watch.live == 0
    (operation,) = watch.operations["forward"]
    assert (operation.kind, operation.name, operation.bytes) == ("pointwise", "add", 3 * 800)


def test_the_optimiser_holds_two_moments_and_the_average() -> None:
    step = trace_step("DiT-XXS/4", batch_size=1, input_size=SIDE)
    model = create_model("DiT-XXS/4", input_size=SIDE)
    weights = sum(4 * p.numel() for p in model.parameters())
    trained = sum(4 * p.numel() for p in model.parameters() if p.requires_grad)
    assert step.parameter_bytes == 2 * weights + 2 * trained
    assert step.gradient_bytes == trained
    assert step.peak_bytes == step.parameter_bytes + step.working_bytes


@pytest.mark.parametrize(
    ("function", "shapes", "dtype", "macs"),
    [
        (F.conv2d, [(2, 3, 8, 8), (4, 3, 2, 2)], torch.float32, 2 * 4 * 7 * 7 * 3 * 4),
        (F.conv_transpose2d, [(2, 3, 8, 8), (3, 4, 2, 2)], torch.float32, 2 * 3 * 8 * 8 * 4 * 4),
        (torch.matmul, [(5, 6), (6, 7)], torch.float32, 5 * 6 * 7),
        (torch.matmul, [(5, 6), (6, 7)], torch.complex64, 4 * 5 * 6 * 7),
    ],
)
def test_arithmetic_is_the_counters_and_backward_twice_that(function, shapes, dtype, macs) -> None:
    with trace.FakeTensorMode():
        operands = [torch.empty(shape, dtype=dtype, requires_grad=True) for shape in shapes]
        watch = trace._Watch()
        with watch:
            made = function(*operands)
            watch.enter("backward rest")
            torch.autograd.grad(made, operands, torch.ones_like(made))
    forward, backward = (
        sum(operation.flops * calls for operation, calls in watch.operations[phase].items())
        for phase in ("forward", "backward rest")
    )
    assert (forward, backward) == (2 * macs, 4 * macs)
