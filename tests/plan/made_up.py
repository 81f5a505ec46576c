"""Mixers of another package, made up for a test."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel
from torch import Tensor, nn

from pdebench.models import closed_form, registry
from pdebench.models.mixers.base import Mixer, MixerContext
from pdebench.models.registry import Family

NAME = "Made-Up-XXS/4"  # of 8 x 8 tokens at 32 px, 128 wide, 4 blocks


class Shaped(Mixer):
    """A mixer whose `mix` gets tokens as (B, D, h, w) and returns as much."""

    def __init__(self, place: MixerContext, options: BaseModel) -> None:
        super().__init__()
        self.place, (self.h, self.w), self.d = place, place.grid, place.width
        self.build()

    def build(self) -> None:
        """Make the layers."""

    def mix(self, u: Tensor) -> Tensor:
        """(B, D, h, w) to the same."""
        raise NotImplementedError

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        u = x.unflatten(1, self.place.grid).permute(0, 3, 1, 2)
        return self.mix(u).permute(0, 2, 3, 1).flatten(1, 2)


def install(
    monkeypatch: pytest.MonkeyPatch,
    build: Callable[[Shaped], None],
    mix: Callable[[Any, Tensor], Tensor],
    cost: Callable[[MixerContext, Any], closed_form.Cost] = closed_form.none,
    **more: Any,
) -> Family:
    """The family `Made-Up`, whose mixer does `mix` with what `build` has made."""

    class Made(Shaped):
        def build(self) -> None:
            build(self)

        def mix(self, u: Tensor) -> Tensor:
            return mix(self, u)

    module = ModuleType("made_up_package")
    module.Made = Made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    family = Family("Made-Up", "made_up_package:Made", "", "", cost, **more)
    register(monkeypatch, family)
    return family


def register(monkeypatch: pytest.MonkeyPatch, family: Family) -> None:
    """Have `FAMILIES` hold it, in place of one of that name."""
    monkeypatch.setitem(registry.FAMILIES.built_in, family.name, family)


def parameter(*shape: int, **more: Any) -> nn.Parameter:
    """One that holds nothing yet."""
    import torch

    return nn.Parameter(torch.empty(*shape, **more))
