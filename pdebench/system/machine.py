"""What a number was measured on. Importing this imports no torch."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import warnings
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pdebench.errors import CellWarning

# What decides how fast something runs: two records with the same values of these may be compared.
FINGERPRINT = ("device", "cpu", "cores", "threads", "allocator", "platform", "torch_version")
_ALLOCATOR = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


def describe() -> dict[str, Any]:
    """Columns of a record that name the machine, the software and the code, with a fingerprint of the first two."""
    import psutil
    import torch

    cuda = torch.cuda.is_available()
    found: dict[str, Any] = {
        "device": device_name(),
        "driver": _nvidia_driver() if cuda else None,
        "cpu": cpu_name(),
        "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "threads": torch.get_num_threads(),
        "allocator": " ".join(f"{name}={os.environ[name]}" for name in _ALLOCATOR if name in os.environ) or "default",
        "load_average": os.getloadavg()[0],
        "platform": f"{platform.system()} {platform.machine()}",
        "python_version": platform.python_version(),
        "torch_version": torch.__version__,
        "pdebench_version": own_version(),
        **revision(),
    }
    identity = json.dumps({key: found[key] for key in FINGERPRINT}, sort_keys=True)
    return {"machine_fingerprint": hashlib.sha256(identity.encode()).hexdigest()[:12], **found}


def device_name() -> str:
    """Of the GPU that PyTorch has at hand, or `cpu`."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


@cache
def cpu_name() -> str:
    """The processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def revision() -> dict[str, Any]:
    """Commit of the checkout that this code runs from, and whether files that git tracks were changed.

    Warns where there is a checkout and git does not tell.
    """
    # an installed package may lie inside somebody else's repository: only a checkout of our own counts
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return {"git_commit": None, "git_dirty": None}

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        return {
            "git_commit": git("rev-parse", "HEAD"),
            "git_dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        why = next((line for line in said.splitlines() if line.strip()), type(error).__name__)
        warnings.warn(f"the commit of {here} is not in the record: {why}", CellWarning, stacklevel=2)
        return {"git_commit": None, "git_dirty": None}


def _nvidia_driver() -> str | None:
    path = Path("/proc/driver/nvidia/version")
    return path.read_text().splitlines()[0] if path.exists() else None


def own_version() -> str:
    """Of the installed package."""
    try:
        return version("pdebench-mixers")
    except PackageNotFoundError:
        return "unknown"
