"""What is known of the PDE operator's kernels where there is no GPU: their machine code and the bytes they move."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from benchmarks.cubins import Case, cases, compiled


@pytest.mark.parametrize("kernel", ["forward", "backward"])
def test_a_kernel_compiles_without_a_spill_and_multiplies_on_the_matrix_units(kernel: str) -> None:
    made = compiled(Case(kernel, 16, torch.bfloat16, "S=1", 90))
    assert made.products > 0
    assert made.spilled == 0
    assert made.channels * torch.bfloat16.itemsize == 32


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", cases([8, 16, 32, 64]))
def test_every_kernel_does(case: Case) -> None:
    made = compiled(case)
    assert made.products > 0
    assert made.spilled == 0


def test_the_kernels_move_little_more_than_they_must() -> None:
    """1 where more than 1.5 times."""
    command = [sys.executable, "-m", "benchmarks.traffic", "16"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    _, _, *rows = done.stdout.splitlines()
    assert len(rows) == 4  # bf16 and fp32, forward and backward
    for row in rows:
        asked, sectors, before = map(float, row.split()[-3:])
        assert 1 < asked <= sectors < 1.2
        assert before > 5
