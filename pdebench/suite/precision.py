"""What `train.precision: auto` means where cells run. Imports no torch: it is asked before any cell has a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

from pdebench.system.descendants import with_its_parent
from pdebench.system.slots import gpus

Precision = Literal["fp32", "bf16"]
_ASK_TORCH = """
import torch
found = [torch.cuda.get_device_capability(i) >= (8, 0) for i in range(torch.cuda.device_count())]
print("bf16" if found and all(found) else "fp32")
"""


def precision_here() -> Precision:
    """bf16 where every device has matrix units for it: what `resolve_precision` finds in a cell's process."""
    if not gpus():
        return "bf16" if _has_amx() else "fp32"
    asked = subprocess.run(
        [sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, check=False, preexec_fn=with_its_parent()
    )
    return "bf16" if asked.stdout.strip() == "bf16" else "fp32"


def precision_on_slurm(gres: str | None) -> Precision:
    """What `auto` is for a job: of a node only what is asked for is known when it is submitted."""
    return "fp32" if gres is None else "bf16"


def _has_amx() -> bool:
    """Whether the processor multiplies tiles of bf16."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    return any(line.startswith("flags") and "amx_tile" in line.split() for line in lines)
