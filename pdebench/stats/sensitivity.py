"""How much of a comparison hangs on one thing: exponents and the multiple of compute with that thing left out.

A seed, the smallest or the largest size, the smallest budget, one of several learning rates, or the floor of the law:
each is left out of both families at a time, and the laws are fitted anew, once, without intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pdebench.errors import InsufficientData
from pdebench.stats.comparison import BY_LAW, ScalingComparison
from pdebench.stats.frontier import Frontier, by_envelope, by_law
from pdebench.stats.multiplier import POINTS, shared_losses
from pdebench.stats.parametric import Refits, refuse
from pdebench.stats.plain import plain_json
from pdebench.stats.power_law import DECADE, FEWEST_BUDGETS, Envelope, envelope, fitted, refuse_narrow
from pdebench.stats.power_sum import Array, PowerSum
from pdebench.stats.runs import SAME_BUDGET, Runs
from pdebench.stats.scaling import Scaling

NOTHING = "nothing"
_NO_FLOOR, _FRONT, _FRONT_FLOOR = (
    "the floor of L(N, D)",
    "all but the best runs; no floor",
    "all but the best runs; a floor",
)


@dataclass(frozen=True)
class Without:
    """A family's exponents, and its multiple of the reference's compute at one loss; None: not to be had.

    Attributes:
        left_out: what, in words.
        alpha, beta, a, gamma: of the family.
        times: the multiple.
    """

    left_out: str
    alpha: float | None
    beta: float | None
    a: float | None
    gamma: float | None
    times: float | None


@dataclass(frozen=True)
class Sensitivity:
    """One family beside the reference, or the reference itself; the whole table first.

    Attributes:
        family: the group's name.
        reference: the reference group's; the same name where it is the reference itself, without multiples.
        loss: at which the multiples are; None where there are none.
        lines: one for each thing that was left out.
    """

    family: str
    reference: str
    loss: float | None
    lines: tuple[Without, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        found = plain_json(asdict(self))
        assert isinstance(found, dict)
        return found


@dataclass(frozen=True)
class _Fit:
    """Laws of one group with one thing left out: its L(N, D), its envelope's exponent, and the frontier."""

    exponents: tuple[float, float] | None = None
    gamma: float | None = None
    curve: Frontier | None = None


def sensitivities(fits: Sequence[Scaling], compared: Sequence[ScalingComparison]) -> list[Sensitivity]:
    """Of every family that is compared, in the order of the comparisons, after its reference's own exponents."""
    groups = {one.group: one for one in fits}
    floors = {one.reference: one.floor for one in compared} | {one.family: one.floor for one in compared}
    known = {name: _fits(groups[name], floors[name]) for name in floors}
    found = [
        Sensitivity(name, name, None, tuple(_line(left_out, own, own, None) for left_out, own in known[name].items()))
        for name in dict.fromkeys(one.reference for one in compared)
    ]
    for one in compared:
        ours, theirs = known[one.family], known[one.reference]
        loss = None if one.compute is None else one.compute.loss[POINTS // 2]
        lines = []
        for name in dict.fromkeys([*ours, *theirs]):
            own, other = ours.get(name, ours[NOTHING]), theirs.get(name, theirs[NOTHING])
            if one.by != BY_LAW and name == NOTHING:  # no law of both: the multiple is the envelope's
                front = _FRONT_FLOOR if one.floor else _FRONT
                own = replace(own, curve=ours[front].curve) if front in ours else own
                other = replace(other, curve=theirs[front].curve) if front in theirs else other
            lines.append(_line(name, own, other, loss))
        found.append(Sensitivity(one.family, one.reference, loss, tuple(lines)))
    return found


def _line(name: str, own: _Fit, other: _Fit, loss: float | None) -> Without:
    alpha, beta = own.exponents or (None, None)
    a = None if alpha is None or beta is None else beta / (alpha + beta)
    times = None
    if loss is not None and own.curve is not None and other.curve is not None:
        shared, at = shared_losses(own.curve, other.curve), math.log(loss)
        if shared is not None and shared[0] <= at <= shared[1]:
            needed = [float(curve.needed(np.array([at]))[0, 0]) for curve in (own.curve, other.curve)]
            times = math.exp(needed[0] - needed[1])
    return Without(name, alpha, beta, a, own.gamma, times)


def _fits(one: Scaling, floor: bool) -> dict[str, _Fit]:
    """Of one group, by what is left out."""
    runs, cases = one.runs, _cases(one.runs)
    found: dict[str, _Fit] = {}
    law, y = PowerSum(np.log([runs.n, runs.d]), floor=True), np.log(runs.loss)
    thetas = None
    if one.refits is not None:  # all of them at once
        kept = np.array(list(cases.values()), dtype=float)
        thetas = law.fit(y, kept, near=one.refits.theta[0], starts=2).theta
    gammas = _gammas(one, np.array(list(cases.values())), floor)
    for place, (name, chosen) in enumerate(cases.items()):
        rest = runs.only(chosen)
        exponents = curve = None
        if thetas is not None and _carries(rest):
            alpha, beta = law.exponents(thetas[place])
            exponents, curve = (float(alpha), float(beta)), by_law(rest, _single(law, thetas[place]))
        found[name] = _Fit(exponents, gammas[place], curve)
    if one.refits is not None:
        bare = PowerSum(np.log([runs.n, runs.d]), floor=False)
        theta = bare.fit(y).theta[0]
        alpha, beta = bare.exponents(theta)
        found[_NO_FLOOR] = _Fit((float(alpha), float(beta)), None, by_law(runs, _single(bare, theta)))
    if one.front is not None:
        point = Envelope(one.front.flops, one.front.y[:1], one.front.n, one.front.runs)
        for name, form in ((_FRONT, False), (_FRONT_FLOOR, True)):
            law, theta = fitted(point, form)
            found[name] = _Fit(None, float(law.exponents(theta)[0, 0]), by_envelope(point, form))
    return found


def _cases(runs: Runs) -> dict[str, NDArray[np.bool_]]:
    """Which rows are left, by what is left out."""
    every = np.ones(len(runs.n), dtype=bool)
    found = {NOTHING: every}
    for kind, texts in (("seed", runs.labels.seed), ("rate", runs.labels.rate)):
        if len(set(texts)) > 1:
            for text in sorted(set(texts)):
                found[f"{kind} {text or 'missing'}"] = np.array([one != text for one in texts])
    found["the smallest size"] = runs.n > runs.n.min()
    found["the largest size"] = runs.n < runs.n.max()
    found["the smallest budget"] = runs.budget > 0
    return {name: chosen for name, chosen in found.items() if chosen.any()}


def _carries(runs: Runs) -> bool:
    try:
        refuse(runs)
        refuse_narrow(runs)
    except InsufficientData:
        return False
    return True


def _gammas(one: Scaling, kept: NDArray[np.bool_], floor: bool) -> list[float | None]:
    """The envelope's exponent with some rows left out, (cases, rows); None where too few budgets are left."""
    if one.front is None:
        return [None] * len(kept)
    front = envelope(one.runs, weights=kept.astype(float))
    law, theta = fitted(front, floor)
    found: list[float | None] = []
    for y, gamma in zip(front.y[1:], law.exponents(theta)[1:, 0], strict=True):
        flops = front.flops[np.isfinite(y)]
        enough = len(flops) >= FEWEST_BUDGETS and flops[-1] * SAME_BUDGET >= DECADE * flops[0]
        found.append(float(gamma) if enough and np.isfinite(gamma) else None)
    return found


def _single(law: PowerSum, theta: Array) -> Refits:
    return Refits(law, theta[None], np.zeros((0, law.size)), np.zeros(0))
