"""Two families in one measure: how far apart they are, and whether what was measured lets one say so.

Quantities that are positive are compared by their ratio, KID and shares, which may be 0 or less, by the difference. The
interval is Student's over the seeds that both ran with, since two runs of one seed see the same images in the same
order with the same noise. Without three such seeds there is none, of a rate neither: the scatter within one process
does not hold what differs between processes (two hours of one machine gave 1.99x to 2.13x, then 1.18x to 1.47x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from pdebench.data.nouns import IMAGES, Noun
from pdebench.report import formatting
from pdebench.report.comparisons import Comparison, Contender
from pdebench.report.differences import EVALUATION, SAMPLED, SPENT, STEP, differences
from pdebench.report.frame import FLOOR, SEED, measured, noun_of, scores_in
from pdebench.stats.paired import paired

ONE_SEED = "one seed"

_FARTHEST = 700.0  # a distance whose exponential is still a float


@dataclass(frozen=True)
class Measure:
    """What a comparison is about, and how its numbers read."""

    column: str
    title: str
    lower: bool
    kind: str  # loss | score | signed | rate | memory
    noun: Noun = IMAGES  # what a rate is of

    def show(self, value: float) -> str:
        """One value, with its unit."""
        if formatting.missing(value):
            return formatting.MISSING
        if self.kind == "memory":
            return formatting.size(value)
        return f"{formatting.number(value, 3)} {self.unit}" if self.kind == "rate" else formatting.number(value)

    @property
    def unit(self) -> str:
        """Of `bare`, empty where there is none."""
        return {"memory": "MiB", "rate": self.noun.rate}.get(self.kind, "")

    def bare(self, value: float) -> str:
        """One value for a column whose heading has the unit."""
        return formatting.number(value / 2**20 if self.kind == "memory" else value, 3 if self.unit else 4)

    def change(self, distance: float) -> str:
        """A distance (see `compare`) in words, as of the worse from the better: `+5.8%`, `1.32×`, `+0.0031`.

        Where higher is better the worse has less, `−5.8%`; a rate is told as how much faster the better is.
        """
        if not self.lower and self.kind != "rate":
            distance = -distance
        if self.kind == "signed":
            return ("+" if distance > 0 else "") + formatting.number(distance)
        ratio = math.exp(distance) if distance < _FARTHEST else math.inf  # a wild interval of two seeds
        return formatting.times(ratio) if self.kind == "rate" else formatting.percent(ratio)


@dataclass(frozen=True)
class PairwiseComparison:
    """How far the worse of two is from the better.

    Attributes:
        gap: the distance between the medians, in words; empty where one of them is not positive.
        basis: what it stands on, in words.
        apart: whether the whole interval says that the better is the better; None where there is no interval.
    """

    gap: str
    basis: str
    apart: bool | None


def measures(done: pd.DataFrame) -> list[Measure]:
    """What was measured in this table, in the order in which it is told."""
    noun = noun_of(done)
    known = [Measure("val_loss", "Validation loss", True, "loss")]
    known += [
        Measure(score.column, score.title, not score.higher_is_better, "signed" if score.by_difference else "score")
        for score in scores_in(done)
    ]
    known += [
        Measure("train_images_per_s", "Training throughput", False, "rate", noun),
        Measure("sample_images_per_s", "Sampling throughput", False, "rate", noun),
        Measure("classify_images_per_s", "Inference throughput", False, "rate", noun),
        Measure("peak_memory_bytes", "Peak memory", True, "memory"),
    ]
    present = set(measured(done, [measure.column for measure in known]))
    return [measure for measure in known if measure.column in present]


def compare(measure: Measure, better: Contender, worse: Contender) -> PairwiseComparison:
    """Two entries of a comparison, of which the first is the better one by the medians.

    A distance is log(worse / better), or log(better / worse) where higher is better; of what may be 0 or less it is the
    difference: positive where the medians are told right.
    """
    gap = _gap(measure, better.median(measure.column), worse.median(measure.column))
    theirs, ours = by_seed(measure, better), by_seed(measure, worse)
    over = paired(ours, theirs)
    if over is not None and over.low is not None and over.high is not None:
        return _verdict(gap, _over_seeds(measure, over.pairs, over.mean, over.low, over.high), over.low, over.high)
    of = seeds([better, worse], measure.column)
    timed = ", timed within one process" if measure.kind == "rate" and of == ONE_SEED else ""
    return PairwiseComparison(gap, f"{of}{timed}: no interval", None)


def _over_seeds(measure: Measure, pairs: int, mean: float, low: float, high: float) -> str:
    told, ends = f"over {pairs} seeds {measure.change(mean)}", [measure.change(end) for end in (low, high)]
    if ends[0] == ends[1]:  # to the digits shown; memory is often the same in every run
        return f"{told} in each"
    return f"{told}, 95% interval {ends[0]} to {ends[1]}"


def _verdict(gap: str, told: str, low: float, high: float) -> PairwiseComparison:
    if low > 0:
        return PairwiseComparison(gap, told, True)
    doubt = "not distinguishable" if high >= 0 else "the seeds in pairs say the opposite of the medians"
    return PairwiseComparison(gap, f"{told}: {doubt}", False)


def _gap(measure: Measure, better: float, worse: float) -> str:
    if measure.kind == "signed" or better <= 0 or worse <= 0:
        return ""
    return formatting.times(better / worse) if measure.kind == "rate" else formatting.percent(worse / better)


def by_seed(measure: Measure, entry: Contender) -> dict[float, float]:
    """One number a seed on the scale that distances are taken on, so that worse less better is positive."""
    found: dict[float, list[float]] = {}
    rows = entry.of(measure.column)
    for seed, value in zip(rows[SEED], rows[measure.column], strict=True):
        if not (math.isnan(seed) or math.isnan(value)):
            found.setdefault(seed, []).append(value)
    means = {seed: sum(values) / len(values) for seed, values in found.items()}
    sign = 1.0 if measure.lower else -1.0
    if measure.kind == "signed":
        return {seed: sign * mean for seed, mean in means.items()}
    return {seed: sign * math.log(mean) for seed, mean in means.items() if mean > 0}


def conditions(measure: Measure, comparison: Comparison) -> tuple[str, ...]:
    """The columns in which rows must be the same for this measure of them to be compared.

    At equal FLOPs the losses choose a size for each family, and what two sizes cost says nothing of their families.
    """
    size = ("model.size",) if comparison.flops and measure.kind in ("rate", "memory") else ()
    return (*size, *_conditions(measure))


def _conditions(measure: Measure) -> tuple[str, ...]:
    if measure.kind in ("score", "signed"):
        return (*SAMPLED, SPENT)
    if measure.column == "sample_images_per_s":
        return (*EVALUATION, SPENT)
    if measure.column == "classify_images_per_s":
        return EVALUATION
    if measure.kind == "memory":
        return (*STEP, "peak_memory_kind")
    return STEP if measure.kind == "rate" else ()


def seeds(entries: list[Contender], column: str) -> str:
    """`one seed`, `median of 2 seeds`: what the numbers shown are."""
    counts = sorted({len(entry.values(column)) for entry in entries})
    if counts == [1]:
        return ONE_SEED
    return f"median of {formatting.listed([str(count) for count in counts])} seeds"


@dataclass(frozen=True)
class Ranking:
    """The families of a comparison in one measure, the best first; `reason` says why they must not be compared."""

    measure: Measure
    comparison: Comparison
    entries: list[Contender]
    reason: str

    @property
    def compared(self) -> bool:
        """Whether there are two that may be compared."""
        return len(self.entries) > 1 and not self.reason

    @property
    def leaders(self) -> list[str]:
        """The families with the best median, where there is a comparison."""
        column = self.measure.column
        best = self.entries[0].median(column) if self.compared else float("nan")
        return [entry.family for entry in self.entries if entry.median(column) == best]

    @cached_property
    def ahead(self) -> str:
        """The family that leads: its interval to each of the others excludes no difference. Empty where none does."""
        if not self.compared:
            return ""
        best, *others = self.entries
        return best.family if all(compare(self.measure, best, other).apart for other in others) else ""

    def verdict(self, family: str) -> Verdict | None:
        """How a family stands to the best of the others; None where it is not compared."""
        mine = next((entry for entry in self.entries if entry.family == family), None)
        if mine is None or not self.compared:
            return None
        column, other = self.measure.column, next(entry for entry in self.entries if entry.family != family)
        if mine.median(column) == other.median(column):
            return Verdict(self, None, None)
        ahead = self.entries[0].family == family
        return Verdict(self, ahead, compare(self.measure, *((mine, other) if ahead else (other, mine))).apart)


@dataclass(frozen=True)
class Verdict:
    """How a family stands to the best of the others in a ranking.

    Attributes:
        better: by the medians; None where they are equal.
        apart: whether an interval says so; None where there is none.
    """

    ranking: Ranking
    better: bool | None
    apart: bool | None


def rank(measure: Measure, comparison: Comparison) -> Ranking:
    """The ranking of a comparison in one measure; what mixes nothing is the floor of a cost, and no rival in it."""
    entries = comparison.ranking(measure.column, lower=measure.lower)
    if measure.kind in ("rate", "memory"):
        entries = [entry for entry in entries if entry.family != FLOOR] or entries
    return Ranking(
        measure, comparison, entries, _incomparable(measure, comparison, entries) if len(entries) > 1 else ""
    )


def _incomparable(measure: Measure, comparison: Comparison, ranking: list[Contender]) -> str:
    """Why the entries must not be compared in this measure; empty where they may."""
    measured_in = {entry.family: entry.of(measure.column) for entry in ranking}
    rows = {family: one[one[measure.column].notna()] for family, one in measured_in.items()}
    found = {one.column: one for one in differences(rows, conditions(measure, comparison))}
    if "evaluate.nfe" in found:  # which says it already
        found.pop(SPENT, None)
    several = any(one["machine_fingerprint"].nunique() > 1 for one in rows.values())
    if "machine_fingerprint" in conditions(measure, comparison) and (several or "machine_fingerprint" in found):
        return "the cells ran on different machines"
    if "metric_samples" in found:
        counts = pd.concat(list(rows.values()))["metric_samples"].dropna().unique()
        return f"the sample counts differ ({formatting.listed([f'{count:,.0f}' for count in sorted(counts)])})"
    if "peak_memory_kind" in found:
        return "memory was measured in different ways"
    return f"they differ in {formatting.listed([str(one) for one in found.values()])}" if found else ""
