"""Scaling laws of families beside one of them, the reference: exponents less its own, and multiples of its compute.

Every interval is of refits that the families share draws in (`paired_cells.py`). Each answers one question by itself;
where many are asked, some differ by chance, so that the verdicts go by p-values after Benjamini and Hochberg's step-up
(1995, JRSS B 57:289): of all differences that are said to be there, one in twenty is none, on average.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pdebench.errors import TableError, did_you_mean
from pdebench.stats.bootstrap import CONFIDENCE, Interval, interval, p_value
from pdebench.stats.frontier import Frontier, by_envelope, by_law, of_size
from pdebench.stats.multiplier import Multiplier, multiplier
from pdebench.stats.parametric import PARAMETERS
from pdebench.stats.plain import plain_json
from pdebench.stats.power_law import fitted
from pdebench.stats.power_sum import Array
from pdebench.stats.scaling import Scaling

PROFILES = "a of the profiles"
BY_LAW, BY_ENVELOPE = "L(N, D)", "the best of each budget"


@dataclass(frozen=True)
class Difference:
    """An exponent of a family less the reference's.

    Attributes:
        exponent: alpha, beta, a, that of the IsoFLOP profiles, or gamma.
        family: its own.
        reference: the reference's.
        difference: with its 95% interval.
        p: of "there is none".
        apart: whether it is there, all comparisons of the table considered.
    """

    exponent: str
    family: float
    reference: float
    difference: Interval
    p: float
    apart: bool = False


@dataclass(frozen=True)
class ScalingComparison:
    """One family beside the reference.

    Attributes:
        family: the group's name.
        reference: the reference group's.
        pairs: runs that have a partner of the same size, budget and seed in the other group.
        exponents: those that both have.
        floor: whether the laws of compute that `gamma` is of have a floor, which is one choice for all families.
        compute: the multiple of the reference's FLOPs; None where `why` says that there is none.
        images: the multiple of its images at one size; None where their sizes do not overlap.
        at_size: that size.
        by: what the multiple of FLOPs is from.
        apart: whether the multiple of FLOPs is not 1 in the middle, all comparisons considered.
        grows: whether it grows or shrinks with compute, likewise.
        why: what is lacking.
    """

    family: str
    reference: str
    pairs: int
    exponents: tuple[Difference, ...]
    floor: bool
    compute: Multiplier | None
    images: Multiplier | None
    at_size: float | None
    by: str
    apart: bool = False
    grows: bool = False
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data, figures that are not finite as null."""
        found = plain_json(asdict(self))
        assert isinstance(found, dict)
        return found


def comparisons(fits: Sequence[Scaling], reference: str = "") -> list[ScalingComparison]:
    """Every group beside the reference of its conditions.

    Args:
        fits: of all groups of a table, fitted in step.
        reference: a group's name, or what it begins with, such as the family; where no group is called so, the first
            one is the reference.
    """
    found: list[ScalingComparison] = []
    for conditions in dict.fromkeys(one.runs.conditions for one in fits):
        among = [one for one in fits if one.runs.conditions == conditions and not one.empty]
        if len(among) > 1:
            floor = shared_floor(among)
            chosen = _Group(reference_of(among, reference), floor)
            found += [_compare(_Group(one, floor), chosen) for one in among if one is not chosen.fit]
    return _judged(found)


def reference_of(fits: Sequence[Scaling], name: str) -> Scaling:
    """The group of that name, or of that family, of the most runs; else the first."""
    called = [one for one in fits if one.group == name] or [one for one in fits if one.group.split(", ")[0] == name]
    return max(called, key=lambda one: one.runs.count) if called else fits[0]


def refuse_unknown(fits: Sequence[Scaling], name: str) -> None:
    """Raise TableError where no group has that name, or is of that family."""
    known = {one.group for one in fits} | {one.group.split(", ")[0] for one in fits}
    if name not in known:
        raise TableError(f"--reference {name}: there is no such group; {did_you_mean(name, known)}")


def shared_floor(fits: Sequence[Scaling]) -> bool:
    """Whether laws of compute that are compared have a floor: only where each family's own choice has one.

    An exponent above a floor and one without are two things.
    """
    laws = [one.envelope for one in fits if one.envelope is not None]
    return bool(laws) and all(law.floor is not None for law in laws)


@dataclass(frozen=True)
class _Group:
    """A group and its frontiers, which are asked for by every comparison that it has a part in."""

    fit: Scaling
    floor: bool

    @cached_property
    def by_law(self) -> Frontier | None:
        return None if self.fit.refits is None else by_law(self.fit.runs, self.fit.refits)

    @cached_property
    def by_envelope(self) -> Frontier | None:
        return None if self.fit.front is None else by_envelope(self.fit.front, self.floor)

    @cached_property
    def exponents(self) -> dict[str, Array]:
        """Each in the whole table and in its resamples, (1 + R,)."""
        found = {}
        if self.fit.refits is not None:
            every = np.vstack([self.fit.refits.theta, self.fit.refits.refits])
            alpha, beta = self.fit.refits.law.exponents(every).T
            found = {"alpha": alpha, "beta": beta, "a": beta / (alpha + beta)}
        if self.fit.isoflop is not None and self.fit.isoflop.slopes is not None:
            found[PROFILES] = self.fit.isoflop.slopes
        if self.fit.front is not None:
            law, theta = fitted(self.fit.front, self.floor)
            found["gamma"] = law.exponents(theta)[:, 0]
        return found


def common_size(one: Scaling, other: Scaling) -> float | None:
    """The middle of the sizes that both groups ran at; None where none is."""
    low = max(one.runs.n.min(), other.runs.n.min())
    high = min(one.runs.n.max(), other.runs.n.max())
    return float(np.sqrt(low * high)) if low <= high else None


def _compare(one: _Group, reference: _Group) -> ScalingComparison:
    both = (one, reference)
    fewest = min(each.fit.runs.count for each in both)
    best = min((each.fit.front.runs for each in both if each.fit.front is not None), default=0)
    freedom = {BY_LAW: (fewest, PARAMETERS), BY_ENVELOPE: (best, min(2 + one.floor, best - 1))}
    profiles = [
        (found.used, found.parameters) for each in both if (found := each.fit.isoflop) is not None and found.used
    ]
    least_free = max(profiles, key=lambda group: group[1] / group[0], default=(fewest, 0))  # whose intervals widen most
    of_exponents = {"gamma": freedom[BY_ENVELOPE], PROFILES: least_free}
    compute, by, why = None, "", "no law of both was fitted"
    curves = [each.by_law for each in both]
    if all(curve is not None for curve in curves):
        by = BY_LAW
    elif all(each.fit.front is not None for each in both):
        by, curves = BY_ENVELOPE, [each.by_envelope for each in both]
    ours, theirs = curves
    if ours is not None and theirs is not None:
        runs, parameters = freedom[by]
        compute = multiplier(ours, theirs, runs=runs, parameters=parameters)
        why = "" if compute is not None else "they reached no losses that both have"
    images, size = None, common_size(one.fit, reference.fit)
    laws = [(each.fit.runs, each.fit.refits) for each in both]
    at_size = [] if size is None else [of_size(runs, refits, size) for runs, refits in laws if refits is not None]
    if len(at_size) == 2:
        images = multiplier(*at_size, runs=fewest, parameters=PARAMETERS)
    cells = [each.fit.runs.cell for each in both]
    shared = [set(own.tolist()) for own in cells if own is not None]
    return ScalingComparison(
        one.fit.group,
        reference.fit.group,
        len(set.intersection(*shared)) if len(shared) == 2 else 0,
        tuple(
            _difference(name, own, reference.exponents[name], *of_exponents.get(name, freedom[BY_LAW]))
            for name, own in one.exponents.items()
            if name in reference.exponents
        ),
        one.floor,
        compute,
        images,
        size if images else None,
        by,
        why=why,
    )


def _difference(name: str, family: Array, reference: Array, runs: int, parameters: int) -> Difference:
    apart = family - reference
    value, refits = float(apart[0]), apart[1:]
    return Difference(
        name,
        float(family[0]),
        float(reference[0]),
        interval(value, refits, runs=runs, parameters=parameters),
        p_value(value, refits, runs=runs, parameters=parameters),
    )


def _judged(found: Sequence[ScalingComparison]) -> list[ScalingComparison]:
    """With the verdicts, which depend on how many questions are asked."""
    from scipy.stats import false_discovery_control  # takes longer to import than pandas

    asked = [[one.p for one in each.exponents] for each in found]
    asked = [
        [*p, *((each.compute.p_one, each.compute.p_level) if each.compute else ())]
        for p, each in zip(asked, found, strict=True)
    ]
    every = [p for of_one in asked for p in of_one]
    verdicts = iter(false_discovery_control(every) <= 1 - CONFIDENCE if every else ())
    judged = []
    for each in found:
        exponents = tuple(replace(one, apart=bool(next(verdicts))) for one in each.exponents)
        apart, grows = (bool(next(verdicts)) if each.compute else False for _ in range(2))
        judged.append(replace(each, exponents=exponents, apart=apart, grows=grows))
    return judged
