"""Where cells run on this machine: a slot for each GPU, or shares of the CPU's cores. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pdebench.errors import SlotError


@dataclass(frozen=True)
class Slot:
    """A place where one cell runs at a time.

    Attributes:
        name: as a record shows it: `cpu`, `cpu 0-1`, `cuda:1`.
        environment: variables that its processes start with; a process takes threads, allocator and devices from
            there, and nothing later can change them.
        cores: those that its processes may use; None: all that this process may.
    """

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    cores: tuple[int, ...] | None = None

    @property
    def on_cpu(self) -> bool:
        """Whether its cells run on the CPU, which others may share; a GPU is one cell's."""
        return self.name.startswith("cpu")


def available_cores() -> tuple[int, ...]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def cpu_variables(cores: int | None = None) -> dict[str, str]:
    """What a CPU process should be started with: one thread a core, and memory that is kept, not returned.

    glibc gives freed pages back and faults them in again at every step; keeping them makes training faster and its
    timings quieter.
    """
    threads = str(cores or len(available_cores()))
    return {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": "100000000000",
        "MALLOC_TOP_PAD_": "268435456",
    }


def cpu_environment(cores: int | None = None) -> dict[str, str]:
    """The variables that a CPU process is started with beside the user's, which stay."""
    return {name: value for name, value in cpu_variables(cores).items() if name not in os.environ}


def shared_out(environment: Mapping[str, str], devices: int) -> dict[str, str]:
    """A slot's variables for each of `devices` processes on it: its threads, or the user's, are divided among them."""
    if devices == 1:
        return dict(environment)
    known = {**os.environ, **environment}
    threads = {name: known[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if known.get(name, "").isdecimal()}
    return {**environment, **{name: str(max(1, int(count) // devices)) for name, count in threads.items()}}


def gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may be, one entry a GPU: those that the user left visible, else all."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    return [str(i) for i, _ in enumerate(sorted(Path("/proc/driver/nvidia/gpus").glob("*")))]


def slots(workers: int | None, devices: int = 1) -> list[Slot]:
    """The slots of this machine.

    Args:
        workers: how many; None: one a GPU (or group of GPUs), or one for the whole CPU.
        devices: GPUs of one cell, or processes on a CPU.

    Raises:
        SlotError: fewer GPUs or cores than that takes.
    """
    found = gpus()
    return _gpu_slots(found, workers, devices) if found else _cpu_slots(available_cores(), workers or 1, devices)


def _gpu_slots(found: Sequence[str], workers: int | None, devices: int) -> list[Slot]:
    most = len(found) // devices
    if most < (workers or 1):
        asked = f"{workers or 1} worker{'s' * ((workers or 1) > 1)} of {devices} GPU{'s' * (devices > 1)}"
        there = "is 1 GPU" if len(found) == 1 else f"are {len(found)} GPUs"
        raise SlotError(f"there {there}, too few for {asked}: ask for fewer")
    groups = [found[i * devices : (i + 1) * devices] for i in range(workers or most)]
    return [Slot(f"cuda:{'+'.join(group)}", {"CUDA_VISIBLE_DEVICES": ",".join(group)}) for group in groups]


def _cpu_slots(cores: Sequence[int], workers: int, devices: int) -> list[Slot]:
    if workers > len(cores):
        raise SlotError(f"--workers {workers} on {len(cores)} cores: a worker needs one of its own; ask for fewer")
    if workers * devices > len(cores):
        asked = f"{workers} worker{'s' * (workers > 1)} of train.devices {devices}"
        raise SlotError(f"there are {len(cores)} cores, too few for {asked}: a process needs one of its own")
    if workers == 1:
        return [Slot("cpu", cpu_environment())]
    share = len(cores) // workers
    groups = [tuple(cores[i * share : (i + 1) * share]) for i in range(workers)]
    return [Slot(f"cpu {_span(group)}", cpu_environment(share), group) for group in groups]


def _span(cores: Sequence[int]) -> str:
    return str(cores[0]) if len(cores) == 1 else f"{cores[0]}-{cores[-1]}"
