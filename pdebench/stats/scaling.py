"""Everything that a table lets one say of how a loss scales: laws with intervals, warnings, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from pdebench.errors import InsufficientData
from pdebench.stats.bootstrap import RESAMPLES
from pdebench.stats.holdout import HELD_RESAMPLES, Held, held_envelope, held_parametric
from pdebench.stats.isoflop import IsoFlop, isoflop
from pdebench.stats.left_out import shortened
from pdebench.stats.paired_cells import paired
from pdebench.stats.parametric import Parametric, Refits, parametric, refit
from pdebench.stats.plain import plain_json
from pdebench.stats.power_law import Envelope, PowerLaw, envelope, power_law, refuse_narrow
from pdebench.stats.remarks import warnings
from pdebench.stats.runs import Columns, Runs, runs_of

BEYOND = 10.0  # times the largest budget: how far the allocation is extrapolated

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
        refits: `L(N, D)` of the resamples, which comparisons of groups are made from.
        front: the least loss of each budget, there too.
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
    refits: Refits | None = None
    front: Envelope | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain data, figures that are not finite as null; the runs as columns."""
        found = {name: getattr(self, name) for name in _TOLD}
        found = {name: asdict(value) if is_dataclass(value) else value for name, value in found.items()}  # type: ignore[arg-type]
        if self.isoflop is not None:
            for of_comparisons in ("slopes", "used", "parameters"):
                found["isoflop"].pop(of_comparisons)
        columns = {"n": self.runs.n, "d": self.runs.d, "flops": self.runs.flops, "loss": self.runs.loss}
        rows: dict[str, Any] = {name: values.tolist() for name, values in columns.items()}
        rows |= {"run": self.runs.run.tolist(), "place": list(self.runs.places)}
        held = [asdict(point) | {"covered": point.covered} for point in self.held]
        return {"group": self.group, "runs": rows, **self._rows(), **plain_json(found), "held": plain_json(held)}

    def _rows(self) -> dict[str, Any]:
        """What became of the rows that were not fitted."""
        left = [{"place": one.place, "why": one.why} for one in self.runs.left_out]
        repeated = [{"place": one.place, "of": one.of} for one in self.runs.repeated]
        return {"left_out": left, "repeated": repeated, "unfinished": self.runs.unfinished}

    @property
    def refused(self) -> list[tuple[str, str]]:
        """What could not be fitted and why, each reason once with all that it is true of."""
        names: dict[str, list[str]] = {}
        for name, why in self.refusals.items():
            names.setdefault(why, []).append(name)
        return [(" and ".join(filter(None, [", ".join(of[:-1]), of[-1]])), why) for why, of in names.items()]

    @property
    def empty(self) -> bool:
        """Whether nothing at all could be fitted."""
        return self.refits is None and self.isoflop is None and self.front is None


_TOLD = ("parametric", "isoflop", "envelope", "held_envelope", "refusals", "warnings")


def scaling(table: pd.DataFrame, columns: Columns) -> list[Scaling]:
    """Fit every law to every group of a table.

    Raises:
        TableError: the columns are not there, or hold no numbers.
    """
    return [scale(runs) for runs in paired(runs_of(table, columns))]


def scale(runs: Runs, resamples: int = RESAMPLES) -> Scaling:
    """Fit every law to one group of runs, and as many resamples of them for the intervals."""
    refusals: dict[str, str] = {}

    def tried(name: str, law: Callable[[], Law]) -> Law | None:
        try:
            return law()
        except InsufficientData as error:
            refusals[name] = str(error)
            return None

    if runs.refusal:
        refusals = dict.fromkeys(("L(N, D)", "IsoFLOP", "envelope"), runs.refusal)
        return Scaling(runs.name, runs, None, None, None, (), None, refusals, warnings(runs, None, None, None))
    largest = float(runs.flops.max())
    refits = tried("L(N, D)", lambda: _refit(runs, resamples))
    law = None if refits is None else parametric(runs, (largest, BEYOND * largest), refits)
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
        warnings(runs, law, profiles, front),
        refits,
        front,
    )


def why_none(fits: Sequence[Scaling]) -> str:
    """Why nothing could be fitted to any group, each reason once, the first few."""
    reasons = list(dict.fromkeys(next(iter(found.refusals.values())) for found in fits))
    if not reasons:
        return "it has no runs"
    groups = f"none of its {len(fits)} groups can be fitted: " if len(fits) > 1 else ""
    return groups + shortened(reasons, "; ")


def _refit(runs: Runs, resamples: int) -> Refits:
    refuse_narrow(runs)
    return refit(runs, resamples)
