"""Everything that a table lets one say of how a loss scales: laws with intervals, warnings, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from pdebench.analysis.bootstrap import RESAMPLES
from pdebench.analysis.holdout import HELD_RESAMPLES, Held, held_envelope, held_parametric
from pdebench.analysis.isoflop import IsoFlop, isoflop
from pdebench.analysis.parametric import Parametric, parametric, refit
from pdebench.analysis.power_law import DECADE, Envelope, PowerLaw, envelope, power_law
from pdebench.analysis.runs import SAME_BUDGET, Columns, Runs, runs_of
from pdebench.errors import InsufficientData

FEW_SIZES = 5  # with fewer, curvature and noise are hard to tell apart
BEYOND = 10.0  # times the largest budget: how far the allocation is extrapolated
_LIMIT = 0.025

Law = TypeVar("Law")


@dataclass(frozen=True)
class Scaling:
    """What is known of one group of runs.

    Attributes:
        group: its name; empty where the table is one.
        runs: the rows that were fitted.
        parametric: `L(N, D)`, or None where it was refused.
        isoflop: the best size of each budget, or None.
        envelope: the power law of compute, or None.
        held: the largest budget's sizes, predicted by `L(N, D)`.
        held_envelope: its envelope, predicted by the power law.
        refusals: what could not be fitted, by the law's name: `insufficient data: ...`.
        warnings: what a reader has to know before believing the rest.
    """

    group: str
    runs: Runs
    parametric: Parametric | None
    isoflop: IsoFlop | None
    envelope: PowerLaw | None
    held: tuple[Held, ...]
    held_envelope: Held | None
    refusals: dict[str, str]
    warnings: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data, figures that are not finite as null; the runs as columns."""
        found = {name: getattr(self, name) for name in _TOLD}
        found = {name: asdict(value) if is_dataclass(value) else value for name, value in found.items()}  # type: ignore[arg-type]
        columns = {"n": self.runs.n, "d": self.runs.d, "flops": self.runs.flops, "loss": self.runs.loss}
        rows = {name: values.tolist() for name, values in columns.items()} | {"run": self.runs.run.tolist()}
        held = [asdict(point) | {"covered": point.covered} for point in self.held]
        return {"group": self.group, "runs": rows, **_plain(found), "held": _plain(held)}

    @property
    def empty(self) -> bool:
        """Whether nothing at all could be fitted."""
        return self.parametric is None and self.isoflop is None and self.envelope is None


_TOLD = ("parametric", "isoflop", "envelope", "held_envelope", "refusals", "warnings")


def _plain(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def scaling(table: pd.DataFrame, columns: Columns) -> list[Scaling]:
    """Fit every law to every group of a table.

    Raises:
        TableError: the columns are not there, or hold no numbers.
    """
    return [scale(runs) for runs in runs_of(table, columns)]


def scale(runs: Runs, resamples: int = RESAMPLES) -> Scaling:
    """Fit every law to one group of runs, and as many resamples of them for the intervals."""
    refusals: dict[str, str] = {}

    def tried(name: str, law: Callable[[], Law]) -> Law | None:
        try:
            return law()
        except InsufficientData as error:
            refusals[name] = str(error)
            return None

    if not runs.count:
        refusals = dict.fromkeys(("L(N, D)", "IsoFLOP", "envelope"), "insufficient data: no row with all its numbers")
        return Scaling(runs.name, runs, None, None, None, (), None, refusals, _warnings(runs, None, None, None))
    largest = float(runs.flops.max())
    law = tried("L(N, D)", lambda: parametric(runs, (largest, BEYOND * largest), refit(_spread(runs), resamples)))
    held = (
        None
        if law is None
        else tried("held-out budget of L(N, D)", lambda: held_parametric(runs, min(resamples, HELD_RESAMPLES)))
    )
    profiles = tried("IsoFLOP", lambda: isoflop(runs, resamples))
    if profiles is not None and profiles.a is None:
        refusals["IsoFLOP exponent"] = profiles.why
    front = tried("envelope", lambda: envelope(runs, resamples))
    told = None
    if front is not None:
        last = (runs.budget == runs.budget.max()) & (runs.n == front.n[-1])
        seeds = max(1, len(np.unique(runs.run[last])))
        told = tried("held-out budget of the envelope", lambda: held_envelope(front, seeds))
    return Scaling(
        runs.name,
        runs,
        law,
        profiles,
        None if front is None else power_law(front),
        held or (),
        told,
        refusals,
        _warnings(runs, law, profiles, front),
    )


def why_none(fits: Sequence[Scaling]) -> str:
    """Why nothing could be fitted to any group, each reason once."""
    reasons = dict.fromkeys(next(iter(found.refusals.values())) for found in fits)
    if not reasons:
        return "it has no rows"
    groups = f", in any of its {len(fits)} groups" if len(fits) > 1 else ""
    return "; ".join(reasons) + groups


def _spread(runs: Runs) -> Runs:
    """The runs, if they span a decade of compute.

    Raises:
        InsufficientData: they do not.
    """
    if runs.flops.max() < DECADE / SAME_BUDGET * runs.flops.min():
        times = runs.flops.max() / runs.flops.min()
        raise InsufficientData(f"the runs span {times:.2g} times in compute, where a law needs a decade or more")
    return runs


def _several_sizes(runs: Runs) -> bool:
    """Whether some budget was run at more than one size."""
    budget = runs.budget
    return any(len(np.unique(runs.n[budget == index])) > 1 for index in range(int(budget.max()) + 1))


def _warnings(runs: Runs, law: Parametric | None, profiles: IsoFlop | None, front: Envelope | None) -> tuple[str, ...]:
    found = []
    if runs.dropped:
        found.append(f"{runs.dropped} rows were left out: a number in them is missing or not positive")
    if not runs.count:
        return tuple(found)
    if len(runs.n) > runs.count:
        found.append(
            f"{len(runs.n)} rows are of {runs.count} runs: intervals rest on runs, and a row on the way of one is not "
            "what a run of that length would have had"
        )
    if 3 <= len(runs.sizes) < FEW_SIZES:
        found.append(f"only {len(runs.sizes)} sizes: curvature and noise are hard to tell apart")
    for name, values in (("parameters", runs.n), ("images", runs.d)):
        times = float(values.max() / values.min())
        if law is not None and times < DECADE:
            found.append(f"the {name} span {times:.2g} times, less than a decade: their exponent is weakly held")
    points = np.unique(np.array([runs.n, runs.d]), axis=1).shape[1]
    if points == len(runs.n) and runs.count == len(runs.n):
        found.append("one seed: no point was run twice, so that noise is told from misfit by the law alone")
    if law is not None:
        tied = float(np.corrcoef(np.log(runs.n), np.log(runs.d))[0, 1])
        if abs(tied) > 0.9:
            found.append(f"parameters and images are nearly tied (correlation {tied:.2f}): their exponents trade off")
        if law.at_limit > _LIMIT:
            found.append(
                f"in {law.at_limit:.0%} of the refits an exponent is at the end of its range: intervals are wider still"
            )
    if front is not None and len(front.flops) > 1 and not _several_sizes(runs):
        found.append("every budget was run at one size: the law of compute is that of these runs, not of the best")
    if profiles is not None:
        edges = [profile for profile in profiles.profiles if profile.best is None]
        if edges:
            told = ", ".join(f"{profile.flops:.2g}" for profile in edges)
            found.append(f"edge optimum at {told} FLOPs: the best size may lie beyond those that ran; left out")
    return tuple(found)
