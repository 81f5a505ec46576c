"""`python -m benchmarks.equal_time`: the steps that each family of `suites/reference_time.yaml` takes in DiT's time.

A step is forward, backward and AdamW on one thread, as a cell has that shares the cores; its time is that of the
processor, which neighbours on the machine touch least. All families take a step in turn, again and again; a family's
time over DiT's is the median over the turns. Printed are the entries of the suite's `include`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import torch

from pdebench.models.backbone import create_model

FAMILIES = ("DiT", "PDE-SSM-DiT", "DiG", "GFNet-DiT", "Wave-DiT")
BATCH, SIDE, PATCH = 16, 32, 4


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print one line a family and size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["3XS", "XXS", "XS"])
    parser.add_argument("--steps", type=int, default=240, help="of DiT")
    parser.add_argument("--turns", type=int, default=9)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for size in asked.sizes:
        for family, ratio in zip(FAMILIES, ratios(size, asked.turns), strict=True):
            steps = round(asked.steps / ratio)
            print(f"  - {{model.family: {family}, model.size: {size}, train.steps: {steps}}}  # {ratio:.3f} of DiT's")


def ratios(size: str, turns: int) -> list[float]:
    """The time of each family's step over DiT's."""
    steps = [_step(f"{family}-{size}/{PATCH}") for family in FAMILIES]
    for step in steps:
        step()
    times = [[_seconds(step) for step in steps] for _ in range(turns)]
    return [statistics.median(row[which] / row[0] for row in times) for which in range(len(FAMILIES))]


def _step(name: str) -> Callable[[], None]:
    torch.manual_seed(0)
    model = create_model(name, input_size=SIDE, in_channels=3, num_classes=None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    x, t = torch.randn(BATCH, 3, SIDE, SIDE), 1000 * torch.rand(BATCH)

    def step() -> None:
        optimizer.zero_grad()
        (model(x, t) - x).square().mean().backward()
        optimizer.step()

    return step


def _seconds(step: Callable[[], None]) -> float:
    began = time.process_time()
    step()
    return time.process_time() - began


if __name__ == "__main__":
    main()
