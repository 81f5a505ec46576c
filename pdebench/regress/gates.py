"""The gates: what is deterministic must be equal; what is measured, and what is learned, must not be worse."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pdebench.regress.metrics import exact as exact_columns
from pdebench.regress.metrics import gated, learned, qualities, words, worse
from pdebench.regress.outcome import GateFinding, percent, share
from pdebench.stats.paired import FEWEST_PAIRS, paired
from pdebench.stats.regression import Evidence, Judgement, Rule

Values = Mapping[str, Any]


def coverage(cell: str, base: Values, head: Values) -> Iterator[GateFinding]:
    """Measurements that the base has and the head has not: a gate that is blind to them must not be green."""
    for column in sorted(gated(base) - gated(head)):
        yield GateFinding(
            "cell", cell, column, "missing",
            f"{words(column)} is measured in the base and not in the head: it cannot be compared; restore it, or "
            "compare with a revision that does not measure it either",
        )  # fmt: skip


def exact(cell: str, base: Sequence[Values], head: Sequence[Values], accept: Collection[str]) -> Iterator[GateFinding]:
    """Deterministic columns, over all processes of either side; one that varies within a side is not gated.

    Where the two sides had other images, that is the finding, and losses are not compared.
    """
    same, alike = 0, same_data([*base, *head])
    for column in exact_columns(name for values in (*base, *head) for name in values):
        if learned(column) and not alike:
            continue
        before, after = (_distinct(side, column) for side in (base, head))
        if not before or not after:
            continue
        if len(before) > 1 or len(after) > 1:
            yield GateFinding(
                "exact", cell, column, "pass",
                f"{words(column)} differs between processes of one revision: not deterministic here, so not gated",
            )  # fmt: skip
        elif before == after:
            same += 1
        else:
            yield _changed(cell, column, before[0], after[0], column in accept)
    if same:
        yield GateFinding("exact", cell, "", "pass", f"{same} deterministic quantities are equal", observations=same)


def same_data(units: Iterable[Values]) -> bool:
    """Whether processes had the same images, as far as they say; a baseline of before this was kept does not."""
    return len({values["data_checksum"] for values in units if values.get("data_checksum") is not None}) <= 1


def _changed(cell: str, column: str, before: Any, after: Any, accepted: bool) -> GateFinding:
    numbers = isinstance(before, int | float) and isinstance(after, int | float) and before
    change = after / before - 1 if numbers else None
    told = f"{words(column)} was {_shown(before)} and is {_shown(after)}"
    if change is not None:
        told += f" ({percent(change) if abs(change) >= 5e-4 else f'{change:+.1e}'})"
    if accepted:
        return GateFinding("exact", cell, column, "pass", f"{told}, accepted", change=change)
    return GateFinding("exact", cell, column, "changed", f"{told}; if that is meant: --accept {column}", change=change)


def speed(
    cell: str, column: str, evidence: Evidence, judgement: Judgement, rule: Rule, *, confirmed: bool | None
) -> GateFinding:
    """A measured column.

    Args:
        cell: its label.
        column: of the record.
        evidence: what was seen of it.
        judgement: what that means beside the other tests of the same run.
        rule: what was looked for.
        confirmed: whether a rerun said the same; None: there was none.
    """
    change, low, high, smallest = (
        share(x) for x in (evidence.estimate, evidence.low, evidence.high, evidence.smallest)
    )
    what = f"{words(column)} {_direction(change)}"
    if judgement.improved:
        what += ", an improvement"
    seen = (
        "no effect could have been found: too few pairs" if smallest is None else f"{percent(smallest)} could have been"
    )
    verdict = judgement.verdict
    if verdict == "regression" and not confirmed:
        verdict = "inconclusive"
        why = "a rerun did not confirm it" if confirmed is False else "there was no time for a rerun"
        message = f"{what}, but {why}"
    elif verdict == "regression":
        message = f"{what}, confirmed by a rerun"
    elif verdict == "pass":
        message = f"{what}; slower by {rule.effect:.0%} or more is excluded"
    else:
        message = f"{what}; neither found nor excluded: {seen}"
    return GateFinding(
        "speed", cell, column, verdict, message, judgement.improved,
        change, low, high, smallest, evidence.observations,
    )  # fmt: skip


def _direction(change: float | None) -> str:
    return "was not compared" if change is None else f"costs {percent(change)}"


def quality(group: str, base: Mapping[int, Values], head: Mapping[int, Values], rule: Rule) -> Iterator[GateFinding]:
    """The loss and scores of cells that differ only in their seed, each seed against itself on the same images.

    Student's interval of the paired differences, over the base's mean. Worse fails where the whole interval lies above
    the tolerance, passes where all of it lies under the effect.

    Args:
        group: label of the cells.
        base: seed to values.
        head: seed to values.
        rule: the tolerance and the effect are of the loss, too.
    """
    alike = {seed for seed in base.keys() & head.keys() if same_data([base[seed], head[seed]])}
    base, head = ({seed: values for seed, values in side.items() if seed in alike} for side in (base, head))
    names = dict.fromkeys(name for values in base.values() for name in qualities(values))
    for name in names:
        before, after = (
            {float(s): found for s, v in side.items() if (found := qualities(v).get(name)) is not None}
            for side in (base, head)
        )
        shared = before.keys() & after.keys()
        difference = paired(after, before)
        if difference is None:
            continue
        mean = sum(before[seed] for seed in shared) / len(shared)
        change = difference.mean / abs(mean) if mean else None
        if all(before[seed] == after[seed] for seed in shared):
            yield GateFinding(
                "quality", group, name, "pass", f"{words(name)} is equal for every seed", change=0.0,
                observations=len(shared),
            )  # fmt: skip
            continue
        if difference.low is None or difference.high is None or change is None:
            yield GateFinding(
                "quality", group, name, "inconclusive",
                f"{words(name)} changed by {percent(change)}, of {len(shared)} seeds: it takes {FEWEST_PAIRS} to judge",
                change=change, observations=len(shared),
            )  # fmt: skip
            continue
        low, high = difference.low / abs(mean), difference.high / abs(mean)
        told = f"{words(name)} changed by {percent(change)} ({percent(low)} to {percent(high)}, {len(shared)} seeds)"
        least, most = (low, high) if worse(name) > 0 else (-high, -low)  # by which it is worse
        if least > rule.tolerance:
            verdict, message = "regression", f"{told}: worse"
        elif most < rule.effect:
            verdict, message = "pass", f"{told}: worse by {rule.effect:.0%} is excluded"
        else:
            verdict, message = "inconclusive", f"{told}: neither worse nor not; it takes more seeds"
        yield GateFinding(
            "quality", group, name, verdict, message, most < -rule.tolerance,  # type: ignore[arg-type]
            change, low, high, None, len(shared),
        )  # fmt: skip


def _distinct(side: Sequence[Values], column: str) -> list[Any]:
    return list(dict.fromkeys(values[column] for values in side if values.get(column) is not None))


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.9g}"
    return f"{value:,}" if isinstance(value, int) else str(value) or "none"
