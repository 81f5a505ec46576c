"""`python -m benchmarks.coverage`: how often the 95% intervals of the scaling laws hold the truth, on made-up tables.

Each draw is a table as `suites/scaling.yaml` makes one, sizes x budgets x seeds, whose losses follow a law that is
known (Chinchilla's exponents) but for noise of the size that seeds have. An honest interval holds the truth in 95% of
the draws, which of 200 is known to 1.5%. Beside the interval that is used stand those that were tried.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from pdebench.stats.bootstrap import RESAMPLES, Interval, interval
from pdebench.stats.holdout import held_envelope, held_parametric
from pdebench.stats.isoflop import isoflop
from pdebench.stats.parametric import PARAMETERS, refit
from pdebench.stats.power_law import envelope
from pdebench.stats.power_sum import Array
from pdebench.stats.runs import FACTOR, Runs

E, A, B, ALPHA, BETA = 1.8, 480.0, 2085.0, 0.35, 0.37
TRUTH = {"alpha": ALPHA, "beta": BETA, "a": BETA / (ALPHA + BETA)}


@dataclass(frozen=True)
class Design:
    """Sizes within a factor of `span` of the best one, at budgets over one and a half or two decades, and seeds.

    Attributes:
        noise: standard deviation of the log-loss between seeds.
        tail: degrees of freedom of Student's t that the noise has; None: it is normal.
        predictions: whether the held-out predictions are studied too, which takes half as long again.
    """

    name: str
    budgets: tuple[float, float, int]
    sizes: int
    seeds: int
    noise: float
    tail: float | None = None
    span: float = 10.0
    predictions: bool = False

    def draw(self, seed: int) -> Runs:
        """One table."""
        random = np.random.default_rng(seed)
        flops = np.geomspace(*self.budgets)
        scale = (ALPHA * A / (BETA * B)) ** (1 / (ALPHA + BETA))
        best = scale * (np.sqrt(flops[0] * flops[-1]) / FACTOR) ** TRUTH["a"]
        n = best * np.geomspace(1 / self.span, self.span, self.sizes)
        c, n, _ = (values.ravel() for values in np.meshgrid(flops, n, np.arange(self.seeds), indexing="ij"))
        d = c / (FACTOR * n)
        if self.tail is None:
            noise = random.normal(size=len(n))
        else:
            noise = random.standard_t(self.tail, len(n)) / np.sqrt(self.tail / (self.tail - 2))
        loss = (E + A * n**-ALPHA + B * d**-BETA) * np.exp(self.noise * noise)
        return Runs("", n, d, c, loss, np.arange(len(n)))


DESIGNS = (
    Design("5 budgets x 5 sizes x 3 seeds, noise 1%", (1e18, 1e20, 5), 5, 3, 0.01, predictions=True),
    Design("5 budgets x 6 sizes x 1 seed, noise .5%, t4", (1e18, 1e20, 5), 6, 1, 0.005, tail=4),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Study the designs asked for and print how often each interval holds the truth."""
    return study_all("python -m benchmarks.coverage", __doc__ or "", DESIGNS, study, RESAMPLES, arguments)


def study_all(
    prog: str,
    about: str,
    designs: Sequence[Any],
    study: Callable[[Any, int, int], list[str]],
    resamples: int,
    arguments: Sequence[str] | None,
) -> int:
    """The command of a benchmark of coverage: print the lines of `study` of each design that is asked for.

    Args:
        prog: how the command is called.
        about: its module's docstring, the first line of which is its description.
        designs: what data are drawn from, each with a `name`.
        study: of a design, draws and resamples.
        resamples: by default.
        arguments: of the command line.
    """
    parser = argparse.ArgumentParser(prog=prog, description=about.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=resamples)
    parser.add_argument("--design", type=int, choices=range(len(designs)), help="one of them, by its place")
    options = parser.parse_args(arguments)
    for design in designs if options.design is None else (designs[options.design],):
        began = time.perf_counter()
        print(f"{design.name}: {options.draws} draws, {options.resamples} resamples", flush=True)
        for line in study(design, options.draws, options.resamples):
            print(line)
        print(f"{time.perf_counter() - began:.0f} s\n", flush=True)
    return 0


def study(design: Design, draws: int, resamples: int) -> list[str]:
    """Lines of a table: quantity, interval, share of draws in which it held the truth, its median width."""
    held: dict[tuple[str, str], list[bool]] = defaultdict(list)
    widths: dict[tuple[str, str], list[float]] = defaultdict(list)

    def note(quantity: str, kind: str, found: Interval, truth: float) -> None:
        held[quantity, kind].append(truth in found)
        widths[quantity, kind].append(found.high - found.low)

    for seed in range(draws):
        runs = design.draw(seed)
        found = refit(runs, resamples)
        alpha, beta = found.law.exponents(np.vstack([found.theta, found.refits])).T
        for quantity, values in (("alpha", alpha), ("beta", beta), ("a", beta / (alpha + beta))):
            for kind, one in constructions(values, runs.count).items():
                note(quantity, kind, one, TRUTH[quantity])
        if (profiles := isoflop(runs, resamples)).a is not None:
            note("a by IsoFLOP", "used", profiles.a, TRUTH["a"])
        if design.predictions:
            for point in held_parametric(runs):
                note("held-out sizes, L(N, D)", "used", point.predicted, point.observed)
            last = held_envelope(envelope(runs, resamples), design.seeds)
            note("held-out budget, envelope", "used", last.predicted, last.observed)
    lines = [f"  {'':<26}{'interval':<22}{'covers':>8}{'draws':>8}{'median width':>14}"]
    for (quantity, kind), hits in held.items():
        width = float(np.median(widths[quantity, kind]))
        lines.append(f"  {quantity:<26}{kind:<22}{np.mean(hits):>8.1%}{len(hits):>8}{width:>14.4f}")
    return lines


def constructions(values: Array, runs: int) -> dict[str, Interval]:
    """The interval that is used, and others from the same refits; `values` has the estimate first."""
    value, refits = float(values[0]), values[1:]

    def percentiles(low: float, high: float) -> Interval:
        ends = (float(np.quantile(refits, stats.norm.cdf(end))) for end in (low, high))
        return Interval(value, *ends)

    plain = percentiles(-1.96, 1.96)
    freedom = runs - PARAMETERS
    half = np.sqrt(runs / freedom) * stats.t.ppf(0.975, freedom)
    bias = float(stats.norm.ppf(np.mean(refits < value)))
    error = float(half * refits.std())
    return {
        "used": interval(value, refits, runs=runs, parameters=PARAMETERS),
        "percentile": plain,
        "expanded percentile": percentiles(-half, half),
        "bias-corrected": percentiles(2 * bias - 1.96, 2 * bias + 1.96),
        "basic": Interval(value, 2 * value - plain.high, 2 * value - plain.low),
        "estimate +- t sd": Interval(value, value - error, value + error),
    }


if __name__ == "__main__":
    raise SystemExit(main())
