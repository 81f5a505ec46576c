"""`python -m benchmarks.predicted`: DiT's block over PDE-SSM-DiT's on an H100, by `pdebench plan`'s roofline.

With the PDE's kernel and on the road before it, in bf16, eager: as a host hands operators out, and as it would be for a
GPU that never waits for one. 65,536 tokens of S, forward and backward. Nothing of it was measured.
"""

from __future__ import annotations

import dataclasses
import os

from pdebench.ops.spectral_coverage import VARIABLE
from pdebench.plan.devices import DATASHEETS
from pdebench.plan.roofline import seconds_by_kind
from pdebench.plan.step import Operations
from pdebench.plan.trace import trace_step

TOKENS = 65_536
SIDES = (16, 32, 64)
LINE = "{:>6} {:<9} {:>8} {:>10} {:>10} {:>8} {:>8}   {}"


def main() -> int:
    """Print milliseconds a block, DiT's over ours, and the operators of each."""
    rates = DATASHEETS["h100"].device("h100").rates["bf16"]
    print("a block, forward and backward: milliseconds, DiT's over PDE-SSM-DiT's, operators of the three")
    print(LINE.format("tokens", "", "DiT", "before", "kernel", "before", "kernel", "operators"))
    for side in SIDES:
        blocks = [_block("DiT", side), *(_block("PDE-SSM-DiT", side, kernel=kernel) for kernel in (False, True))]
        for name, latency in (("eager", rates.latency), ("GPU alone", 0.0)):
            reached = dataclasses.replace(rates, latency=latency)
            dit, before, kernel = (sum(seconds_by_kind(block, reached).values()) for block in blocks)
            times = [f"{1e3 * seconds:.2f}" for seconds in (dit, before, kernel)]
            ratios = [f"{dit / before:.2f}", f"{dit / kernel:.2f}"]
            counts = ", ".join(str(sum(block.values())) for block in blocks)
            print(LINE.format(side * side, name, *times, *ratios, counts), flush=True)
    return 0


def _block(family: str, side: int, *, kernel: bool = False) -> Operations:
    """What a third block adds to a step of a model of two."""
    os.environ[VARIABLE] = str(int(kernel))
    three, two = (
        trace_step(
            f"{family}-S/2", batch_size=TOKENS // side**2, precision="bf16", device="cuda", capability=9,
            input_size=2 * side, in_channels=4, num_classes=None, depth=depth,
        )
        for depth in (3, 2)
    )  # fmt: skip
    return three.forward + three.backward - two.forward - two.backward


if __name__ == "__main__":
    raise SystemExit(main())
