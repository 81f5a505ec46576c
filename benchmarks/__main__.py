"""`python -m benchmarks`: prints every ratio with its interval, and what was asked of it.

A process takes its allocator and its threads from the environment it starts in, so this one starts itself
again with the settings that the executor gives to a cell on a CPU.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.ratio import Effort, Row
from pdebench.system.slots import cpu_environment

GROUPS = (
    "operator", "roads", "loop", "block", "clips", "peer", "scan", "ssd", "gla", "harness", "saving", "loader",
    "shards", "waiting", "frechet",
)  # fmt: skip
IDLE = 0.5  # load average above which a number here means little
DISTURBED = 0.1  # cores that others kept busy during one ratio, likewise


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the groups asked for, print them as they come, and write them to a file if one is named."""
    options = _parse(arguments)
    missing = cpu_environment()
    if missing:
        command = [sys.executable, "-m", "benchmarks", *(sys.argv[1:] if arguments is None else arguments)]
        os.execve(sys.executable, command, {**os.environ, **missing})
    load = os.getloadavg()[0]
    from pdebench.system.machine import describe

    machine = describe()
    device = "" if machine["device"] == "cpu" else f"{machine['device']}, "
    print(f"{device}{machine['cpu']}, {machine['threads']} threads, torch {machine['torch_version']}, load {load:.2f}")
    if load > IDLE:
        print(
            f"warning: load average {load:.2f} is above {IDLE}; measure again on an idle machine",
            file=sys.stderr,
        )
    effort = Effort(seconds=0.0, pairs=4, quick=True) if options.quick else Effort()
    print(f"{'A / B':<62} {'ratio':>6}  {'95% interval':<14} {'pairs':>5} {'A':>8} {'B':>8}      verdict")
    began = time.perf_counter()
    found = []
    for group in options.only:
        for row, others in _watched(importlib.import_module(f"benchmarks.{group}").run(effort)):
            found.append({**asdict(row), "verdict": row.verdict, "pairs": row.ratio.pairs, "others": others})
            print(_line(row, others), flush=True)
            if options.json is not None:  # after every row: what was measured stays where the rest is cut off
                known = {"machine": machine, "load_average_before": load, "rows": found}
                options.json.write_text(json.dumps(known, indent=1))
    print(f"{time.perf_counter() - began:.0f} s")
    return 0


def _watched(rows: Iterator[Row]) -> Iterator[tuple[Row, float]]:
    """Each row with the cores that other processes kept busy while it was measured."""
    import psutil

    def reading() -> tuple[float, float]:
        now, own = psutil.cpu_times(), os.times()
        ours = own.user + own.system + own.children_user + own.children_system
        return time.perf_counter(), sum(now) - now.idle - getattr(now, "iowait", 0.0) - ours

    began, busy = reading()
    for row in rows:
        now, busy_now = reading()
        yield row, max(0.0, (busy_now - busy) / (now - began))
        began, busy = reading()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Ratios, A over B, of durations and of peak memory."
    )
    parser.add_argument("--only", type=_groups, default=GROUPS, metavar="GROUP[,GROUP]", help=f"of {', '.join(GROUPS)}")
    parser.add_argument(
        "--quick", action="store_true", help="one case a group and few pairs: does it run, not how fast"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here too, every sample included")
    return parser.parse_args(arguments)


def _groups(text: str) -> tuple[str, ...]:
    groups = tuple(text.split(","))
    for group in groups:
        if group not in GROUPS:
            raise argparse.ArgumentTypeError(f"unknown group '{group}'; known: {', '.join(GROUPS)}")
    return groups


def _line(row: Row, others: float) -> str:
    ratio = row.ratio
    interval = "" if ratio.low is None else f"{ratio.low:.3f}-{ratio.high:.3f}"
    scale = {"ms": 1e3, "MiB": 2**-20}[row.unit]
    a, b = (scale * statistics.median(samples) for samples in (ratio.a, ratio.b))
    label = f"{row.group}: {row.name}"
    disturbed = f"  (disturbed: others kept {others:.1f} cores busy)" if row.unit == "ms" and others > DISTURBED else ""
    figures = f"{ratio.median:6.3f}  {interval:<14} {ratio.pairs:>5} {a:8.2f} {b:8.2f} {row.unit:<3}"
    return f"{label:<62} {figures}  {row.verdict}{disturbed}"


if __name__ == "__main__":
    raise SystemExit(main())
