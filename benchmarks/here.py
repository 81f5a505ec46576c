"""Where the benchmarks of networks measure: on this machine's GPU, or on its CPU where it has none."""

from __future__ import annotations

import torch

from pdebench.ops.precision import resolve_precision

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# fp32, and what training's `auto` takes here where that is another
PRECISIONS = tuple(dict.fromkeys(("fp32", resolve_precision("auto", DEVICE))))


def finish() -> None:
    """Wait for what was given to the device to do."""
    if DEVICE.type == "cuda":
        torch.cuda.synchronize(DEVICE)
