"""The rows that laws are fitted to: one family's runs, checked and typed, from a table with named columns.

No row goes unsaid: those that are left out, and those that repeat others, are kept by the name of their place.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pdebench.errors import TableError, did_you_mean
from pdebench.stats.alike import differing
from pdebench.stats.bootstrap import RESAMPLES, resamples
from pdebench.stats.cells import ELSEWHERE, UNTRAINED, is_results, states
from pdebench.stats.csv_text import LINE
from pdebench.stats.derived import averages, rounded
from pdebench.stats.digits import decimals
from pdebench.stats.groups import names_of, plain
from pdebench.stats.labels import Labels, conditions_of, labels_of, seed_of
from pdebench.stats.left_out import MOST_LEFT_OUT, Left, Repeat, refusal, shortened
from pdebench.stats.numbers import numbers_of
from pdebench.stats.power_sum import Array
from pdebench.stats.suspects import Suspects, suspects
from pdebench.stats.trajectories import checkpoints
from pdebench.stats.units import other_factor, refuse_counts, refuse_mixed, shared_unit

FACTOR = 6.0
"""FLOPs for each parameter and token of a dense model's training: C = 6 N D (arXiv 2001.08361)."""

_LEAST, _MOST = 1e-100, 1e100  # of a number that a law may be fitted to: its square is one, too
_DIGITS = 5  # of a loss, from which on two seeds do not have the same by chance

SAME_BUDGET = 1.12
"""Budgets this near to each other are one: whole steps keep a cell within 5% of what it was given."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what.

    Attributes:
        n: parameters.
        loss: what falls: a loss or a distance, positive.
        d: images (or tokens) seen; none: C / (factor N).
        flops: training FLOPs; none: factor N D.
        run: which run a row is of, where runs have several rows; none: each row is a run.
        group: columns that tell apart what is fitted apart, such as the family.
        factor: C / (N D), where one of the two is missing.
    """

    n: str
    loss: str
    d: str | None = None
    flops: str | None = None
    run: str | None = None
    group: tuple[str, ...] = ()
    factor: float = FACTOR

    @property
    def counts(self) -> list[str]:
        """Those of parameters and of images."""
        return [self.n] if self.d is None else [self.n, self.d]


@dataclass(frozen=True)
class Runs:
    """One group's rows.

    Attributes:
        name: of the group; empty where all rows are one.
        n: parameters, (rows,).
        d: images or tokens seen.
        flops: of the training.
        loss: positive.
        run: which run each row is of, 0 and on.
        factor: C / (N D), the median.
        places: what a person calls each row: `line 3`.
        left_out: rows without a number that a law can use, or of no run.
        repeated: rows that have all numbers of another, and are that run once more.
        unfinished: cells of a results folder that are no runs, by their status.
        remarks: what a reader has to know of these rows.
        conditions: what two groups have to share for a comparison of them to mean something, such as the data.
        labels: the seed, the size and the learning rate of each row, as the table writes them.
        cell: which cell of the design each run stands in, among all that the table's groups have; see `paired_cells`.
        cells: how many these are; 0: the group stands alone.
    """

    name: str
    n: Array
    d: Array
    flops: Array
    loss: Array
    run: NDArray[np.int64]
    factor: float = field(default=FACTOR)
    places: tuple[str, ...] = ()
    left_out: tuple[Left, ...] = ()
    repeated: tuple[Repeat, ...] = ()
    unfinished: dict[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    conditions: str = ""
    labels: Labels = field(default_factory=Labels)
    cell: NDArray[np.int64] | None = None
    cells: int = 0

    @property
    def count(self) -> int:
        """Runs, the unit of every interval."""
        return int(self.run.max()) + 1 if len(self.run) else 0

    @property
    def rows(self) -> int:
        """Rows that are there, those that repeat others not counted."""
        return len(self.n) + len(self.left_out)

    @property
    def refusal(self) -> str:
        """Why no law of these rows is believed; empty where nothing speaks against one."""
        return refusal(len(self.n), self.left_out, self.unfinished)

    @property
    def sizes(self) -> Array:
        """The distinct numbers of parameters."""
        return np.unique(self.n)

    @property
    def budget(self) -> NDArray[np.int64]:
        """Which budget each row is of, 0 the smallest."""
        return budgets(self.flops)

    def resamples(self, count: int = RESAMPLES) -> Array:
        """How often each row is drawn in each resample of the runs, (count, rows), in step with the other groups."""
        return resamples(self.run, count, cell=self.cell, cells=self.cells)

    def only(self, chosen: NDArray[np.bool_]) -> Runs:
        """Some of the rows; runs are numbered anew."""
        kept, run = np.unique(self.run[chosen], return_inverse=True)
        n, d, flops, loss = (values[chosen] for values in (self.n, self.d, self.flops, self.loss))
        places = tuple(place for place, there in zip(self.places, chosen, strict=False) if there)
        cell = None if self.cell is None else self.cell[kept]
        labels = self.labels.only(chosen)
        return replace(
            self, n=n, d=d, flops=flops, loss=loss, run=run.astype(np.int64), places=places, labels=labels, cell=cell
        )


def budgets(flops: Array, same: float = SAME_BUDGET) -> NDArray[np.int64]:
    """Which budget each of some FLOPs is of, 0 the smallest; one reaches `same` times its least."""
    order = np.argsort(flops, kind="stable")
    place, first, index = np.zeros(len(order), dtype=np.int64), 0.0, -1
    for row in order:
        if index < 0 or flops[row] > same * first:
            index, first = index + 1, float(flops[row])
        place[row] = index
    return place


def runs_of(table: pd.DataFrame, columns: Columns) -> list[Runs]:
    """The table's rows by group, in the order in which groups first appear.

    Raises:
        TableError: a column that is not there or there twice, a cell of it that holds no number but something else or
            one in another unit than others, or neither images nor FLOPs are named.
    """
    used = _used(table, columns)
    cells = is_results(table)
    places = _places(table, cells)
    numbers = numbers_of(table, used, places)
    refuse_mixed(numbers, columns.counts, columns.flops, places)
    refuse_counts(columns.loss, numbers[columns.loss].to_numpy(), places)
    rows = _Rows(
        table=table,
        columns=columns,
        numbers=numbers,
        runs=pd.Series(range(len(table)) if columns.run is None else [plain(run) for run in table[columns.run]]),
        places=places,
        states=states(table).tolist() if cells else [""] * len(table),
        odd=Suspects({}, {}) if cells else suspects(table, columns.run, used),
    )
    names = names_of(table, columns.group).to_numpy()
    found = []
    for name in dict.fromkeys(names):
        own = np.flatnonzero(names == name)
        if not {rows.states[row] for row in own.tolist()} <= {UNTRAINED, ELSEWHERE}:  # else it never had runs
            found.append(rows.group(str(name), own.tolist()))
    copied = {} if cells else _copied(found)  # cells that were evaluated in two ways have one loss
    return [replace(one, remarks=(*one.remarks, *_small(one, found), *copied.get(one.name, ()))) for one in found]


def _used(table: pd.DataFrame, columns: Columns) -> list[str]:
    """The columns of numbers, each once.

    Raises:
        TableError: what `runs_of` says of columns.
    """
    if columns.d is None and columns.flops is None:
        raise TableError("name the column of the images, or that of the training FLOPs (images are then C / 6N)")
    used = [name for name in (columns.n, columns.d, columns.flops, columns.loss) if name]
    for column in (*used, *filter(None, (columns.run, *columns.group))):
        if column not in table:
            raise TableError(f"there is no column '{column}'; {did_you_mean(column, map(str, table))}")
        if (many := list(table.columns).count(column)) > 1:
            raise TableError(f"there are {many} columns '{column}'; give each a name of its own")
    return list(dict.fromkeys(used))


def _places(table: pd.DataFrame, cells: bool) -> list[str]:
    """What a person calls each row: its line of a CSV, its cell, or its number."""
    if table.index.name == LINE:
        return [f"line {line}" for line in table.index]
    if cells:
        return [f"cell {cell}" for cell in table["cell"]]
    return [f"row {number}" for number in range(1, len(table) + 1)]


def _small(one: Runs, found: Sequence[Runs]) -> list[str]:
    """Whether a group is so small beside another that it may be none."""
    largest = max(found, key=lambda other: other.rows)
    if not one.count or one.rows > MOST_LEFT_OUT * largest.rows:
        return []
    rows = "1 row" if one.rows == 1 else f"{one.rows} rows"
    where = f" ({shortened(one.places)})" if one.places else ""
    return [
        f"{rows}{where}, and {largest.name} has {largest.rows}: it may be no run, or its name is written in two ways"
    ]


def _copied(found: Sequence[Runs]) -> dict[str, list[str]]:
    """By group, whether rows of it have all numbers of another's: two families have other parameters, or losses."""
    first: dict[tuple[float, ...], str] = {}
    copies: dict[tuple[str, str], list[str]] = {}
    for one in found:
        for place, row in zip(one.places, zip(one.n, one.d, one.loss, strict=True), strict=True):
            of = first.setdefault(tuple(map(float, row)), one.name)
            if of != one.name:
                copies.setdefault((one.name, of), []).append(place)
    told: dict[str, list[str]] = {}
    for (name, of), places in copies.items():
        if len(places) > 1:  # of losses with few digits two may be equal by chance
            told.setdefault(name, []).append(
                f"{len(places)} rows ({shortened(places)}) have the parameters, images and losses of rows of {of}: "
                "they may be copies under another name"
            )
    return told


@dataclass(frozen=True)
class _Rows:
    """All rows of a table and what is known of each, by position.

    Attributes:
        table: rows.
        columns: which of its columns hold what.
        numbers: the columns that laws are fitted to.
        runs: the name of each row's run, empty where it is missing.
        places: what a person calls each row.
        states: why a cell is no run, empty where it is one.
        odd: rows that may be no runs.
    """

    table: pd.DataFrame
    columns: Columns
    numbers: pd.DataFrame
    runs: pd.Series
    places: Sequence[str]
    states: Sequence[str]
    odd: Suspects

    def group(self, name: str, own: Sequence[int]) -> Runs:
        """The rows at some positions as one group."""
        values = self.numbers.to_numpy(dtype=float)
        kept: list[int] = []
        left: list[Left] = []
        repeated: list[Repeat] = []
        seen: dict[object, dict[str, int]] = {}
        for row in (row for row in own if self.states[row] == ""):
            why = self._fault(row, values[row])
            # Rows that are left out repeat each other only within a run: two runs may diverge at one point.
            key = (why, self.runs[row] or row, values[row].tobytes()) if why else tuple(values[row])
            alike, seed = seen.setdefault(key, {}), "" if why else self._seed(row)
            of = next((one for other, one in alike.items() if seed == other or "" in (seed, other)), None)
            if of is not None:
                repeated.append(Repeat(self.places[row], self.places[of]))
                continue
            alike[seed] = row
            if why:
                left.append(Left(self.places[row], why, row in self.odd.left))
            else:
                kept.append(row)
        kept = self._measured(kept, left, repeated)
        columns, chosen = self.columns, self.numbers.iloc[kept]
        n, loss = chosen[columns.n].to_numpy(), chosen[columns.loss].to_numpy()
        flops = chosen[columns.flops].to_numpy() if columns.flops else columns.factor * n * chosen[columns.d].to_numpy()
        d = chosen[columns.d].to_numpy() if columns.d else flops / (columns.factor * n)
        labels = labels_of(self.table, kept)
        return Runs(
            name,
            n,
            d,
            flops,
            loss,
            pd.factorize(self.runs.iloc[kept])[0].astype(np.int64),
            factor=float(np.median(flops / (n * d))) if kept else columns.factor,
            places=tuple(self.places[row] for row in kept),
            left_out=tuple(left),
            repeated=tuple(repeated),
            unfinished=dict(Counter(self.states[row] for row in own if self.states[row] not in ("", ELSEWHERE))),
            remarks=(*self._remarks(kept), *filter(None, self._of_design(n, d, flops, loss, labels))) if kept else (),
            conditions=conditions_of(self.table, columns.group, own[0]),
            labels=labels,
        )

    def _seed(self, row: int) -> str:
        """The row's seed, where losses have so few digits that two seeds' may be equal by chance; empty elsewhere."""
        if not self._coarse:
            return ""
        return seed_of(self.table, row)

    @cached_property
    def _coarse(self) -> bool:
        losses = self.numbers[self.columns.loss]
        known = losses[np.isfinite(losses) & (losses > 0)]
        return bool(np.median([decimals(one) + math.floor(math.log10(one)) + 1 for one in known]) < _DIGITS)

    def _measured(self, kept: list[int], left: list[Left], repeated: list[Repeat]) -> list[int]:
        """Those of some rows that were not computed from others of them; the others join those of their kind."""
        if is_results(self.table):
            return kept
        others = self.table.drop(columns=[*self.numbers, *self.columns.group])
        losses = self.numbers[self.columns.loss].to_numpy()
        keys = self.numbers.drop(columns=self.columns.loss).to_numpy()
        points: dict[bytes, list[int]] = {}
        for row in kept:
            points.setdefault(keys[row].tobytes(), []).append(row)
        copies = rounded(losses, list(points.values()), others)
        apart = [[row for row in rows if row not in copies] for rows in points.values()]
        means = averages(losses, apart, others)
        repeated += [Repeat(self.places[row], self.places[of], rounded=True) for row, of in sorted(copies.items())]
        left += [
            Left(self.places[row], f"{self.columns.loss} is the {what} of the other rows of its size and images", True)
            for row, what in sorted(means.items())
        ]
        return [row for row in kept if row not in copies and row not in means]

    def _fault(self, row: int, values: Array) -> str:
        """Why a row is left out, empty where it is not."""
        if row in self.odd.left:
            return self.odd.left[row]
        found = [f"{self.columns.run} is missing"] if self.runs[row] == "" else []
        for name, value in zip(self.numbers, values, strict=True):
            if not _LEAST <= value <= _MOST:
                found.append(f"{name} is {'missing' if np.isnan(value) else f'{value:g}'}")
        return ", ".join(found)

    def _of_design(self, n: Array, d: Array, flops: Array, loss: Array, labels: Labels) -> list[str]:
        """What rows of a table of somebody else's may be in place of runs, and their FLOPs in place of 6 N D."""
        columns = self.columns
        if is_results(self.table):
            return []
        told = checkpoints(n, d, flops, loss, labels.seed) if columns.run is None else ""
        given = columns.d is not None and columns.flops is not None
        return [told, *([other_factor(flops / (n * d), columns.factor)] if given else [])]

    def _remarks(self, kept: list[int]) -> list[str]:
        """What a reader has to know of some rows, beside their numbers."""
        columns, rows = self.columns, self.table.iloc[kept].reset_index(drop=True)
        runs = self.runs.iloc[kept].reset_index(drop=True)
        size = self.numbers[columns.n].iloc[kept].reset_index(drop=True)
        asked = {*map(str, self.numbers), *columns.group, columns.run or ""}
        counts = {name: self.numbers[name].iloc[kept].to_numpy() for name in columns.counts}
        found = [told for name, values in counts.items() if (told := shared_unit(name, values))]
        points = self.numbers[[columns.n, columns.d or columns.flops, columns.loss]].iloc[kept].reset_index(drop=True)
        found += differing(rows, None if columns.run is None else runs, points, asked, is_results(self.table))
        several = [str(run) for run, count in size.groupby(runs).nunique().items() if count > 1]
        if several:
            found.append(
                f"{len(several)} runs have rows of several sizes ({shortened(several)}), and a run has one: "
                f"'{columns.run}' may not be the column of the runs"
            )
        odd = [f"{self.places[row]} {self.odd.named[row]}" for row in kept if row in self.odd.named]
        if odd:
            found.append(f"{shortened(odd, '; ')}: take out what is no run")
        return found
