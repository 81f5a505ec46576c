"""What is known of the PDE operator's kernels where there is no GPU: their machine code and the bytes they move."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from benchmarks.cubins import Case, cases, compiled


def output_of(*module: str) -> str:
    """What a module prints in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-m", *module], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


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


@pytest.mark.exhaustive
def test_a_compiled_layer_has_forty_launches_at_most_and_attentions_no_fewer() -> None:
    lines = output_of("benchmarks.launches").splitlines()
    counts = {line.split()[0]: int(line.split()[-3]) for line in lines if line.endswith("in all")}
    assert counts.keys() == {"DiT", "PDE-SSM-DiT", "GFNet-DiT"}
    assert counts["PDE-SSM-DiT"] <= min(40, counts["DiT"])
    apart = output_of("benchmarks.launches", "PDE-SSM-DiT", "--apart").splitlines()[-1]
    assert int(apart.split()[-3]) > counts["PDE-SSM-DiT"]


def test_the_kernels_move_little_more_than_they_must() -> None:
    """1 where more than 1.5 times."""
    _, _, *rows = output_of("benchmarks.traffic", "16").splitlines()
    assert len(rows) == 4  # bf16 and fp32, forward and backward
    for row in rows:
        asked, sectors, before = map(float, row.split()[-3:])
        assert 1 < asked <= sectors < 1.2
        assert before > 5
