"""Whole runs of a tiny suite, as a user starts them."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

SUITE = """\
suite: tiny
data: {{name: folder, path: {images}, resolution: 16, flip: false}}
model: {{family: DiT, size: XXS, patch: 8}}
train: {{steps: {steps}, batch_size: 4, lr: 1e-3}}
evaluate: {{samples: 4, nfe: 2, batch_size: 4}}
grid:
  model.family: [DiT, PDE-SSM-DiT]
"""


def write_suite(folder: Path, steps: int = 3, more: str = "") -> Path:
    path = folder / "tiny.yaml"
    path.write_text(SUITE.format(images=folder / "images", steps=steps) + more)
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "pdebench", *map(str, arguments)]


def pdebench_run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=240)


def workers() -> list[int]:
    """Processes of cells, on Linux."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"pdebench.execute.worker" in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def wait_for(condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
