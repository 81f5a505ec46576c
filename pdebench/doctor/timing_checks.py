"""Is this machine quiet enough to be timed on? Checks of `pdebench doctor`; all but the last only read files.

What is looked for is what makes two runs of one program differ: a clock that moves, neighbours, heat. What cannot be
read is said to be unknown, since a container hides most of it. Importing this imports no torch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from pdebench.doctor.check import Check
from pdebench.errors import CalibrationError
from pdebench.system.spare_core import a_core_left

CPUS = Path("/sys/devices/system/cpu")
LOAD = 0.5  # runnable processes above which there is a neighbour
GATE_PAIRS = 20  # of a gate of ten minutes on three cells, with processes of seven seconds


def governor() -> Iterator[Check]:
    """What decides the clock."""
    found = {text for path in CPUS.glob("cpu[0-9]*/cpufreq/scaling_governor") if (text := _read(path)) is not None}
    if not found:
        yield Check("governor", "ok", "unknown: this machine does not show it")
    elif found == {"performance"}:
        yield Check("governor", "ok", "performance")
    else:
        yield Check("governor", "warning", f"{', '.join(sorted(found))}: the clock follows the load",
                    "sudo cpupower frequency-set -g performance")  # fmt: skip


def turbo() -> Iterator[Check]:
    """Whether the clock rises while others idle."""
    intel, other = _read(CPUS / "intel_pstate/no_turbo"), _read(CPUS / "cpufreq/boost")
    if intel is None and other is None:
        yield Check("turbo", "ok", "unknown: this machine does not show it")
    elif intel == "1" or other == "0":
        yield Check("turbo", "ok", "off")
    else:
        path, value = ("intel_pstate/no_turbo", 1) if intel is not None else ("cpufreq/boost", 0)
        yield Check("turbo", "warning", "on: the clock depends on heat and on other cores",
                    f"echo {value} | sudo tee {CPUS / path}")  # fmt: skip


def load() -> Iterator[Check]:
    """Who else works here."""
    average = os.getloadavg()[0]
    found = f"{average:.2f} processes wanted a core in the last minute"
    if average > LOAD:
        yield Check("load", "warning", found, "time nothing until the others are done")
    else:
        yield Check("load", "ok", found)


def throttling() -> Iterator[Check]:
    """How often the processor was too hot."""
    counts = [
        int(text)
        for path in CPUS.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
        if (text := _read(path)) is not None and text.isdecimal()
    ]
    if not counts:
        yield Check("throttling", "ok", "unknown: this machine does not show it")
    elif sum(counts):
        yield Check("throttling", "warning", f"the processor was too hot {sum(counts)} times since it started",
                    "better cooling, or a lower clock: turbo off")  # fmt: skip
    else:
        yield Check("throttling", "ok", "never since the machine started")


GPU = "index,clocks_throttle_reasons.active,clocks.max.sm,clocks.applications.graphics"
IDLE_OR_SETTING = 0x1 | 0x2  # a GPU that idles, and one whose clock somebody set


def gpus() -> Iterator[Check]:
    """Other processes on the GPUs, their clocks, and what holds these down."""
    if shutil.which("nvidia-smi") is None:
        return
    working = _nvidia("--query-compute-apps=pid")
    others = [line for line in working if line.isdecimal() and int(line) != os.getpid()]
    if others:
        yield Check(
            "gpu processes", "warning", f"others compute on the GPUs: {len(others)}", "wait for them: nvidia-smi"
        )
    else:
        yield Check("gpu processes", "ok", "none")
    for line in _nvidia(f"--query-gpu={GPU}"):
        index, reasons, most, set_to = (part.strip() for part in line.split(","))
        held = int(reasons, 16) & ~IDLE_OR_SETTING if reasons.startswith("0x") else 0
        locked = set_to.removesuffix(" MHz").isdecimal() and set_to != most
        if held:
            yield Check(
                f"gpu {index} clock", "warning", f"held down (reasons {reasons})", "nvidia-smi -q -d PERFORMANCE"
            )
        elif locked:
            yield Check(f"gpu {index} clock", "ok", f"locked at {set_to}")
        else:
            yield Check(f"gpu {index} clock", "warning", f"not locked: up to {most}",
                        f"sudo nvidia-smi -i {index} --lock-gpu-clocks=...")  # fmt: skip


def noise(seconds: float = 20.0) -> Iterator[Check]:
    """What the two probes vary by, and what a gate of ten minutes could see in such noise."""
    import numpy as np

    from pdebench.measure.timing_stability import probe
    from pdebench.regress.forecast import smallest_effect
    from pdebench.stats.regression import Rule

    try:
        with a_core_left():  # as a gate measures
            found = probe(seconds)
    except CalibrationError as error:
        yield Check("noise", "missing", str(error))
        return
    for name, samples in found.seconds.items():
        q1, median, q3 = np.quantile(samples, [0.25, 0.5, 0.75])
        text = f"{name}: half of {len(samples)} samples within {100 * (q3 - q1) / median:.1f}%, the worst "
        yield Check("noise", "ok", f"{text}{max(samples) / median:.2f} times the median")
    rule = Rule()
    effect = smallest_effect(found.pairs(), GATE_PAIRS, rule, 3)
    text = f"about {effect:.1%} is the least slowdown that a gate of 10 minutes and three cells finds here"
    if effect > rule.effect:
        yield Check("regress", "warning", text, f"more minutes, a quieter machine, or --effect {100 * effect:.0f}")
    else:
        yield Check("regress", "ok", text)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _nvidia(query: str) -> list[str]:
    command = ["nvidia-smi", query, "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []
