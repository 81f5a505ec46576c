"""A family resized until it costs what another costs. Importing this imports no torch.

Costs are those of `closed_form.py` for a model of three channels, without labels and without a learned variance: what
is known of a suite's models before its data is read. Parameters are those that act: of GFNet's filters a share never
does, and would make its model the smaller of two that are called equal. On data with classes the label embedding,
`(classes + 1) d` parameters, comes on top on both sides: with many classes and a small model it can take matched
parameters apart by more than the tolerance, which the record's `params` shows.

What is measured in place of being worked out, the time of a training step or its peak memory, is searched for by the
same steps from `run/matching/`, with a cost of its own (`measured_sizes.py`).

The search changes as little as it can, in this order: nothing; the width, in steps of a head, or of 8 channels where
there are none; width and depth; the hidden width of the MLP with them. It keeps the family's proportions: width and
depth are at least half and at most four times the family's own at that size, and neither outgrows the other by more
than a half. The width of a family without an MLP, which has less to turn, goes in finer steps where it must.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable
from functools import cache, cached_property
from typing import Literal, NamedTuple

from pydantic import BaseModel

from pdebench.errors import ModelError
from pdebench.models import closed_form
from pdebench.models.backbone_cost import backbone_cost
from pdebench.models.grid import InputSize
from pdebench.models.registry import Dimensions, Family
from pdebench.models.shell import Shell

By = Literal["params", "macs"]
Cost = Callable[[Dimensions], float]
"""What dimensions cost: a sum of what is around the blocks, of blocks, and of skips between them."""

TOLERANCE = 0.02
"""A matched model's cost is within this share of its reference's."""

# Below half its width or depth a model no longer stands for its size. It may grow further than it may shrink: at many
# tokens a mixer that is linear in them has to, to spend attention's MACs.
_LEAST, _MOST = 0.5, 4
_SKEW = 1.5  # channels a block, over the family's own; DiT's sizes have 16 (Ti) to 64 (B), about S's 32
_MLP_LEAST, _MLP_MOST = 0.5, 2  # of the family's own hidden width
_MLP_STEP = 4
_CHANNELS = 8  # a step of the width, at least, in a family without heads


class MatchSetting(NamedTuple):
    """What a family and its reference have in common; of clips `sides` are their frames, height and width."""

    size: str
    patch: int
    resolution: int
    by: By
    conditioned: bool = True
    patch_frames: int = 1
    sides: tuple[int, ...] | None = None

    @property
    def input_size(self) -> InputSize:
        """As `create_model` takes it."""
        return self.resolution if self.sides is None else self.sides


class Candidate(NamedTuple):
    """Dimensions and what they cost."""

    dimensions: Dimensions
    cost: float


def match(family: Family, options: BaseModel, reference: Family, setting: MatchSetting) -> Dimensions:
    """The dimensions at which `family` costs what `reference` costs with its default options, to `TOLERANCE`.

    Raises:
        ModelError: none that keep the family's proportions do; says how near they come, and why no nearer.
    """
    default = reference.options()
    own = reference.dimensions(setting.size, default)
    target = cost(reference, default, own, setting)

    def of(dimensions: Dimensions) -> float:
        return cost(family, options, dimensions, setting)

    searches = [Search(family, options, setting.size, of, target, step) for step in steps_of(family, setting.size)]
    if found := least_change(searches):
        return found.dimensions
    nearest, why = searches[-1].nearest()
    raise ModelError(
        f"{family.name}-{setting.size}/{setting.patch} at {setting.resolution} px cannot be matched to "
        f"{reference.name} by {setting.by}: {reference.name} has {_shown(reference, default, own, setting)}, "
        f"and the nearest that {family.name} comes to, {why}, is "
        f"{_shown(family, options, nearest.dimensions, setting)} ({in_words(nearest.dimensions)})"
    )


def least_change(searches: Iterable[Search]) -> Candidate | None:
    """Of one family's searches, each of steps of its own, what is near and changes least; None: nothing is near."""
    searches = list(searches)
    for way in (Search.width_alone, Search.width_and_depth, Search.mlp_too):
        for search in searches:
            if found := way(search):
                return found
    return None


def in_words(dimensions: Dimensions) -> str:
    """`depth 4, width 128, MLP 512`."""
    depth, width, _, hidden = dimensions
    return f"depth {depth}, width {width}" + ("" if hidden is None else f", MLP {hidden}")


def steps_of(family: Family, size: str) -> list[int]:
    """Channels in a step of the width: the one to try first, and one that a family without an MLP may come down to."""
    if family.heads:
        return [family.head_size(size)]
    step = family.multiple * math.ceil(_CHANNELS / family.multiple)
    return [step, family.multiple] if family.shell.mlp == "none" and step > family.multiple else [step]


def cost(family: Family, options: BaseModel, dimensions: Dimensions, setting: MatchSetting) -> float:
    """What is matched of a model's cost: parameters less idle ones, or MACs of one image's forward pass."""
    found = _whole(family, options, dimensions, setting)
    return found.params - found.idle if setting.by == "params" else found.macs


def _whole(family: Family, options: BaseModel, dimensions: Dimensions, setting: MatchSetting) -> closed_form.Cost:
    return backbone_cost(
        family, dimensions, setting.patch, options, input_size=setting.input_size, in_channels=3, num_classes=None,
        conditioned=setting.conditioned, patch_frames=setting.patch_frames,
    )  # fmt: skip


def _shown(family: Family, options: BaseModel, dimensions: Dimensions, setting: MatchSetting) -> str:
    """What is matched of a model's cost, in words that say where parameters are left out."""
    found = cost(family, options, dimensions, setting)
    if setting.by == "macs":
        return f"{found / 1e9:.4g} GMACs"
    return f"{found / 1e6:.4g} M parameters" + (
        " that act" if _whole(family, options, dimensions, setting).idle else ""
    )


class _Line(NamedTuple):
    """The models of one width: a cost around the blocks, one of each block, and one of each skip between blocks."""

    own: Dimensions
    around: float
    block: float
    skip: float
    shell: Shell

    def at(self, depth: int) -> Candidate:
        found = self.around + depth * self.block + self.shell.skips_of(depth) * self.skip
        return Candidate(self.own._replace(depth=depth), found)


class Search:
    """The sizes of one family, by what they cost.

    Args:
        family: in its shell.
        options: its own.
        size: whose proportions it keeps.
        cost: of its dimensions.
        target: the cost to come to.
        step: channels in a step of the width.
        tolerance: share of the target that a cost may be off.
        tried: dimensions that are not what is looked for, whatever they cost.
    """

    def __init__(
        self,
        family: Family,
        options: BaseModel,
        size: str,
        cost: Cost,
        target: float,
        step: int,
        *,
        tolerance: float = TOLERANCE,
        tried: Collection[Dimensions] = (),
    ) -> None:
        self.family, self.options, self.size, self.step = family, options, size, step
        self.cost, self.target, self.tolerance, self.tried = cost, target, tolerance, tried
        self.own = family.dimensions(size, options)
        width, depth = self.own.width, self.own.depth
        fewer, more = int(width * (1 - _LEAST) / step), int(width * (_MOST - 1) / step)
        widths = range(width - fewer * step, width + more * step + 1, step)
        self.widths = [width for width in widths if width % family.multiple == 0]
        self.depths = range(math.ceil(depth * _LEAST), depth * _MOST + 1)
        self.line = cache(self._line)
        self.channel = cache(self._channel)

    def width_alone(self) -> Candidate | None:
        """The family's own size where that will do, else the nearest in cost of its own depth."""
        own = self.line(self.own.width).at(self.own.depth)
        return own if self._near(own) else self._first([self.own.depth])

    def width_and_depth(self) -> Candidate | None:
        """Of the depths at which some width will do, the one that keeps the width a block has nearest to its own."""
        # At one cost, more blocks are narrower ones: either way from this depth, the proportions are lost.
        depths = self.depths
        kept = depths.start + bisect_left(depths, 0.0, key=lambda depth: -self._skew(self._nearest(depth)))
        found = [self._first(range(kept, depths.stop)), self._first(range(kept - 1, depths.start - 1, -1))]
        return min(filter(None, found), key=lambda candidate: abs(self._skew(candidate)), default=None)

    def mlp_too(self) -> Candidate | None:
        """Of all depths and widths, each with the MLP that comes nearest in cost, the one that changes least."""
        if self.own.mlp_hidden is None:
            return None
        return min(filter(self._near, self._all), key=self._change, default=None)

    def mlp_alone(self, depth: int, width: int) -> Candidate | None:
        """A depth and a width as they are, with the MLP that comes nearest in cost."""
        if self.own.mlp_hidden is None:
            return None
        found = self._with_mlp(self.line(width).at(depth))
        return found if self._near(found) else None

    def nearest(self) -> tuple[Candidate, str]:
        """The nearest that the family comes, and a clause that says what keeps it from coming nearer."""
        if all(candidate.cost > self.target for candidate in self._all):
            why = "at no less than half its own width and depth"
        elif all(candidate.cost < self.target for candidate in self._all):
            why = f"at no more than {_MOST} times its own width and depth"
        else:
            why = f"in steps of {self.step} channels and of a block"
        return min(self._all, key=self._off), why

    def _line(self, width: int) -> _Line:
        one = self.family.dimensions(self.size, self.options, depth=1, width=width)
        first, second, third = (self.cost(one._replace(depth=depth)) for depth in (1, 2, 3))
        skip = third - 2 * second + first if self.family.shell.skips else 0.0
        return _Line(one, 2 * first - second, second - first, skip, self.family.shell)

    def _channel(self, width: int) -> float:
        """The cost of one more hidden channel in the MLP of a block."""
        one = self.line(width).own
        assert one.mlp_hidden is not None
        return self.cost(one._replace(mlp_hidden=one.mlp_hidden + 1)) - self.cost(one)

    def _off(self, candidate: Candidate) -> float:
        return abs(candidate.cost / self.target - 1)

    def _near(self, candidate: Candidate) -> bool:
        return self._off(candidate) <= self.tolerance and candidate.dimensions not in self.tried

    def _skew(self, candidate: Candidate) -> float:
        """The logarithm of the width a block has, over the family's own; positive: wide and shallow."""
        depth, width = candidate.dimensions[:2]
        return math.log(width * self.own.depth / (depth * self.own.width))

    def _proportionate(self, candidate: Candidate) -> bool:
        (depth, width, *_), own = candidate.dimensions, self.own
        return max(width * own.depth, depth * own.width) <= _SKEW * min(width * own.depth, depth * own.width)

    def _change(self, candidate: Candidate) -> tuple[float, float]:
        """How far dimensions are from the family's own, each as a factor; ties go to the nearer in cost."""
        (depth, width, _, hidden), own = candidate.dimensions, self.own
        change = abs(math.log(width / own.width)) + abs(math.log(depth / own.depth))
        if hidden is not None and own.mlp_hidden is not None:
            usual = self.line(width).own.mlp_hidden
            assert usual is not None
            change += abs(math.log(hidden / usual))
        return change, self._off(candidate)

    def _nearest(self, depth: int) -> Candidate:
        """Of all widths at a depth, the nearest in cost; of two as near, the narrower. Costs rise with the width."""
        above = bisect_left(self.widths, self.target, key=lambda width: self.line(width).at(depth).cost)
        around = self.widths[max(above - 1, 0) : above + 1]
        return min((self.line(width).at(depth) for width in around), key=self._off)

    def _first(self, depths: Iterable[int]) -> Candidate | None:
        """The first of the depths at which some width will do."""
        return next(filter(self._near, filter(self._proportionate, map(self._nearest, depths))), None)

    @cached_property
    def _all(self) -> list[Candidate]:
        """Every depth and width in proportion, with the MLP that comes nearest in cost."""
        candidates = (self.line(width).at(depth) for width in self.widths for depth in self.depths)
        return [self._with_mlp(candidate) for candidate in candidates if self._proportionate(candidate)]

    def _with_mlp(self, candidate: Candidate) -> Candidate:
        (depth, width, _, usual), found = candidate
        if usual is None:
            return candidate
        channel = depth * self.channel(width)
        wanted = usual + (self.target - found) / channel
        hidden = min(max(wanted, usual * _MLP_LEAST), usual * _MLP_MOST)
        hidden = max(_MLP_STEP, _MLP_STEP * round(hidden / _MLP_STEP))
        return Candidate(candidate.dimensions._replace(mlp_hidden=hidden), found + (hidden - usual) * channel)
