"""How steady this machine is, and how fast just now: a matrix product and a copy through memory, again and again.

    python -m pdebench.measure.timing_stability SECONDS      one JSON object on standard output

What a model does is one or the other for the most part, and what disturbs a machine need not disturb both alike: a
neighbour takes bandwidth, a warm processor loses clock. So a time that neither probe explains is not the machine's.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pdebench.data.nouns import plural
from pdebench.system.machine import describe

PROBES = ("matmul", "bandwidth")
PROBE_SECONDS = 1.0  # of a reading that is taken beside something else
SAMPLE = 0.05  # seconds of one sample: far above the clock's grain, far below a burst of noise


@dataclass(frozen=True)
class TimingStability:
    """What the probes took.

    Attributes:
        about: the machine, in words.
        seconds: for each probe, its samples in their order: seconds of one call.
    """

    about: str
    seconds: dict[str, Sequence[float]]

    @property
    def levels(self) -> dict[str, float]:
        """For each probe the logarithm of its median."""
        return {name: float(np.log(np.median(samples))) for name, samples in self.seconds.items()}

    def pairs(self) -> np.ndarray:
        """Differences between logarithms of neighbouring medians of half a second, (n,), of both probes in turn."""
        chunk = round(0.5 / SAMPLE)
        found = []
        for samples in self.seconds.values():
            count = len(samples) // chunk // 2 * 2
            medians = np.median(np.log(samples[: count * chunk]).reshape(count, chunk), axis=1)
            found.append(medians[1::2] - medians[0::2])
        return np.concatenate(found)


def probe(seconds: float) -> TimingStability:
    """Run both probes, in a process that is started as a cell's is.

    Raises:
        CalibrationError: it failed.
    """
    from pdebench.plan.probe import as_a_cell

    found = as_a_cell(["pdebench.measure.timing_stability", str(seconds)], "see what `pdebench doctor` says of torch")
    return TimingStability(found["about"], found["seconds"])


def main(seconds: float) -> None:
    """Sample and print."""
    from pdebench.plan.probe import here

    device = here()
    samples = sample(device, seconds)
    machine = describe()
    about = f"{machine['cpu'] if device.type == 'cpu' else machine['device']}, {plural(machine['threads'], 'thread')}"
    print(json.dumps({"about": about, "seconds": samples}))


def sample(device: Any, seconds: float) -> dict[str, list[float]]:
    """The probes in turn for so many seconds: seconds a call, sample by sample."""
    import torch
    from torch.nn import functional as F

    large = 4 if device.type == "cuda" else 1
    tokens, weight = (torch.rand(shape, device=device) for shape in ((large * 2048, 384), (1536, 384)))
    first, second = (torch.rand(large * 2**22, device=device) for _ in range(2))
    work = {"matmul": lambda: F.linear(tokens, weight), "bandwidth": lambda: second.copy_(first)}

    def once(run: Callable[[], object], calls: int) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            run()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - began) / calls

    found: dict[str, list[float]] = {name: [] for name in PROBES}
    with torch.no_grad():
        for run in work.values():
            once(run, 3)  # warm-up
        calls = {name: max(1, round(SAMPLE / once(run, 2))) for name, run in work.items()}
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or not found["matmul"]:
            for name, run in work.items():
                found[name].append(once(run, calls[name]))
    return found


if __name__ == "__main__":
    main(float(sys.argv[1]))
