"""All handles by the names of their operations, of PyTorch's and of this package's own.

The counter of a forward pass (`plan/cost.py`) and the trace of a training step (`plan/trace.py`) both ask here, so that
what one counts the other predicts from. A family of another package adds to it (`Family.handles`).
"""

from __future__ import annotations

from pdebench.models.mixers import afno, s4d
from pdebench.ops import (
    causal_convolution,
    depthwise_convolution,
    filter_mixing,
    gated_linear_attention,
    pde_mixing,
    selective_scan,
    spectral,
    ssd,
    trigonometric,
    wave,
)
from pdebench.ops.operand import Handles
from pdebench.plan.counting import attention, convolutions, pointwise, products, transforms

_OURS = (
    afno, causal_convolution, depthwise_convolution, filter_mixing, gated_linear_attention, pde_mixing, s4d,
    selective_scan, spectral, ssd, trigonometric, wave,
)  # fmt: skip

HANDLES: Handles = {
    name: handle
    for module in (attention, convolutions, pointwise, products, transforms, *_OURS)
    for name, handle in module.HANDLES.items()
}
