"""Joules that the devices of a cell take, by the counter that NVIDIA's driver keeps of each GPU.

NVML counts the millijoules of a whole board since its driver was loaded (`nvmlDeviceGetTotalEnergyConsumption`, Volta
and later); nvidia-ml-py reads it, where it is installed (the extra `energy`). Nothing is told of the host's own
energy, nor of a CPU's.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch

from pdebench.errors import CellWarning
from pdebench.system.distributed import World

# The counter moves every 20 to 100 ms (petsc.org, PetscLogGpuEnergyMeter): of less than this it says little.
LEAST_SECONDS = 1.0

Counter = Callable[[], int | None]


def counter_of(device: torch.device) -> Counter | None:
    """What reads the millijoules of a device since its driver was loaded, and None where that fails.

    None: there is no such counter. It is no GPU or a part of one, whose board others use, or older than Volta;
    or nvidia-ml-py or the driver is not there.
    """
    if device.type != "cuda":
        return None
    try:
        import pynvml
    except ImportError:
        return None
    about = torch.cuda.get_device_properties(device)
    if " MIG " in about.name:
        return None
    try:
        pynvml.nvmlInit()
        # NVML counts all boards of a machine, PyTorch those that it may see: they have the identifier in common
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{about.uuid}")
    except pynvml.NVMLError:
        return None

    def read() -> int | None:
        try:
            return int(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        except pynvml.NVMLError:
            return None

    return None if read() is None else read


@dataclass
class _Stretch:
    images: float
    millijoules: int = 0
    seconds: float = 0.0


class EnergyMeter:
    """Joules of this process' device while it works, in stretches, with nothing in flight where one begins or ends."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._read = counter_of(device)
        self._failed = False
        self._running: tuple[_Stretch, int | None, float] | None = None
        self._stretches: list[_Stretch] = []

    def begin(self, images: float) -> None:
        """Images are about to be worked on: a stretch begins with them, or they join the one that runs."""
        if self._read is None:
            return
        if self._running is None:
            self._running = (_Stretch(0), *self._now(self._read))
        self._running[0].images += images

    def end(self) -> None:
        """The stretch is over, where one runs."""
        if self._read is None or self._running is None:
            return
        (stretch, before, began), self._running = self._running, None
        after, ended = self._now(self._read)
        if before is None or after is None or after < before:
            self._failed = True
            return
        stretch.millijoules, stretch.seconds = after - before, ended - began
        self._stretches.append(stretch)

    def joules_an_image(self, world: World, *, first_counts: bool = True) -> float | None:
        """Joules of all devices of the cell together over the images that they worked on; every process asks at once.

        None where a device has no counter, one failed or went back, which is warned of, or they worked for less than
        LEAST_SECONDS.

        Args:
            world: the processes that share the cell, each with a device of its own.
            first_counts: whether the first stretch does, where there are more.
        """
        counted = self._stretches if first_counts else self._stretches[1:] or self._stretches
        joules, images, seconds, without, failed = world.mean(
            [
                sum(stretch.millijoules for stretch in counted) / 1000,
                sum(stretch.images for stretch in counted),
                sum(stretch.seconds for stretch in counted),
                self._read is None,
                self._failed,
            ]
        )
        if failed and not without:
            warnings.warn(
                "a GPU's energy counter could not be read or went back, as when its driver is loaded again: no joules "
                "are told",
                CellWarning,
                stacklevel=2,
            )
        if without or failed or seconds < LEAST_SECONDS or not joules:
            return None
        return joules / images

    def _now(self, read: Counter) -> tuple[int | None, float]:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return read(), time.perf_counter()
