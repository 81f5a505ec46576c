"""Peak memory of a process or a device, and where the known part of it goes."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from pathlib import Path

import torch
from torch import nn

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


class PeakMemory:
    """Peak memory from here on, above what is in use here.

    On a GPU: peak allocated bytes. On a CPU: the peak resident set (`VmHWM`), reset first where the kernel allows, less
    the files that are mapped (`RssFile`): pages of libraries that are first touched by a training, and of data, are no
    memory of a model. What the heap kept of memory that was freed, as after decoding a data set, is given back first:
    a training that begins there would seem to need none. None where the system has no `/proc`.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.baseline: int | None = torch.cuda.memory_allocated(device)
        else:
            _give_back()
            with contextlib.suppress(OSError):
                _CLEAR.write_text("5")
            self.baseline = _less(_resident("VmRSS"), _resident("RssFile"))

    @property
    def kind(self) -> str:
        """What `read` gives, in words for the record."""
        if self.device.type == "cuda":
            return "cuda peak allocated, less what was allocated before the model"
        before = "less the same with its data and before its model, what was free given back"
        return f"VmHWM less RssFile of the cell's process, {before}"

    def read(self) -> int | None:
        """Peak bytes since construction, less the baseline."""
        if self.device.type == "cuda":
            peak: int | None = torch.cuda.max_memory_allocated(self.device)
        else:
            peak = _less(_resident("VmHWM"), _resident("RssFile"))
        return None if (grown := _less(peak, self.baseline)) is None else max(0, grown)


def _give_back() -> None:
    """Give the system the heap's free pages, which a cell's process is told to keep; only glibc can be asked to."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _less(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one - other


def _resident(field: str) -> int | None:
    """A field of /proc/self/status in bytes."""
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None


def analytic_bytes(model: nn.Module) -> dict[str, int]:
    """Bytes of weights, gradients and AdamW's two moments, from shapes alone."""
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    return {"weights_bytes": weights, "gradients_bytes": trained, "optimizer_bytes": 2 * trained}
