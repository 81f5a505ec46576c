"""What a sweep costs beside its work: wall seconds of a trivial cell over importing torch and half a second.

A cell trains one step of one block on random pixels; the rest is the harness: the process, imports, data, counting,
the saved state, checkpoint, record, tables and report. A fresh process imports torch for each cell, a warm one once a
slot.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.ratio import Effort, Row, single

CELLS = 50
ALLOWED = 0.5  # seconds a cell beyond importing torch
SUITE = """\
suite: trivial
data: {{name: noise, resolution: 16}}
model: {{family: DiT, size: XXS, patch: 8, depth: 1}}
train: {{steps: 1, batch_size: 4, lr: 1e-4}}
execution: {{isolation: {isolation}}}
grid: {{train.seed: [{seeds}]}}
"""


def run(effort: Effort) -> Iterator[Row]:
    """One row for each isolation; A is a cell's share of the sweep, B what it may be."""
    cells = 4 if effort.quick else CELLS
    importing = statistics.median(
        _seconds([sys.executable, "-c", "import torch"]) for _ in range(2 if effort.quick else 5)
    )
    for isolation in ("fresh", "warm"):
        with tempfile.TemporaryDirectory() as folder:
            suite = Path(folder) / "trivial.yaml"
            suite.write_text(SUITE.format(isolation=isolation, seeds=", ".join(map(str, range(cells)))))
            command = [sys.executable, "-m", "pdebench", "run", str(suite), "--results", f"{folder}/out"]
            sweep = _seconds(command)
        if isolation == "warm":
            sweep, allowed = sweep - importing, ALLOWED
        else:
            allowed = importing + ALLOWED
        name = f"{cells} {isolation} cells: seconds a cell / {allowed:.2f} s"
        yield Row("harness", name, single(sweep / cells, allowed), 1.0)


def _seconds(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began
