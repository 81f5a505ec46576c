"""The families of backbones that a suite can name. Importing this module imports no torch.

A new token mixer is one file under `mixers/` and one line here. A package outside this one adds a family with an
entry point in the group `pdebench.families` that resolves to a `Family`.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from pdebench.errors import ModelError, did_you_mean
from pdebench.models.options import NoOptions, PDEOptions
from pdebench.models.sizes import SIZES

if TYPE_CHECKING:
    from pdebench.models.mixers.base import Mixer


@dataclass(frozen=True)
class Family:
    """A token mixer in the shell of a diffusion transformer.

    Attributes:
        name: as a suite writes it, e.g. `PDE-SSM-DiT`.
        mixer: where the mixer's class is, `module:Class`; imported when a model is built.
        options: the pydantic model of what a suite may choose.
        summary: one line for `pdebench list models`.
        paper: where the mixer comes from.
    """

    name: str
    mixer: str
    summary: str
    paper: str
    options: type[BaseModel] = NoOptions

    def mixer_class(self) -> type[Mixer]:
        """Import and return the mixer's class."""
        module, _, attribute = self.mixer.partition(":")
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]


_MIXERS = "pdebench.models.mixers"
_BUILT_IN = (
    Family(
        "PDE-SSM-DiT",
        f"{_MIXERS}.pde:PDEMixer",
        "convection-diffusion-reaction PDE solved by FFT",
        "arXiv 2603.13663",
        PDEOptions,
    ),
    Family("DiT", f"{_MIXERS}.attention:Attention", "softmax attention, the reference", "arXiv 2212.09748"),
    Family(
        "Mamba-DiT",
        f"{_MIXERS}.mamba:BidirectionalMamba",
        "bidirectional Mamba-1, a drop-in control",
        "arXiv 2312.00752",
    ),
)


@cache
def families() -> Mapping[str, Family]:
    """Every known family by name: the built-in ones, then those of installed packages."""
    found = {family.name: family for family in _BUILT_IN}
    for point in entry_points(group="pdebench.families"):
        family = point.load()
        found[family.name] = family
    return found


FAMILIES: Mapping[str, Family] = families()


def parse_name(name: str) -> tuple[Family, str, int]:
    """Split `PDE-SSM-DiT-S/2` into its family, its size and its patch.

    Raises:
        ModelError: the name is not of the form FAMILY-SIZE/PATCH, or names an unknown family or size.
    """
    stem, slash, patch = name.rpartition("/")
    family, dash, size = stem.rpartition("-")
    if not (slash and dash and patch.isdigit() and int(patch) > 0):
        raise ModelError(f"model name '{name}' is not FAMILY-SIZE/PATCH, such as 'PDE-SSM-DiT-S/2'")
    if family not in FAMILIES:
        raise ModelError(f"model name '{name}': unknown family '{family}'; {did_you_mean(family, FAMILIES)}")
    if size not in SIZES:
        raise ModelError(f"model name '{name}': unknown size '{size}'; {did_you_mean(size, SIZES)}")
    return FAMILIES[family], size, int(patch)


def check(family: str, size: str, patch: int, options: Mapping[str, Any], resolution: int) -> None:
    """Raise ModelError when this backbone cannot be built for images of `resolution` px; imports no torch.

    The family's and size's names and the options' types are checked where the suite is read.
    """
    if resolution % patch:
        raise ModelError(f"resolution {resolution} is not divisible by patch {patch}")
    _, width, heads = SIZES[size]
    if width % heads:
        raise ModelError(f"size {size}: {heads} heads do not divide width {width}")
