"""`python -m benchmarks.comparison_coverage`: how often intervals of compared scaling laws hold the truth.

Each draw is a table as the suite `reference` makes one: two families, five sizes at five budgets over two decades,
three seeds at the two cheapest budgets and one at the others. The second family's law is the first's but that it needs
1.5 times the images for any loss, so that it needs 1.5 times the compute at every loss and has the same exponents. The
noise of a run is its own, or in part that of its size, budget and seed, which both families have in common.

Beside the intervals it counts false alarms: draws in which any exponent, or the growth, is said to differ. And each
draw's sealed prediction, of three times its largest budget, is held against one run of each size there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.coverage import study_all
from pdebench.stats.bootstrap import Interval
from pdebench.stats.comparison import comparisons
from pdebench.stats.labels import Labels
from pdebench.stats.paired_cells import paired
from pdebench.stats.parametric import refit
from pdebench.stats.power_law import envelope
from pdebench.stats.power_sum import Array
from pdebench.stats.runs import FACTOR, Columns, Runs
from pdebench.stats.scaling import Scaling
from pdebench.stats.sealed import predict

E, A, B, ALPHA, BETA = 0.2, 60.0, 25.0, 0.42, 0.40
TIMES = 1.5
SIZES, BUDGETS, SEEDS = np.geomspace(2.5e6, 2.5e8, 5), np.geomspace(1e14, 1e16, 5), (3, 3, 1, 1, 1)
NEXT = 3e16


@dataclass(frozen=True)
class PairDesign:
    """Standard deviations of the log-loss: of each run by itself, and of what both families have in common."""

    name: str
    own: float
    common: float

    def draw(self, seed: int) -> list[Runs]:
        """Both families, in step."""
        random = np.random.default_rng(seed)
        cells = [(n, c, one) for c, seeds in zip(BUDGETS, SEEDS, strict=True) for n in SIZES for one in range(seeds)]
        n, flops, seeds = map(np.array, zip(*cells, strict=True))
        d, common = flops / (FACTOR * n), self.common * random.normal(size=len(n))
        labels = Labels(seed=tuple(map(str, seeds)))
        families = []
        for name, times in (("one", 1.0), ("other", TIMES)):
            loss = _loss(n, d / times) * np.exp(common + self.own * random.normal(size=len(n)))
            families.append(Runs(name, n, d, flops, loss, np.arange(len(n)), labels=labels))
        return paired(families)

    def later(self, times: float, seed: int) -> float:
        """The least loss of one run of each size at the next budget."""
        noise = np.hypot(self.own, self.common) * np.random.default_rng([seed, 1]).normal(size=len(SIZES))
        return float((_loss(SIZES, NEXT / (FACTOR * SIZES) / times) * np.exp(noise)).min())


DESIGNS = (
    PairDesign("noise .4% of each run by itself", 0.004, 0.0),
    PairDesign(
        "noise .2% of each run by itself, and .35% of its size, budget and seed in both families", 0.002, 0.0035
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Study the designs asked for and print how often each interval holds the truth."""
    return study_all("python -m benchmarks.comparison_coverage", __doc__ or "", DESIGNS, study, 400, arguments)


def study(design: PairDesign, draws: int, resamples: int) -> list[str]:
    """Lines of a table: quantity, share of draws in which its interval held the truth, its median width."""
    held: dict[str, list[bool]] = defaultdict(list)
    widths: dict[str, list[float]] = defaultdict(list)
    alarms = []

    def note(quantity: str, found: Interval, truth: float) -> None:
        held[quantity].append(truth in found)
        widths[quantity].append(found.high - found.low)

    for seed in range(draws):
        fits = [_fitted(runs, resamples) for runs in design.draw(seed)]
        (one,) = comparisons(fits, "one")
        for exponent in one.exponents[:3]:
            note(f"{exponent.exponent}, difference", exponent.difference, 0.0)
        if one.compute is not None:
            note("times the FLOPs, middle", one.compute.middle, TIMES)
            note("times the FLOPs, least loss", one.compute.times[-1], TIMES)
            note("growth a decade", one.compute.growth, 1.0)
        if one.images is not None:
            note("times the images", one.images.middle, TIMES)
        alarms.append(one.grows or any(exponent.apart for exponent in one.exponents[:3]))
        sealed = predict(fits, Columns("n", "loss"), [NEXT])
        for family, times in zip(sealed.families, (1.0, TIMES), strict=True):
            note("sealed prediction", family.budgets[0].loss, design.later(times, seed))
    lines = [f"  {'':<28}{'covers':>8}{'draws':>8}{'median width':>14}"]
    for quantity, hits in held.items():
        lines.append(f"  {quantity:<28}{np.mean(hits):>8.1%}{len(hits):>8}{np.median(widths[quantity]):>14.4f}")
    lines.append(f"  draws with an exponent, or the growth, said to differ: {np.mean(alarms):.1%}")
    return lines


def _loss(n: Array, d: Array) -> Array:
    return np.asarray(E + A * n**-ALPHA + B * d**-BETA)


def _fitted(runs: Runs, resamples: int) -> Scaling:
    """What comparisons are made from, without what else a report fits."""
    found, front = refit(runs, resamples), envelope(runs, resamples)
    return Scaling(runs.name, runs, None, None, None, (), None, {}, (), found, front)


if __name__ == "__main__":
    raise SystemExit(main())
