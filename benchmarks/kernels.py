"""`python -m benchmarks.kernels`: what keeps a GPU busy in a block of DiT and of PDE-SSM-DiT, forward and backward.

The time that the profiler gives to each kernel, without the host's: how long a block takes a GPU that never waits.
"""

from __future__ import annotations

import sys

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.block import CASES, block_of, passes
from benchmarks.here import DEVICE, PRECISIONS, finish

WARMUP, PASSES, SHOWN = 3, 5, 6


def main() -> int:
    """Print, for each block, its busy time, the kernels it launches, and the costliest of them."""
    if DEVICE.type != "cuda":
        print("there is no CUDA device here: nothing was measured", file=sys.stderr)
        return 2
    for side, batch in CASES:
        for family in ("PDE-SSM-DiT", "DiT"):
            for precision in reversed(PRECISIONS):
                work = passes(block_of(family, side), side, batch, precision)
                for _ in range(WARMUP):
                    work()
                finish()
                with profile(activities=[ProfilerActivity.CUDA]) as profiled:
                    for _ in range(PASSES):
                        work()
                    finish()
                kernels = [
                    (event.self_device_time_total / PASSES / 1e3, event.count / PASSES, event.key)
                    for event in profiled.key_averages()
                    if event.self_device_time_total
                ]
                busy, calls = sum(ms for ms, _, _ in kernels), sum(count for _, count, _ in kernels)
                about = f"{family} {side}x{side} {precision}"
                print(f"== {about}: {busy:.3f} ms, {calls:.0f} kernels, {torch.cuda.get_device_name()}")
                for ms, count, name in sorted(kernels, reverse=True)[:SHOWN]:
                    print(f"{ms:9.3f} ms {count:5.1f}x {name[:100]}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
