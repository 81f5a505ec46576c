"""What an ablation compares: the settings of one family's own options that ran with all else equal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from pdebench.models.settings import OptionSetting, options_of, setting_of
from pdebench.report.budgets import Budget, budgets
from pdebench.report.comparisons import best_entry
from pdebench.report.differences import LEARNT, beside, differences
from pdebench.report.frame import (
    DIMENSIONS,
    SEED,
    WHICH_SET,
    families_in,
    finished,
    named,
    plain_config,
    records,
    settings_of,
)
from pdebench.stats.paired import PairedDifference, paired


@dataclass(frozen=True)
class Arm:
    """The rows of one setting of the family under study, or those of another family.

    Attributes:
        setting: None for another family.
        detail: what there is to say of another family's setting.
    """

    family: str
    setting: OptionSetting | None
    rows: pd.DataFrame
    detail: str = ""

    @cached_property
    def done(self) -> pd.DataFrame:
        """The rows that finished."""
        return finished(self.rows)

    @cached_property
    def losses(self) -> dict[float, float]:
        """Validation loss by seed; cells of one seed that differ only in how they were evaluated are one."""
        known = self.done.dropna(subset=["val_loss", SEED])
        return {float(seed): float(rows["val_loss"].mean()) for seed, rows in known.groupby(SEED)}  # type: ignore[arg-type]

    @property
    def loss(self) -> float:
        """Median of the validation loss; NaN where none was measured."""
        return float(self.done["val_loss"].median())

    @property
    def failed(self) -> str:
        """What became of the cells that did not finish: `1 diverged, 1 oom`."""
        counts = self.rows.loc[self.rows["status"] != "done", "status"].fillna("no status").value_counts()
        return ", ".join(f"{count} {status}" for status, count in sorted(counts.items(), key=lambda item: str(item[0])))

    def step(self, machine: str) -> float:
        """Median milliseconds of a training step on one machine."""
        return float(self.done.loc[machine_of(self.done) == machine, "train_step_ms_median"].median())


@dataclass(frozen=True)
class Ablation:
    """Runs that differ in the family's own options and the seed only, then other families of the same budget.

    Attributes:
        title: `PDE-SSM-DiT-XXS/4 at 32 px`.
        arms: in the order of the design.
    """

    title: str
    arms: list[Arm]
    references: list[Arm]

    @cached_property
    def default(self) -> Arm | None:
        """The arm in which every option has its default, if it ran."""
        return next((arm for arm in self.arms if arm.setting is not None and not arm.setting.changes), None)

    def difference(self, arm: Arm) -> PairedDifference | None:
        """The arm's loss less the default's; None for the default itself."""
        if self.default is None or arm is self.default:
            return None
        return paired(arm.losses, self.default.losses)

    @cached_property
    def machine(self) -> str:
        """Where most of the default's cells ran, or most of all where it has none; empty where that is not known."""
        arms = [self.default] if self.default and len(self.default.done) else self.arms
        counts = machine_of(pd.concat([arm.done for arm in arms])).value_counts()
        return min((-count, str(machine)) for machine, count in counts.items())[1] if len(counts) else ""

    @cached_property
    def places(self) -> int:
        """Decimal places that show four digits of the loss."""
        sizes = [abs(arm.loss) for arm in [self.default, *self.arms] if arm and abs(arm.loss) > 0]  # no NaN
        return max(0, 3 - math.floor(math.log10(sizes[0]))) if sizes else 4

    def signed(self, value: float) -> str:
        """A difference with its sign: `+0.0120`."""
        return f"{value:+.{self.places}f}".replace("-", "−")

    def interval(self, difference: PairedDifference) -> str:
        """`+0.0080 to +0.0160`; empty where there is none."""
        if difference.low is None or difference.high is None:
            return ""
        return f"{self.signed(difference.low)} to {self.signed(difference.high)}"


def ablations(table: pd.DataFrame) -> list[Ablation]:
    """Every ablation in a frame (see `frame.make_frame`); none where no family's own options varied."""
    if table.empty:
        return []
    varied = []
    for family in families_in(table):
        own = table[table["model.family"] == family]
        setting = pd.Series([str(one) for one in settings_of(own)], index=own.index)
        if setting.nunique() > 1:
            varied.append((family, own, setting))
    if not varied:
        return []
    config = plain_config(table)
    parts = budgets(table)
    found = []
    for family, own, setting in varied:
        options = {f"model.{option.name}" for option in options_of(family)} & set(config)
        same = _same(config.loc[own.index], options)
        groups = [one for part in parts for one in _groups(part, family, config, same)]
        groups = [one for one in groups if setting[one.rows.index].nunique() > 1]
        told = [name for name in same if len({config.loc[one.first, name] for one in groups}) > 1]
        if any(one.budget.flops for one in groups):
            told = [name for name in told if name != _STEPS]
        for one in sorted(groups, key=lambda one: [_by_size(config.loc[one.first, name]) for name in told]):
            arms = [(setting_of(family, records(rows)[0]), rows) for _, rows in one.rows.groupby(setting)]
            arms.sort(key=lambda arm: arm[0].rank())
            there = one.budget.rows
            others = [_reference(name, there, one.rows) for name in families_in(there) if name != family]
            title = ", ".join(filter(None, [_title(family, config.loc[one.first], told), one.budget.flops]))
            found.append(Ablation(title, [Arm(family, *arm) for arm in arms], others))
    return found


_STEPS = "train.steps"


@dataclass(frozen=True)
class _Arms:
    """Runs of one family that differ in its own options and the seed, and the rows of the budget that they share."""

    budget: Budget
    rows: pd.DataFrame

    @property
    def first(self) -> Any:
        """The index of one of its rows."""
        return self.rows.index[0]


def _same(config: pd.DataFrame, options: set[str]) -> list[str]:
    """The keys that are the same within an ablation of a family with these options, by the rows of the family."""
    columns = [str(name) for name in config]
    # an evaluation does not change a loss; what a size, the options or a matched cost resolve to is no choice
    apart = {*options, *DIMENSIONS, SEED, *(name for name in columns if name.startswith("evaluate."))}
    apart |= set(WHICH_SET)
    same = [name for name in columns if name not in apart]
    for name in DIMENSIONS:
        if _chosen(config, [*same, *options], name):
            same.append(name)
    return same


def _groups(budget: Budget, family: str, config: pd.DataFrame, same: Sequence[str]) -> list[_Arms]:
    """At equal FLOPs options that cost more take fewer steps."""
    rows = budget.rows[budget.rows["model.family"] == family]
    keys = [config.loc[rows.index, name] for name in same if not (budget.flops and name == _STEPS)]
    return [_Arms(budget, part) for _, part in rows.groupby(keys, sort=False)]


def _chosen(config: pd.DataFrame, rest: Sequence[str], name: str) -> bool:
    """Whether a suite chose a dimension: rows that are the same in all the rest differ in it."""
    return bool((config[name].groupby([config[other] for other in rest]).nunique() > 1).any())


def _by_size(text: str) -> tuple[float, str]:
    """Sorts numbers by their size, before all else by its letters."""
    number = pd.to_numeric(text, errors="coerce")
    return (math.inf if math.isnan(number) else float(number), text)


def _reference(family: str, table: pd.DataFrame, studied: pd.DataFrame) -> Arm:
    """Another family at its best setting, with what it trained with that the family under study did not."""
    rows = table[table["model.family"] == family]
    done = finished(rows)
    if done.empty:
        return Arm(family, None, rows)
    best = best_entry(family, done)
    unlike = beside(differences({"here": best.rows, "there": studied}, LEARNT), "here")
    detail = replace(best, beside=unlike).told + (f" (best of {best.tried})" if best.tried > 1 else "")
    return Arm(family, None, rows[rows["trained"] == best.trained], detail)


def _title(family: str, config: pd.Series, told: Sequence[str]) -> str:
    """`PDE-SSM-DiT-XXS/4 at 32 px`, with what tells it from the other tables of the page."""
    said = ("model.size", "model.patch", "data.resolution")
    size, patch, side = (str(config[key]) for key in said)
    name = family + (f"-{size}" if size else "") + (f"/{patch}" if patch else "") + (f" at {side} px" if side else "")
    parts = [str(config[key]) if key == "data.name" else named(key, config[key]) for key in told if key not in said]
    return ", ".join([name, *parts])


def machine_of(rows: pd.DataFrame) -> pd.Series:
    """The machine of each row, empty where it is not known."""
    return rows["machine_fingerprint"].fillna("")
