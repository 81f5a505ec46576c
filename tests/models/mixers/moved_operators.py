"""PDE operators away from their initial values, as the tests of the operator take them."""

from __future__ import annotations

import torch

from pdebench.models.mixers.pde import PDEOperator
from pdebench.models.options import PDEOptions


def operator(h: int, w: int, channels: int = 2, seed: int = 0, spread: float = 1.0, **options: object) -> PDEOperator:
    """A float64 operator with every parameter moved away from its initial value."""
    torch.manual_seed(seed)
    built = PDEOperator(channels, (h, w), PDEOptions(**options)).double()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(spread * 0.3 * torch.randn_like(parameter))
    return built
