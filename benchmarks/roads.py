"""By matrices over by FFT: the product of a grid with a symbol, forward and backward, on tokens as a mixer has them.

What `BY_MATRICES` in `pdebench/ops/spectral.py` rests on: this machine's GPU, or its CPU where it has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.here import DEVICE, PRECISIONS, finish
from benchmarks.ratio import Effort, Row, compare, timed
from pdebench.ops.spectral import BACKENDS, backend_of

CHANNELS = 384
# side of the grid in tokens, batch; a GPU has too little to do with a CPU's batches
CASES = ((8, 8), (16, 8), (32, 8), (64, 4)) if DEVICE.type == "cpu" else ((16, 256), (32, 64), (64, 16), (128, 4))


def run(effort: Effort) -> Iterator[Row]:
    """One row a grid and, where `auto` would train in it, again in bf16, in which only matrices run."""
    other = backend_of(DEVICE.type, (1 << 20, 1 << 20), torch.float32)  # of grids beyond every limit
    for side, batch in CASES[:1] if effort.quick else CASES:
        symbol = torch.fft.rfft2(torch.randn(CHANNELS, side, side, device=DEVICE))
        symbol = torch.view_as_real(symbol).requires_grad_()
        for precision in PRECISIONS:
            x = torch.randn(batch, side, side, CHANNELS, device=DEVICE, requires_grad=True)
            narrow = x.detach().to(torch.bfloat16 if precision == "bf16" else torch.float32).requires_grad_()
            ours = timed(partial(_work, "matrices", narrow, symbol), finish=finish)
            theirs = timed(partial(_work, other, x, symbol), finish=finish)
            yield Row("roads", f"{side}x{side} {precision}: matrices / {other}", compare(ours, theirs, effort))


def _work(name: str, tokens: Tensor, symbol: Tensor) -> None:
    y = BACKENDS[name].apply(tokens.permute(0, 3, 1, 2), symbol)
    torch.autograd.grad(y, (tokens, symbol), y.detach())
