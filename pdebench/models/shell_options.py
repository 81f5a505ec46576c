"""What a suite changes in the shell of every family alike: its section `shell`. Importing this imports no torch.

A preset is a published shell; single keys change it. What a preset gives and a family cannot have, the family goes
without, so that every family can be compared in every preset: rotary positions where there are no queries and keys,
another norm or MLP where the family's paper has one of its own. `resolved_for` writes down what each has got. A single
key that a family cannot have is refused (`refusal`): who writes it wants it.

    dit         DiT's blocks (arXiv 2212.09748), with what the family's paper changes
    lightning   LightningDiT's (arXiv 2501.01423; hustvl/LightningDiT): RMS norms with weights, SwiGLU, rotary positions
                beside DiT's frozen ones. Its published configurations have no norm of queries and keys, nor a learned
                variance
    uvit        U-ViT's long skips (arXiv 2209.12152; baofff/U-ViT) between DiT's blocks. Left out of U-ViT: time and
                class as tokens, which no grid has a place for (adaLN stays), learned positions, the convolution after
                the head, its sizes; where the depth is even two blocks stand in the middle, U-ViT's is odd
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pdebench.models.shell import DIT, Shell

if TYPE_CHECKING:
    from pdebench.models.registry import Dimensions, Family

RMS_EPSILON = 1e-6  # LightningDiT's

Values = Mapping[str, Any]

PLAIN: Values = {
    "norm": "own",
    "mlp": "own",
    "rope": False,
    "qk_norm": False,
    "skips": False,
    "adaln": "full",
}
PRESETS: Mapping[str, Values] = {
    "dit": PLAIN,
    "lightning": {**PLAIN, "norm": "rms", "mlp": "swiglu", "rope": True},
    "uvit": {**PLAIN, "skips": True},
}

_GATED: Mapping[str, Any] = {"gelu": "gated", "narrowed": "narrowed gated"}
"""The MLPs that may become SwiGLU, and what they become."""


class ShellOptions(BaseModel):
    """The blocks around the mixer, for every family alike: a published shell, and single changes to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preset: Literal["dit", "lightning", "uvit"] | None = Field(
        default=None,
        description="A published shell: DiT's, LightningDiT's (RMS norm, SwiGLU, rotary positions) or U-ViT's long "
        "skips; null: DiT's. A family goes without what it cannot have of it.",
    )
    norm: Literal["own", "layer", "rms"] | None = Field(
        default=None,
        description="Norm of the blocks and of the head; own: the family's, DiT's layer norm where its paper has none.",
    )
    mlp: Literal["own", "gelu", "swiglu"] | None = Field(
        default=None,
        description="MLP of the blocks; own: the family's, DiT's GELU where its paper has none. SwiGLU has 8 / 3 of "
        "the width, and so GELU's parameters.",
    )
    rope: bool | None = Field(
        default=None, description="Turn queries and keys by their tokens' places, axis by axis; attention has them."
    )
    qk_norm: bool | None = Field(default=None, description="An RMS norm of queries and keys in each head.")
    skips: bool | None = Field(
        default=None, description="Join what left a block of the first half to what enters its partner of the second."
    )
    adaln: Literal["full", "single"] | None = Field(
        default=None, description="single: one MLP of time and class for all blocks and a table a block, as PixArt's."
    )

    def resolved_for(self, family: Family) -> ShellOptions:
        """All keys as a family has them.

        A preset gives what the family can have; what the suite gives itself stays, refused or not. `preset` is then the
        one that is nearest to what came of it: one model is written in one way.
        """
        given = {key: _of_preset(family, self.preset or "dit", key) for key in PLAIN}
        given |= {key: _own(family, key, asked) for key in PLAIN if (asked := getattr(self, key)) is not None}

        def singles(preset: str) -> int:
            return sum(value != _of_preset(family, preset, key) for key, value in given.items())

        return ShellOptions(preset=min(PRESETS, key=singles), **given)  # type: ignore[arg-type]

    def asked_of(self, family: Family) -> dict[str, Any]:
        """What `resolved_for` came from, as little as says it: the preset, and what it does not give the family."""
        resolved = self.resolved_for(family)
        base = resolved.preset or "dit"
        single = {key: getattr(resolved, key) for key in PLAIN}
        preset = {} if base == "dit" else {"preset": base}
        return preset | {key: value for key, value in single.items() if value != _of_preset(family, base, key)}

    def for_another(self, family: Family, other: Family) -> ShellOptions:
        """What `other` has in the shell that `family` has here: single keys too, so far as it can have them."""
        single = {
            key: value for key, value in self.asked_of(family).items() if key == "preset" or _fits(other, key, value)
        }
        return ShellOptions(**single).resolved_for(other)

    def changes(self, family: Family) -> dict[str, Any]:
        """What is not as in DiT's shell with the family's own changes, for `create_model`."""
        resolved = self.resolved_for(family)
        return {key: value for key, plain in PLAIN.items() if (value := getattr(resolved, key)) != plain}

    def applied(self, family: Family) -> Shell:
        """The family's shell with the changes that it can have."""
        changes = {key: value for key, value in self.changes(family).items() if _fits(family, key, value)}
        shell = family.shell
        if changes.pop("norm", "own") == "rms":
            shell = replace(shell, norm="rms", rms_epsilon=RMS_EPSILON)
        if changes.pop("mlp", "own") == "swiglu":
            shell = replace(shell, mlp=_GATED[shell.mlp])
        return replace(shell, **changes)

    def refusal(
        self, family: Family, dimensions: Dimensions, axes: int, *, conditioned: bool
    ) -> tuple[str, str] | None:
        """The key that a family cannot have and why, in a sentence; None where it can have all.

        Args:
            family: as registered.
            dimensions: of the model.
            axes: of its grids.
            conditioned: whether it is given times and labels.
        """
        asked = self.changes(family)
        for key, value in asked.items():
            if not _fits(family, key, value):
                return key, _why_not(family, key, value)
        head = dimensions.width // (dimensions.heads or 1)
        if asked.get("rope") and (head % 2 or head < 2 * axes):
            return "rope", f"turns pairs of channels, {axes} or more in a head, and a head has {head}: take other heads"
        if asked.get("adaln") == "single" and not conditioned:
            return "adaln", "single is of times and classes, and the model is given neither; leave it out"
        return None


def _of_preset(family: Family, preset: str, key: str) -> Any:
    """What a preset gives a family."""
    value = PRESETS[preset][key]
    return value if _fits(family, key, value) else PLAIN[key]


def _own(family: Family, key: str, value: Any) -> Any:
    """`own` in the place of what the family has anyway."""
    shell = family.shell
    had = {"norm": shell.norm, "mlp": "gelu" if shell.mlp in _GATED else shell.mlp}
    return "own" if key in had and had[key] == value else value


def _fits(family: Family, key: str, value: Any) -> bool:
    """Whether a family can have it: what its paper has changed by itself stays."""
    if value == PLAIN[key]:
        return True
    if key == "norm":
        return family.shell.norm == DIT.norm
    if key == "mlp":
        return value == "swiglu" and family.shell.mlp in _GATED
    return family.queries_and_keys if key in ("rope", "qk_norm") else True


def _why_not(family: Family, key: str, value: Any) -> str:
    if key == "norm":
        return (
            f"{value} is not the norm of {family.name}, whose paper has {family.shell.norm} in this place: leave it out"
        )
    if key == "mlp":
        own = "no MLP" if family.shell.mlp == "none" else "an MLP of its own"
        return f"{value} is not the MLP of {family.name}, whose paper has {own} in this place: leave it out"
    return (
        f"is of queries and keys, and the mixer of {family.name} has none that it could act on: leave it out, or take "
        "a preset, which gives it to the families that have"
    )
