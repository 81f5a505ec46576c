"""What each family lets a suite choose.

These models stand apart from the mixers that read them because a suite is checked without importing torch.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


class NoOptions(BaseModel):
    """A family with nothing to choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AttentionOptions(BaseModel):
    """Over which tokens of a clip attention is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attention: Literal["full", "factorised"] = Field(
        default="full",
        description="factorised, of clips: layers take turns to attend within each frame and through time, as Latte's",
    )


class SSM2DOptions(BaseModel):
    """Into which corners of the image the state spaces of 2-D SSM look."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directions: Literal[4, 2] = Field(
        default=4,
        description="4: into all corners of the image, 2: up and left, and down and right, as the paper varies it",
    )


class PDEOptions(BaseModel):
    """The PDE-SSM operator's terms and its surroundings; an off term has no parameters and costs nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    states: int = Field(default=1, ge=1, le=64, description="S, the states of a channel; the paper's form is 1")
    diffusion: Literal["full", "diagonal", "isotropic", "off"] = Field(
        default="full", description="form of the diffusion tensor K, symmetric positive definite"
    )
    convection: bool = Field(default=True, description="the term - v . grad u")
    reaction: bool = Field(default=True, description="the term r u, with r bounded above")
    gate: bool = Field(default=False, description="a SiLU gate beside the solve, as in gated SSMs")
    selective: bool = Field(
        default=False, description="the conditioning vector moves tau, so the operator depends on the sample"
    )
    padding: Literal["periodic", "zero"] = Field(
        default="periodic",
        description="zero: pad the grid to twice its size, so that what drifts over an edge of the image does not come "
        "back over the other; the tails of diffusion do",
    )
    boundary: Literal["periodic", "neumann", "dirichlet"] = Field(
        default="periodic",
        description="what holds at the edges of the image: nothing flows through them (neumann), or the field is zero "
        "there (dirichlet); both take diffusion: diagonal, isotropic or off, convection: false and no zero padding",
    )

    @model_validator(mode="after")
    def _is_exact_at_edges(self) -> Self:
        if self.boundary == "periodic":
            return self
        wrong = ""
        if self.padding == "zero":
            wrong = f"{self.boundary} has edges, and padding: zero is of a torus, which has none; leave padding out"
        elif self.convection or self.diffusion == "full":
            wrong = (
                f"{self.boundary} needs convection: false and diffusion: diagonal, isotropic or off, as an edge that "
                "mirrors a field turns the sign of a drift and of K's cross terms"
            )
        if wrong:
            context = {"message": wrong, "field": "boundary", "shared": ["diffusion", "convection", "padding"]}
            raise PydanticCustomError("cross_field", "{message}", context)
        return self
