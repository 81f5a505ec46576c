"""Predictions of a budget that nobody has run yet, sealed in a file, and what came of them.

A prediction is worth something if it was made before. So the file says when and by which code it was made, of which
rows, by their digests, and has a checksum of itself; it is made only of budgets beyond all that ran, and it is held
against a table only where the rows that it was made from stand there unchanged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from pdebench.errors import ResultsError, TableError, refused_by_system
from pdebench.files import disk
from pdebench.files.seal import CHECKSUM, unsealed
from pdebench.results.store import write_json
from pdebench.stats.bootstrap import Interval, interval
from pdebench.stats.digits import short
from pdebench.stats.holdout import by_both_forms, predicted
from pdebench.stats.left_out import shortened
from pdebench.stats.parametric import PARAMETERS, optimum
from pdebench.stats.plain import plain_json
from pdebench.stats.power_law import choose
from pdebench.stats.power_sum import Array
from pdebench.stats.runs import SAME_BUDGET, Columns, Runs
from pdebench.stats.scaling import Scaling
from pdebench.system.machine import own_version, revision

FILES = "sealed_prediction*.json"
"""Names under which the report looks for such files in a results folder."""

DEFAULT = "sealed_prediction.json"
LARGEST = 16 * 2**20  # bytes
BY_LAW = "L(N, D) of all runs, its refits by bootstrap over runs and the scatter of runs around it"
BY_ENVELOPE = "the power law of the best of each budget, with a floor and without, its refits by bootstrap over runs"
_DIGITS = 16
_SAME_SIZE = 1.02


@dataclass(frozen=True)
class OfSize:
    """What one run of a size is predicted to reach."""

    n: float
    d: float
    loss: Interval


@dataclass(frozen=True)
class OfBudget:
    """What is predicted of one budget.

    Attributes:
        flops: the budget.
        loss: the least among the sizes that ran before, each run once.
        n: the best size of all, ran or not; None where the method tells none.
        sizes: each of those that ran before.
    """

    flops: float
    loss: Interval
    n: Interval | None
    sizes: tuple[OfSize, ...]


@dataclass(frozen=True)
class OfFamily:
    """What is predicted of one group, and of which rows.

    Attributes:
        group: its name.
        method: in words; empty where `refusal` says why nothing is predicted.
        runs: that it was made from.
        largest: their largest budget, FLOPs.
        rows: digests of their rows.
        digest: of all of these.
        budgets: ascending.
        refusal: why there are none.
    """

    group: str
    method: str
    runs: int
    largest: float
    rows: tuple[str, ...]
    digest: str
    budgets: tuple[OfBudget, ...]
    refusal: str = ""


@dataclass(frozen=True)
class SealedPrediction:
    """Everything that is in the file.

    Attributes:
        made_at: when, UTC.
        revision: the commit of the code; None where it is no checkout.
        dirty: whether that was changed since the commit.
        version: of pdebench.
        columns: of the table.
        families: one a group.
    """

    made_at: str
    revision: str | None
    dirty: bool | None
    version: str
    columns: Columns
    families: tuple[OfFamily, ...]


@dataclass(frozen=True)
class Outcome:
    """One budget of one group: what was predicted, and what came.

    Attributes:
        group: its name.
        flops: the budget.
        predicted: the least loss.
        observed: the least of the sizes' means, of those that were predicted where any were; None: none has run.
        n: the size that had it.
        sizes: n, what was predicted of it, and the mean that its runs had.
        early: runs of it that had ended before the prediction was made.
    """

    group: str
    flops: float
    predicted: Interval
    observed: float | None
    n: float | None
    sizes: tuple[tuple[float, Interval, float], ...]
    early: int = 0

    @property
    def inside(self) -> bool | None:
        """Whether what came lies in the interval; None: nothing came yet."""
        return None if self.observed is None else self.observed in self.predicted

    @property
    def sizes_inside(self) -> int:
        """How many sizes' means lie in theirs."""
        return sum(mean in foretold for _, foretold, mean in self.sizes)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        sizes = [
            {"n": n, "predicted": asdict(foretold), "observed": mean, "inside": mean in foretold}
            for n, foretold, mean in self.sizes
        ]
        found = plain_json(asdict(self) | {"sizes": sizes, "inside": self.inside})
        assert isinstance(found, dict)
        return found


def predict(fits: Sequence[Scaling], columns: Columns, budgets: Sequence[float]) -> SealedPrediction:
    """Predict budgets for every group.

    Raises:
        TableError: a budget is infinite, or not beyond all that ran, or no group carries a law.
    """
    asked = sorted(set(budgets))
    largest = max((float(one.runs.flops.max()) for one in fits if one.runs.count), default=0.0)
    for flops in asked:
        if not np.isfinite(flops):
            raise TableError(f"--predict {short(flops, 6)}: that is no budget; give FLOPs, such as 3e16")
        if flops <= SAME_BUDGET * largest:
            raise TableError(
                f"--predict {short(flops, 6)}: runs of {short(largest, 3)} FLOPs are in the table, and only what lies "
                "beyond all of them is predicted; give a larger budget"
            )
    families = tuple(_of_family(one, asked) for one in fits if one.runs.count)
    if all(one.refusal for one in families):
        raise TableError(f"nothing can be predicted: {shortened([one.refusal for one in families], '; ')}")
    code = revision()
    return SealedPrediction(
        datetime.now(UTC).isoformat(timespec="seconds"),
        code["git_commit"],
        code["git_dirty"],
        own_version(),
        columns,
        families,
    )


def as_data(prediction: SealedPrediction) -> dict[str, Any]:
    """What the file holds, without its checksum."""
    return asdict(prediction)


def write(prediction: SealedPrediction, path: Path) -> None:
    """Write the file; one that is there stays.

    Raises:
        ResultsError: a file is there, or it cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise ResultsError(f"{path} is there, and what was sealed is not replaced; name another file with --out")
    write_json(path, plain_json(as_data(prediction)))


def read(path: Path, *, follow: bool = False) -> SealedPrediction:
    """Read the file; one behind a link only where the user named it.

    Raises:
        ResultsError: it is not there, no sealed prediction, or not what was written.
    """
    try:
        found = json.loads(disk.read_plain(path, LARGEST, follow=follow), parse_constant=_refuse_constant)
        if not isinstance(found, dict) or CHECKSUM not in found:
            raise ValueError("it has no checksum")
        prediction = TypeAdapter(SealedPrediction).validate_python(unsealed(found))
        if any(budget.flops <= 0 for family in prediction.families for budget in family.budgets):
            raise ValueError("it has a budget of no FLOPs")
        return prediction
    except FileNotFoundError:
        raise ResultsError(f"there is no sealed prediction {path}; `--predict FLOPS` makes one") from None
    except (OSError, ValidationError, ValueError, RecursionError) as error:
        if why := refused_by_system(error):
            raise ResultsError(f"cannot read {path}: {why}") from None
        why = (
            "its keys are others"
            if isinstance(error, ValidationError)
            else str(error).splitlines()[0].partition(" (")[0]
        )
        raise ResultsError(f"{path} is no sealed prediction as it was written: {why}") from None


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no number")


def check(
    prediction: SealedPrediction, groups: Sequence[Runs], ended: Mapping[str, str] | None = None
) -> list[Outcome]:
    """Hold a prediction against the runs of a table.

    Args:
        prediction: of the same groups.
        groups: of the table now.
        ended: when the run of each place ended, ISO 8601, where that is known.

    Raises:
        TableError: rows that it was made from are not there any more, or are others, or have a budget that was
            predicted of them.
    """
    now = {one.name: one for one in groups}
    found = []
    for family in prediction.families:
        if family.refusal:
            continue
        runs = now.get(family.group)
        if runs is None:
            known = shortened(sorted(now)) or "none"
            raise TableError(f"the prediction is of {family.group}, of which the table has no runs (it has {known})")
        before = _refuse_changed(family, runs)
        found += [
            _outcome(family.group, one, runs.only(~before), prediction.made_at, ended or {}) for one in family.budgets
        ]
    return found


def _of_family(one: Scaling, asked: Sequence[float]) -> OfFamily:
    runs, rows = one.runs, tuple(digests(one.runs))
    method, refusal = "", ""
    budgets: tuple[OfBudget, ...] = ()
    if one.refits is not None:
        method, budgets = BY_LAW, tuple(_by_law(one, flops) for flops in asked)
    elif one.front is not None:
        floor = choose(one.front)[0]
        told = tuple(OfBudget(flops, by_both_forms(one.front, flops, floor), None, ()) for flops in asked)
        method, budgets = BY_ENVELOPE, told
    else:
        refusal = next(iter(one.refusals.values()), "no law was fitted")
    digest = hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()
    return OfFamily(one.group, method, runs.count, float(runs.flops.max()), rows, digest, budgets, refusal)


def _by_law(one: Scaling, flops: float) -> OfBudget:
    runs, found = one.runs, one.refits
    assert found is not None
    n = runs.sizes
    factor = np.array([np.median(runs.flops[runs.n == size] / (size * runs.d[runs.n == size])) for size in n])
    d = flops / (factor * n)
    theta = np.vstack([found.theta, found.refits])
    lines = found.law.predict(theta, np.log([n, d]))  # (1 + R, sizes)
    sizes = tuple(
        OfSize(float(n[at]), float(d[at]), predicted(lines[:, at], found.residuals, 1, runs.count, PARAMETERS))
        for at in range(len(n))
    )
    best = optimum(found.law, theta, flops / runs.factor)
    told = interval(float(best[0]), best[1:], runs=runs.count, parameters=PARAMETERS)
    return OfBudget(flops, _least(lines, found.residuals, runs.count), told, sizes)


def _least(lines: Array, residuals: Array, runs: int) -> Interval:
    """The least loss of several sizes, each run once: below the least of their laws, since the luckiest is taken."""
    grown = np.sqrt(len(residuals) / max(1, len(residuals) - PARAMETERS))
    scatter = grown * np.random.default_rng(0).choice(residuals, size=(len(lines) - 1, lines.shape[1]))
    value = float(np.exp(np.median((lines[:1] + scatter).min(axis=1))))
    return interval(value, np.exp((lines[1:] + scatter).min(axis=1)), runs=runs, parameters=PARAMETERS)


def digests(runs: Runs) -> list[str]:
    """One of each row, of the numbers that a law is fitted to."""
    told = (
        " ".join(f"{value:.12g}" for value in row) for row in zip(runs.n, runs.d, runs.flops, runs.loss, strict=True)
    )
    return [hashlib.sha256(text.encode()).hexdigest()[:_DIGITS] for text in told]


def _refuse_changed(family: OfFamily, runs: Runs) -> np.ndarray:
    """Which rows the prediction was made from."""
    known = set(family.rows)
    own = digests(runs)
    lost = known - set(own)
    if lost:
        raise TableError(
            f"{len(lost)} of the {len(known)} rows of {family.group} that the prediction was made from are not there "
            "any more, or have other numbers: it says nothing of this table; make another of a budget that has not run"
        )
    before = np.array([digest in known for digest in own], dtype=bool)
    for budget in family.budgets:
        if (runs.flops[before] * SAME_BUDGET >= budget.flops).any():
            raise TableError(
                f"the rows that the prediction of {family.group} was made from hold {short(budget.flops, 3)} FLOPs: "
                "it was not made before that budget ran"
            )
    return before


def _outcome(group: str, budget: OfBudget, runs: Runs, made_at: str, ended: Mapping[str, str]) -> Outcome:
    """What came of one budget, among the rows that came later; where sizes were predicted, of no other size."""
    chosen = np.abs(np.log(runs.flops / budget.flops)) <= np.log(SAME_BUDGET)
    if budget.sizes:
        apart = np.abs(np.log(runs.n[:, None] / np.array([one.n for one in budget.sizes])))
        chosen &= apart.min(axis=1) <= np.log(_SAME_SIZE)
    if not chosen.any():
        return Outcome(group, budget.flops, budget.loss, None, None, ())
    here = runs.only(chosen)
    means = {float(n): float(np.exp(np.log(here.loss[here.n == n]).mean())) for n in here.sizes}
    best = min(means, key=lambda n: means[n])
    sizes = []
    for foretold in budget.sizes:
        near = [n for n in means if max(n / foretold.n, foretold.n / n) <= _SAME_SIZE]
        if near:
            sizes.append((foretold.n, foretold.loss, means[min(near, key=lambda n: abs(n - foretold.n))]))
    made = _moment(made_at)
    early = sum(1 for place in here.places if (when := _moment(ended.get(place, ""))) and made and when < made)
    return Outcome(group, budget.flops, budget.loss, means[best], best, tuple(sizes), early)


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
