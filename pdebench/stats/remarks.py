"""What a reader has to know before believing a law: of the rows it rests on, of their design, and of the fit itself."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pdebench.data.nouns import plural
from pdebench.stats.digits import short
from pdebench.stats.isoflop import FEWEST_SIZES, IsoFlop
from pdebench.stats.left_out import counted, sentence, shortened
from pdebench.stats.misfit import of_residuals
from pdebench.stats.parametric import Parametric
from pdebench.stats.power_law import DECADE, Envelope
from pdebench.stats.runs import Runs, budgets

FEW_SIZES = 5  # with fewer, curvature and noise are hard to tell apart

SPREAD = 1.5
"""How many times C / (N D) may be off its median before it is said.

Counted alike it varies little: over the five sizes of `suites/scaling.yaml` by 5% or less within a family, and at 1,024
tokens by 1.44 times for DiT, whose attention takes a share that falls with the width (2.0 times at 4,096 tokens). A
backward pass left out, multiply-accumulates in place of FLOPs, or images in place of tokens is twice or more.
"""

_LIMIT = 0.025
_LOST = 0.1  # share of the resamples without an optimum, beyond which an interval without them may be too narrow


def warnings(runs: Runs, law: Parametric | None, profiles: IsoFlop | None, front: Envelope | None) -> tuple[str, ...]:
    """Of one group, in the order in which they come about."""
    found = _of_rows(runs)
    if runs.count and not runs.refusal:
        found += [] if law is None else of_residuals(runs, law)
        found += [*_of_factor(runs), *_of_design(runs, law, front), *_of_profiles(runs, profiles)]
    return tuple(found)


def _of_rows(runs: Runs) -> list[str]:
    found = []
    if left := sum(runs.unfinished.values()):
        cells = "1 cell was" if left == 1 else f"{left} cells were"
        found.append(f"{cells} left out that {'is no run' if left == 1 else 'are no runs'}: {counted(runs.unfinished)}")
    if runs.left_out and not runs.refusal:
        found.append(sentence(runs.left_out, runs.rows))
    if runs.repeated:
        how = {False: "repeats", True: "rounds the loss of"}
        which = shortened([f"{one.place} {how[one.rounded]} {one.of}" for one in runs.repeated])
        found.append(
            f"{plural(len(runs.repeated), 'row')} "
            f"{'repeats another' if len(runs.repeated) == 1 else 'repeat others'} and "
            f"count{'s' * (len(runs.repeated) == 1)} once, so that {len(runs.n) + len(runs.repeated)} rows are of "
            f"{plural(runs.count, 'run')}: {which}"
        )
    return [*found, *runs.remarks]


def _of_factor(runs: Runs) -> list[str]:
    """Whether FLOPs are those of the parameters and images; a median that a row has, so that halves show too."""
    factors = runs.flops / (runs.n * runs.d)
    middle = float(np.sort(factors)[(len(factors) - 1) // 2])
    off = np.flatnonzero((factors > SPREAD * middle) | (factors < middle / SPREAD))
    if not len(off):
        return []
    low, high = (f"{value:.3g}" for value in (factors[off].min(), factors[off].max()))
    which = shortened([runs.places[row] for row in off]) if runs.places else "some"
    told = (
        f"C / (N D) is {low if low == high else f'{low} to {high}'} in {len(off)} of {len(factors)} rows ({which}) and "
        f"{middle:.3g} in the median: FLOPs, parameters or images are wrong or counted otherwise, or attention over "
        "many tokens adds to them"
    )
    theirs, given = _most_sizes(runs, budgets(middle * runs.n * runs.d)), _most_sizes(runs, runs.budget)
    if theirs != given:
        told += (
            f"; IsoFLOP profiles and the envelope go by FLOPs, {plural(given[0], 'budget')} of "
            f"{plural(given[1], 'size')} or fewer, where "
            f"C = {middle:.3g} N D makes {theirs[0]} of {theirs[1]} or fewer"
        )
    return [told]


def _most_sizes(runs: Runs, budget: np.ndarray) -> tuple[int, int]:
    """Budgets, and the sizes of the one with the most."""
    pairs = {(int(index), float(n)) for index, n in zip(budget, runs.n, strict=True)}
    return int(budget.max()) + 1, max(Counter(index for index, _ in pairs).values())


def _of_design(runs: Runs, law: Parametric | None, front: Envelope | None) -> list[str]:
    found = []
    if len(runs.n) > runs.count:
        why = "a row on the way of one is not what a run of that length would have had"
        if not _on_the_way(runs):
            why = "several rows of one run, such as a cell that two machines ran, are one of them"
        found.append(f"{len(runs.n)} rows are of {plural(runs.count, 'run')}: intervals rest on runs, and {why}")
    if 3 <= len(runs.sizes) < FEW_SIZES:
        found.append(f"only {len(runs.sizes)} sizes: curvature and noise are hard to tell apart")
    for name, values in (("parameters", runs.n), ("images", runs.d)):
        times = float(values.max() / values.min())
        if law is not None and times < DECADE:
            found.append(f"the {name} span {times:.2g} times, less than a decade: their exponent is weakly held")
    if len({(n, d) for n, d in zip(runs.n, runs.d, strict=True)}) == _reached(runs):
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
    if front is not None and (few := int(runs.budget.max()) + 1 - len(front.flops)):
        found.append(
            f"the envelope, the best run of each budget, leaves out {plural(few, 'budget')} run at under half as many "
            "sizes as another"
        )
    return found


def _reached(runs: Runs) -> int:
    """How often a run reached a point: as many as points where each was run once."""
    return len(set(zip(runs.run, runs.n, runs.d, strict=True)))


def _on_the_way(runs: Runs) -> bool:
    """Whether some run has rows at several numbers of images."""
    return len(set(zip(runs.run, runs.d, strict=True))) > runs.count


def _several_sizes(runs: Runs) -> bool:
    """Whether some budget was run at more than one size."""
    return _most_sizes(runs, runs.budget)[1] > 1


def _of_profiles(runs: Runs, profiles: IsoFlop | None) -> list[str]:
    if profiles is None:
        return []
    found = []
    edges = [short(profile.flops, 2) for profile in profiles.profiles if profile.best is None]
    if edges:
        found.append(f"edge optimum at {', '.join(edges)} FLOPs: the best size may lie beyond those that ran; left out")
    lost = {f"at {short(one.flops, 2)} FLOPs": one.best.lost for one in profiles.profiles if one.best is not None}
    lost |= {} if profiles.a is None else {"of the exponent": profiles.a.lost}
    often = {what: share for what, share in lost.items() if share > _LOST}
    if often:
        told = shortened([f"{share:.0%} {what}" for what, share in often.items()])
        found.append(
            f"in some resamples no best size lies inside those that ran ({told}): intervals leave these out, and may "
            "be too narrow"
        )
    few = []
    for index in range(int(runs.budget.max()) + 1):
        rows = runs.budget == index
        if (sizes := len(np.unique(runs.n[rows]))) < FEWEST_SIZES:
            few.append(f"{short(float(np.median(runs.flops[rows])), 2)} ({sizes})")
    if few:
        found.append(
            f"{plural(len(few), 'budget')} {'was' if len(few) == 1 else 'were'} run at fewer than "
            f"{FEWEST_SIZES} sizes and {'has' if len(few) == 1 else 'have'} no IsoFLOP profile: "
            f"{shortened(few)} FLOPs (sizes)"
        )
    return found
