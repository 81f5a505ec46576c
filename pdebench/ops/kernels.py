"""The optional CUDA kernels that a mixer uses where they are installed. Importing this imports neither torch nor them.

They are to compute what our PyTorch code computes, faster. A kernel is looked for once, when the first mixer that has a
use for it is built, and only where there is a CUDA device; nothing but its import and its version decide.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from pdebench.errors import CellWarning, out_of_memory
from pdebench.installing import install


@dataclass(frozen=True)
class Kernel:
    """A function of another package.

    Attributes:
        module: where it is imported from.
        function: its name there.
        package: the distribution on PyPI.
        families: what uses it.
        instead: what runs where it is absent.
        least: the oldest version whose function takes the arguments that are given here.
        compiled: a module that the function calls, which its own import does not ask for.
    """

    module: str
    function: str
    package: str
    families: tuple[str, ...]
    instead: str
    least: str
    compiled: str | None = None

    @property
    def remedy(self) -> str:
        """The command that installs it. Packages that compile CUDA need the PyTorch that they will run with."""
        isolation = "" if self.package == "flash-linear-attention" else "--no-build-isolation"
        return install(f"{self.package}>={self.least}", options=isolation)


KERNELS = {
    "selective_scan": Kernel(
        "mamba_ssm.ops.selective_scan_interface",
        "selective_scan_fn",
        "mamba-ssm",
        ("Mamba-DiT", "DiS", "ZigMa"),
        "the chunked scan in PyTorch",
        "2.2.2",
        compiled="selective_scan_cuda",
    ),
    "causal_conv1d": Kernel(
        "causal_conv1d",
        "causal_conv1d_fn",
        "causal-conv1d",
        ("Mamba-DiT", "DiS", "ZigMa", "Mamba2-DiT"),
        "the causal convolution in PyTorch",
        "1.4",
    ),
    "ssd": Kernel(
        "mamba_ssm.ops.triton.ssd_combined",
        "mamba_chunk_scan_combined",
        "mamba-ssm",
        ("Mamba2-DiT",),
        "the chunked state space duality in PyTorch",
        "2.2.2",
    ),
    "gla": Kernel(
        "fla.ops.gla",
        "chunk_gla",
        "flash-linear-attention",
        ("DiG",),
        "the chunked gated linear attention in PyTorch",
        "0.3",  # before, the heads stood before the tokens
    ),
}


class FoundKernel(NamedTuple):
    """What looking for a kernel gave: the function and its package's version, or the reason why there is none."""

    function: Callable[..., Any] | None
    version: str = ""
    reason: str = ""


@cache
def find(what: str) -> FoundKernel:
    """Import a kernel, whether or not there is a device to run it on. An import that fails in any way is an absence."""
    kernel = KERNELS[what]
    top = kernel.module.partition(".")[0]
    try:
        function = getattr(importlib.import_module(kernel.module), kernel.function)
        if kernel.compiled is not None:
            importlib.import_module(kernel.compiled)
    except ModuleNotFoundError as error:
        if error.name == top:
            return FoundKernel(None, reason="not installed")
        return FoundKernel(None, reason=f"needs the module {error.name}, which is not installed")
    except Exception as error:  # a broken build raises ImportError, OSError, RuntimeError or AttributeError
        if out_of_memory(error):  # which is no absence
            raise
        first, *_ = str(error).strip().splitlines() or [""]
        return FoundKernel(None, reason=f"its import fails with {type(error).__name__}: {first}")
    if not callable(function):
        return FoundKernel(None, reason=f"{kernel.module}.{kernel.function} is {function!r}")
    version = str(getattr(sys.modules.get(top), "__version__", ""))
    if version and _numbers(version) < _numbers(kernel.least):
        return FoundKernel(None, reason=f"version {version} is too old, {kernel.least} or newer is needed")
    return FoundKernel(function, version)


def _numbers(version: str) -> tuple[int, ...]:
    """`2.2.4.post1` as (2, 2, 4)."""
    return tuple(int(part) for part in re.match(r"[0-9.]*", version)[0].split(".") if part)  # type: ignore[index]


@cache
def load(what: str) -> Callable[..., Any] | None:
    """The kernel `what` of `KERNELS` for tensors on a CUDA device, or None where it is absent or there is no device.

    Warns, once, where there is a device but no kernel.
    """
    import torch

    if not torch.cuda.is_available():
        return None
    kernel = KERNELS[what]
    with torch.device("cpu"):  # a model may be built on the meta device, where an import should not put its constants
        found = find(what)
    if found.function is None:
        warnings.warn(
            f"{kernel.package} has no {kernel.function} here ({found.reason}): {kernel.instead} stands in, which is"
            f" slower; to install the kernel: {kernel.remedy}",
            CellWarning,
            stacklevel=2,
        )
    return found.function


def suit(tensor: Any) -> bool:
    """Whether the kernels take such a tensor: on a CUDA device, of at most 32 bits."""
    return bool(tensor.is_cuda and tensor.element_size() <= 4)


def described(what: str, fallback: str) -> str:
    """What a mixer's `implementation` says: `mamba-ssm 2.2.4 selective_scan_fn`, or `fallback` without the kernel."""
    if load(what) is None:
        return fallback
    kernel = KERNELS[what]
    return " ".join(filter(None, (kernel.package, find(what).version, kernel.function)))
