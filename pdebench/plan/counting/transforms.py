"""`torch.fft`: a real transform costs what `ops/macs.py` has for one of its points, a complex one twice that.

Its points are the product of all lengths that are transformed, after padding or cropping to what is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pdebench.ops.macs import fft
from pdebench.ops.operand import Handle, Handles, Macs


def _transform(*, into_half: bool = False, real_output: bool = False, all_dims: bool = False) -> Handle:
    """A handle of `(input, n or s, dim, ...)`.

    Args:
        into_half: half a spectrum comes out: the last length is that of the input.
        real_output: real numbers come out.
        all_dims: where nothing is said, every dimension is transformed, not the last.
    """

    def handle(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs | None:
        (given, asked, dim), made = inputs[:3], outputs[0]
        dims = _dims(dim, asked, len(given.shape), all_dims)
        if dims is None:
            return None
        lengths = [made.shape[i] for i in dims]
        if into_half:
            wanted = asked[-1] if isinstance(asked, list) else asked
            lengths[-1] = _whole(wanted, given.shape[dims[-1]], lengths[-1])
        lines = made.size // max(1, math.prod(made.shape[i] for i in dims))
        return {"fft": fft(*lengths, times=lines) * (1 if real_output or not given.complex else 2)}

    return handle


def _inner(inputs: Sequence[Any], outputs: Sequence[Any]) -> Macs | None:
    """What the others come to, and `vmap` shows: `(input, dims, ...)`, nothing left to pad or crop."""
    (given, dims), made = inputs[:2], outputs[0]
    if _dims(dims, None, 0, False) is None:
        return None
    whole = made if given.complex else given  # the real side, where there is one
    lengths = [whole.shape[i] for i in dims]
    lines = whole.size // max(1, math.prod(lengths))
    return {"fft": fft(*lengths, times=lines) * (2 if given.complex and made.complex else 1)}


def _dims(dim: Any, asked: Any, rank: int, all_dims: bool) -> list[int] | None:
    """What is transformed, the halved one last; None where the trace does not tell."""
    if dim is None and all_dims:
        dim = list(range(-len(asked), 0)) if isinstance(asked, list) else list(range(rank))
    dims = dim if isinstance(dim, list) else [dim]
    return dims if all(isinstance(one, int) for one in dims) else None


def _whole(wanted: Any, given: int, half: int) -> int:
    """The length whose half spectrum has `half` points: as asked for, the input's own, or else the even one."""
    if isinstance(wanted, int) and wanted > 0:
        return wanted
    return given if given // 2 + 1 == half else 2 * (half - 1)


_KINDS = {
    "": {},
    "i": {},
    "r": {"into_half": True},
    "ir": {"real_output": True},
    "h": {"real_output": True},
    "ih": {"into_half": True},
}

HANDLES: Handles = {
    f"aten::fft_{kind}fft{dimensions}": _transform(**how, all_dims=dimensions == "n")
    for kind, how in _KINDS.items()
    for dimensions in ("", "2", "n")
} | dict.fromkeys(("aten::_fft_r2c", "aten::_fft_c2r", "aten::_fft_c2c"), _inner)
