"""Our selective scan over mambapy's parallel one (pure PyTorch, arXiv 2312.00752), forward and backward.

Time in one process; peak memory in a fresh process each, `python -m benchmarks.scan ours`: the peak resident set, less
that of a process that has imported everything, run a small scan and made the inputs.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import torch
from mambapy.pscan import pscan
from torch import Tensor

from benchmarks.ratio import Effort, Row, compare, single, timed
from pdebench.measure.memory import PeakMemory
from pdebench.ops.selective_scan import selective_scan

BATCH, LENGTH, INNER, STATES = 8, 256, 384, 16
TIME, MEMORY = 1 / 2.5, 0.25  # targets


def _inputs(batch: int, length: int, inner: int) -> tuple[list[Tensor], Tensor]:
    """What both scans take, and the gradient of what they give."""
    torch.manual_seed(0)
    made = (
        torch.randn(batch, length, inner),
        torch.rand(batch, length, inner) * 0.1,
        -torch.arange(1.0, STATES + 1).expand(inner, -1).contiguous(),
        torch.randn(batch, length, STATES),
        torch.randn(batch, length, STATES),
    )
    return [tensor.requires_grad_() for tensor in made], torch.randn(batch, length, inner)


def _theirs(u: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    decay = torch.exp(dt.unsqueeze(-1) * a)
    driven = dt.unsqueeze(-1) * b.unsqueeze(2) * u.unsqueeze(-1)
    return (pscan(decay, driven) @ c.unsqueeze(-1)).squeeze(3)  # type: ignore[no-any-return]


SCANS: dict[str, Callable[..., Tensor]] = {"ours": selective_scan, "theirs": _theirs}


def _work(scan: str, inputs: list[Tensor], grad: Tensor) -> Callable[[], tuple[Tensor, ...]]:
    def work() -> tuple[Tensor, ...]:
        y = SCANS[scan](*inputs)
        return y, *torch.autograd.grad(y, inputs, grad)

    return work


def run(effort: Effort) -> Iterator[Row]:
    """Time and peak memory, after values and gradients of both were found to agree."""
    ours, theirs = (_work(scan, *_inputs(BATCH, LENGTH, INNER)) for scan in SCANS)
    for got, wanted in zip(ours(), theirs(), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3 * wanted.abs().max().item())
    name = f"batch {BATCH}, length {LENGTH}, inner {INNER}, {STATES} states: ours / mambapy"
    yield Row("scan", name, compare(timed(ours), timed(theirs), effort), TIME)
    peaks = [_peak_of_a_process(scan) for scan in SCANS]
    if all(peaks):
        yield Row("scan", "the same, peak memory", single(*peaks), MEMORY, "MiB")


def _peak_of_a_process(scan: str) -> int:
    """Bytes that one forward and backward pass takes at its peak; 0 where the system does not say."""
    command = [sys.executable, "-m", "benchmarks.scan", scan]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _peak(scan: str) -> int:
    """The same, of this process."""
    _work(scan, *_inputs(1, 32, 8))()  # what the first call of anything takes
    work = _work(scan, *_inputs(BATCH, LENGTH, INNER))
    memory = PeakMemory(torch.device("cpu"))
    work()
    return memory.read() or 0


if __name__ == "__main__":
    print(_peak(sys.argv[1]))
