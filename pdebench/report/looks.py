"""What a family looks like in charts: a colour on a light page and on a dark one, and the shape of its marks.

A built-in family has its place in the palette. One of another package has what it brings, or what its name comes to: a
colour that no built-in one has, and the shape that goes with it. Where two of a table come to the same, the later name
takes the next that is free; once all colours are taken, the shape tells them apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from pdebench.models.registry import FAMILIES
from pdebench.report.palette import BUILT_IN, DARK, LIGHT, SHAPES


class Look(NamedTuple):
    """A colour for each scheme, `#rrggbb`, and an SVG path within about 1 of the origin."""

    light: str
    dark: str
    shape: str


def looks_of(families: Sequence[str]) -> list[Look]:
    """The look of each family; the first are the built-in ones, in the palette's order (`frame.family_order`)."""
    looks = {name: Look(*look) for name, *look in zip(families[:BUILT_IN], LIGHT, DARK, SHAPES, strict=False)}
    added = {name: FAMILIES.get(name) for name in families[BUILT_IN:]}
    # those that bring a colour come first: the others then keep away from it
    for name in sorted(added, key=lambda name: (getattr(added[name], "colour", None) is None, name)):
        looks[name] = _look(name, getattr(added[name], "colour", None), getattr(added[name], "mark", None), looks)
    return [looks[name] for name in families]


def _look(name: str, colour: str | None, mark: str | None, taken: dict[str, Look]) -> Look:
    """The first of a family's looks whose colour nobody has, nor the shape; at least no look is had twice."""
    first = int(hashlib.sha256(name.encode()).hexdigest(), 16)
    free = len(LIGHT) - BUILT_IN
    places = [BUILT_IN + (first + turn) % free for turn in range(free)]
    colours = [(LIGHT[place], DARK[place]) for place in places] if colour is None else [(colour, colour)]
    shapes = [*([] if mark is None else [mark]), *(SHAPES[place] for place in places)]
    had = {look.light for look in taken.values()}, {look.shape for look in taken.values()}
    both = {(look.light, look.shape) for look in taken.values()}

    def unwanted(look: Look) -> tuple[bool, bool, bool]:
        alike = (look.light, look.shape) in both
        return alike, colour is None and look.light in had[0], mark is None and look.shape in had[1]

    return min((Look(*pair, shape) for pair, shape in product(colours, shapes)), key=unwanted)
