"""What this machine reaches, measured in two seconds a precision, for predictions with `--device this`.

    python -m pdebench.plan.probe PRECISION...      one JSON object on standard output

It runs in a process that is started as a cell's is: threads and allocator are those that the cell will have.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from pdebench.data.nouns import plural
from pdebench.errors import CalibrationError
from pdebench.ops import kernels, macs
from pdebench.plan.devices import USABLE, Device
from pdebench.plan.roofline import Rates
from pdebench.system.descendants import with_its_parent
from pdebench.system.machine import cpu_name
from pdebench.system.slots import slots

SECONDS = 2.0  # for each precision
TIMEOUT = 300.0  # seconds after which something is wrong with the machine
LEAST = 3  # calls of each operation, however long they take


def this_device(precisions: Sequence[str], memory: int | None = None) -> Device:
    """This machine, calibrated: its first GPU if there is one, else its CPU.

    Args:
        precisions: which of `auto`, `fp32` and `bf16` to calibrate; `auto` is resolved, as for a cell.
        memory: bytes of host memory that a cell may take, where a limit is set.

    Raises:
        CalibrationError: the probe failed.
    """
    found = as_a_cell(["pdebench.plan.probe", *sorted(set(precisions))], "name a device with --device")
    rates = {precision: Rates(**measured) for precision, measured in found["rates"].items()}
    basis = {
        "basis": f"calibrated here by a probe of {SECONDS:g} seconds a precision",
        "usable_memory": USABLE,
        "assumed": found["assumed"],
    }
    limit = found["memory"] if memory is None or found["gpu"] else min(found["memory"], memory)
    return Device(
        "this",
        found["name"],
        int(limit * USABLE),
        found["recorded_as"],
        rates,
        found["auto"],
        found["capability"],
        basis,
    )


def as_a_cell(module: Sequence[str], remedy: str) -> Any:
    """What a module prints as JSON, run in a process that is started as a cell's is.

    Args:
        module: its name and arguments.
        remedy: what to do where it fails.

    Raises:
        CalibrationError: it failed.
    """
    environment = {**os.environ, **slots(None)[0].environment}
    try:
        done = subprocess.run(
            [sys.executable, "-m", *module], env=environment, capture_output=True, text=True, timeout=TIMEOUT,
            preexec_fn=with_its_parent(),
        )  # fmt: skip
        if done.returncode == 0:
            return json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise CalibrationError(f"this machine cannot be calibrated ({error}): {remedy}") from None
    said = done.stderr.strip().splitlines()
    why = said[-1] if said else f"status {done.returncode}"
    raise CalibrationError(f"this machine cannot be calibrated ({why}): {remedy}")


def main(precisions: Sequence[str]) -> None:
    """Calibrate and print."""
    import psutil
    import torch

    from pdebench.ops.precision import resolve_precision

    device = here()
    cuda = device.type == "cuda"
    name = torch.cuda.get_device_name() if cuda else cpu_name()
    resolved = {asked: resolve_precision(asked, device) for asked in precisions}
    rates = {precision: asdict(calibrate(precision, device)) for precision in sorted(set(resolved.values()))}
    scans = [] if not cuda else [what for what in ("selective_scan", "ssd", "gla") if kernels.load(what) is not None]
    print(
        json.dumps(
            {
                "name": name if cuda else f"{name}, {plural(torch.get_num_threads(), 'thread')}",
                "recorded_as": name,
                "gpu": cuda,
                "capability": torch.cuda.get_device_capability()[0] if cuda else 0,
                "auto": resolve_precision("auto", device),
                "memory": torch.cuda.mem_get_info()[1] if cuda else psutil.virtual_memory().total,
                "rates": rates | {asked: rates[precision] for asked, precision in resolved.items()},
                "assumed": [
                    "nothing is fused: every operation reads and writes memory",
                    "every operation of a kind runs at the rate of the one that was probed",
                    *(["scans run as probed, in PyTorch, although kernels are installed"] if scans else []),
                ],
            }
        )
    )


def here() -> Any:
    """The device that a cell would have here, with its threads."""
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    if threads := os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(int(threads))
    return torch.device("cpu")


def calibrate(precision: str, device: Any, seconds: float = SECONDS) -> Rates:
    """What a device reaches of each kind of operation, at sizes such as small models have.

    Args:
        precision: `fp32` or `bf16`, of products and attention; the other kinds are float32 in any case.
        device: a torch device.
        seconds: to spend, in equal parts.
    """
    import torch
    from torch.nn import functional as F

    from pdebench.ops.gated_linear_attention import gated_linear_attention
    from pdebench.ops.selective_scan import selective_scan
    from pdebench.ops.ssd import ssd

    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    large = 4 if device.type == "cuda" else 1

    def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.rand(shape, device=device).to(dtype)

    tokens, weight = random(large * 2048, 384, dtype=kind), random(1536, 384, dtype=kind)
    q = random(large * 8, 6, 256, 64, dtype=kind)
    image = torch.complex(random(large * 4, 384, 16, 16), random(large * 4, 384, 16, 16))
    first, second, third = (random(2**22 * large) for _ in range(3))
    grid, taps = random(large * 8, 384, 16, 16).to(memory_format=torch.channels_last), random(384, 1, 3, 3)
    u, dt, a, b = random(large * 2, 256, 768), random(large * 2, 256, 768), -random(768, 16), random(large * 2, 256, 16)
    x, steps, decay, both = random(large * 2, 256, 12, 64), random(large * 2, 256, 12), -random(12), random(2, 256, 128)
    both = both.repeat(large, 1, 1)
    k, v, g = random(large * 4, 256, 6, 32), random(large * 4, 256, 6, 64), -random(large * 4, 256, 6, 32)
    tiny = random(1)
    # name: what to run, and how much of it that is (FLOPs, bytes, or one operation)
    probes: dict[str, tuple[Callable[[], object], float]] = {
        "linear": (lambda: F.linear(tokens, weight), 2 * tokens.numel() * 1536),
        "attention": (
            lambda: F.scaled_dot_product_attention(q, q, q),
            2 * macs.attention(q.numel() // 64 * 256, 64, 64),
        ),
        "fft": (lambda: torch.fft.fft2(image), 4 * image.numel() // 256 * macs.fft(16, 16)),  # complex
        "conv": (lambda: F.conv2d(grid, taps, padding=1, groups=384), 2 * macs.convolution(grid.numel(), 9)),
        "selective_scan": (lambda: selective_scan(u, dt, a, b, b), 2 * macs.scan(u.numel() * 16)),
        "ssd": (lambda: ssd(x, steps, decay, both, both, decay), 2 * macs.scan(x.numel() * 128)),
        "gated_linear_attention": (lambda: gated_linear_attention(k, k, v, g), 2 * macs.scan(k.numel() * 64)),
        "bandwidth": (lambda: torch.add(first, second, out=third), 12 * first.numel()),
        "latency": (lambda: tiny + tiny, 1.0),
    }
    share = seconds / len(probes)
    with torch.no_grad():
        reached = {name: amount / _seconds(run, device, share) for name, (run, amount) in probes.items()}
    bandwidth, latency = reached.pop("bandwidth"), 1 / reached.pop("latency")
    return Rates(reached, bandwidth, latency)


def _seconds(run: Callable[[], object], device: Any, share: float) -> float:
    """The least second of a call, after one that does not count: what else the machine does only ever adds."""
    import torch

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    run()
    wait()
    began = time.perf_counter()
    run()
    wait()
    calls = max(
        1, int(share / 10 / max(time.perf_counter() - began, 1e-9))
    )  # at a time: launches overlap, as in a step
    samples: list[float] = []
    until = time.perf_counter() + share
    while len(samples) < LEAST or time.perf_counter() < until:
        began = time.perf_counter()
        for _ in range(calls):
            run()
        wait()
        samples.append((time.perf_counter() - began) / calls)
    return min(samples)


if __name__ == "__main__":
    main(sys.argv[1:])
