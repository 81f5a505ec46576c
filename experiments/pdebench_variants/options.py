"""What may differ from PDE-SSM-DiT. Importing this imports no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pdebench.models.options import PDEOptions


class VariantOptions(PDEOptions):
    """PDE-SSM-DiT's options and what is tried beside them; at the defaults the model is PDE-SSM-DiT, bit for bit."""

    shortest: float = Field(default=0.5, gt=0, le=8, description="shortest diffusive length at first, in tokens")
    longest: float = Field(default=0.3, gt=0, le=2, description="longest diffusive length at first, in sides")
    drift: float = Field(default=1.0, ge=0, le=8, description="drifts at first, in lengths of the same channel")
    steps: int = Field(
        default=1,
        ge=1,
        le=4,
        description="solves a block; each but the first is of a GELU of the field, and added to it",
    )
    attention_every: int = Field(
        default=0, ge=0, description="every so many-th layer is DiT's attention in the PDE's place; 0: none"
    )
    convolution: bool = Field(
        default=False, description="a 3 x 3 depthwise convolution before the solve, the identity at first"
    )
    activation: Literal["none", "gelu"] = Field(default="none", description="what follows the solve, as in S4's layer")
    norm: bool = Field(default=False, description="an RMS norm after the solve")
