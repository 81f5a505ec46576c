"""What the last bits of a training depend on beside its configuration and its data.

A training that is gone on with ends bit for bit as one that was not interrupted, where all of this is as it was: on a
GPU, or compiled, two equal trainings differ already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import nn

from pdebench.models.package_code import digest_of_code
from pdebench.system.machine import cpu_name, own_version


def bits_depend_on(model: nn.Module, device: torch.device, precision: str, processes: int) -> dict[str, Any]:
    """By name, plain data that a saved state holds."""
    if device.type == "cuda":
        where: dict[str, Any] = {"device": torch.cuda.get_device_name(device)}
    else:
        where = {
            "device": "cpu",
            "cpu": cpu_name(),
            "instructions": torch.backends.cpu.get_cpu_capability(),
            "threads": torch.get_num_threads(),
        }
    return {
        **where,
        "processes": processes,
        "precision": precision,
        "token mixer": getattr(model, "mixer_implementation", None),
        "torch": str(torch.__version__),
        "pdebench": f"{own_version()} (code {_own_code()})",
    }


def differences(earlier: Sequence[Mapping[str, Any]], now: Mapping[str, Any]) -> str:
    """What was not always as it is now, such as `threads 1 (before: 2)`; nothing where all was."""
    found = []
    for name in dict.fromkeys(key for one in (now, *earlier) for key in one):
        others = dict.fromkeys(str(one.get(name))[:80] for one in earlier if one.get(name) != now.get(name))
        if others:
            found.append(f"{name} {now.get(name)} (before: {', '.join(others)})")
    return ", ".join(found)


@cache
def _own_code() -> str:
    return (digest_of_code("pdebench") or "unknown")[:12]
