"""A model's token mixer, or one block of it, by itself: time of a forward and backward pass, and what it keeps.

The part works on random tokens of the shape that it sees in the model, in the cell's precision.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pdebench.measure.saved_activations import saved_bytes
from pdebench.models.backbone import Backbone
from pdebench.ops.precision import autocast
from pdebench.system.durations import spread
from pdebench.train.compiled import begin_pass, compile_in_place

Part = Literal["mixer", "block"]
WARMUP = 3  # passes before the clock counts, fewer where they take long
LEAST = 5  # timed passes, however long they take


def measure_part(
    part: Part,
    model: Backbone,
    *,
    batch_size: int,
    precision: str,
    device: torch.device,
    seconds: float,
    compile_mode: str = "eager",
) -> tuple[dict[str, Any], list[float]]:
    """Time forward and backward of a part of the first block.

    Where blocks of several kinds take turns, as attention within frames and through time, it is a mean of one of each.

    Args:
        part: `mixer`, the token mixer with its projections, or `block`, all that adaLN's gates surround.
        model: on `device`.
        batch_size: samples at a time.
        precision: `fp32` or `bf16` (autocast).
        device: where it runs.
        compile_mode: as `train.compile`; what compiling takes is left out.
        seconds: to spend on it, at least; never fewer than LEAST passes.

    Returns:
        Columns that begin with the part's name, and every sample in seconds.
    """
    subject, kinds, inputs, grad = _at_work(part, model, batch_size, precision, device)
    wanted = [*inputs, *(p for p in subject.parameters() if p.requires_grad)]

    def forward() -> Tensor:
        begin_pass(compile_mode, device)
        with autocast(precision, device):
            return subject(*inputs)  # type: ignore[no-any-return]

    def both() -> None:
        torch.autograd.grad(forward(), wanted, grad, allow_unused=True)

    if compile_mode != "eager":
        compile_in_place(subject, compile_mode, device)
        both()
    began = time.perf_counter()
    for _ in range(WARMUP):
        both()
        if time.perf_counter() - began > seconds:
            break
    forwards = [one / kinds for one in _timed(forward, device, seconds / 3)]
    passes = [one / kinds for one in _timed(both, device, seconds)]
    row = {
        **spread(passes).columns(f"{part}_ms", 1000),
        f"{part}_forward_ms_median": spread(forwards).median * 1000,
        f"{part}_images_per_s": batch_size / spread(passes).median,
        f"{part}_held_bytes": saved_bytes(forward, subject) // kinds,
    }
    return row, passes


class _InTurn(nn.Module):
    """Parts one after another, each on what left the one before."""

    def __init__(self, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Tensor, *rest: Tensor) -> Tensor:
        for part in self.parts:
            x = part(x, *rest)
        return x


def _at_work(
    part: Part, model: Backbone, batch_size: int, precision: str, device: torch.device
) -> tuple[nn.Module, int, list[Tensor], Tensor]:
    """The part, of how many kinds it is, tokens (B, N, D) and conditioning (B, D), and the gradient of its output.

    A block is given what all blocks have in common of adaLN too, if anything: to form it is no part of it.
    """
    kinds = model.cycle if model.cycle < len(model.blocks) else 1  # with partners no block is of the cost of another
    parts = [block.get_submodule("mixer") if part == "mixer" else block for block in model.blocks[:kinds]]
    subject: nn.Module = parts[0] if kinds == 1 else _InTurn(parts)
    tokens, width = model.pos_embed.shape[1:]
    source = torch.Generator().manual_seed(0)
    x, c = (torch.randn(shape, generator=source) for shape in ((batch_size, tokens, width), (batch_size, width)))
    inputs = [x.to(device), c.to(device)]
    with torch.no_grad(), autocast(precision, device):
        if part == "block" and (shared := model.modulation(inputs[1])) is not None:
            inputs.append(shared)
        grad = torch.randn_like(subject(*inputs))
    return subject.train(), kinds, [tensor.requires_grad_() for tensor in inputs], grad


def _timed(work: Callable[[], object], device: torch.device, seconds: float) -> list[float]:
    """Seconds of each call: by the clock on a CPU, by events that are read once at the end on a GPU."""
    until = time.perf_counter() + seconds
    if device.type != "cuda":
        samples: list[float] = []
        while len(samples) < LEAST or time.perf_counter() < until:
            began = time.perf_counter()
            work()
            samples.append(time.perf_counter() - began)
        return samples
    events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
    while len(events) < LEAST or time.perf_counter() < until:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        work()
        end.record()
        events.append((begin, end))
        if len(events) % 50 == 0:  # a GPU far behind the host would go on long after the time is up
            torch.cuda.synchronize(device)
    torch.cuda.synchronize(device)
    return [begin.elapsed_time(end) / 1000 for begin, end in events]
