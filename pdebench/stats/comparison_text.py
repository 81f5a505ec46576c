"""Comparisons of scaling laws, and sealed predictions, in the terminal, within 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from pdebench.data.nouns import plural
from pdebench.stats.bootstrap import Interval
from pdebench.stats.comparison import ScalingComparison
from pdebench.stats.comparison_words import (
    VERDICTS,
    compute_sentence,
    exponents_sentences,
    images_sentence,
    sealed_sentence,
    sensitivity_sentence,
    signed,
)
from pdebench.stats.digits import short
from pdebench.stats.multiplier import POINTS
from pdebench.stats.sealed import Outcome, SealedPrediction
from pdebench.stats.sensitivity import Sensitivity
from pdebench.stats.text import rows_of
from pdebench.terminal.prose import say


def print_comparisons(
    console: Console, compared: Sequence[ScalingComparison], sensitive: Sequence[Sensitivity]
) -> None:
    """Say of each family how it stands to the reference, in words and in a table, and what that hangs on."""
    hangs_on = {one.family: one for one in sensitive}
    for one in compared:
        hangs = hangs_on[one.family]
        console.print()
        say(console, f"{one.family} against {one.reference}: {plural(one.pairs, 'run')} in pairs", "bold")
        for text in (compute_sentence(one), images_sentence(one), *exponents_sentences([one])):
            if text:
                say(console, text)
        exponents = [
            (f"  {each.exponent}", f"{each.family:.3g}", f"{each.reference:.3g}", signed(each.difference), _p(each.p))
            for each in one.exponents
        ]
        if exponents:
            rows_of(console, exponents, ("  exponent", "its", "reference", "difference", "p"))
        if one.compute is not None:
            shown = [
                (
                    f"  {one.compute.loss[at]:.4g}",
                    f"{short(one.compute.reference[at], 2)}",
                    _within(one.compute.times[at]),
                )
                for at in (0, POINTS // 2, POINTS - 1)
            ]
            rows_of(console, shown, ("  loss", "reference's FLOPs", "times as many"))
        if text := sensitivity_sentence(hangs):
            say(console, text)
            lines = [
                (
                    f"  {line.left_out}",
                    *(_or_nothing(value) for value in (line.alpha, line.beta, line.gamma, line.times)),
                )
                for line in hangs.lines
            ]
            rows_of(console, lines, ("  left out", "alpha", "beta", "gamma", "times"))
    if compared:
        console.print()
        say(console, VERDICTS, "dim")


def print_prediction(console: Console, prediction: SealedPrediction) -> None:
    """What was predicted, by family and budget."""
    rows = [
        (
            f"  {one.group or 'all rows'}",
            short(budget.flops, 2),
            _within(budget.loss),
            _within(budget.n) if budget.n else "",
        )
        for one in prediction.families
        for budget in one.budgets
    ]
    rows_of(console, rows, ("  group", "FLOPs", "least loss", "best N"))
    say(
        console,
        "Least loss: the luckiest run of the sizes that ran. Best N: of any size, also of one that did not.",
        "dim",
    )
    for one in prediction.families:
        if one.refusal:
            say(console, f"{one.group or 'all rows'}: {one.refusal}", "yellow")


def print_outcomes(console: Console, prediction: SealedPrediction, outcomes: Sequence[Outcome]) -> None:
    """What came of it, by family and budget."""
    say(console, sealed_sentence(prediction, outcomes))
    rows = []
    for one in outcomes:
        came = "" if one.observed is None else f"{one.observed:.4g}"
        verdict = {None: "not run yet", True: "inside", False: "outside"}[one.inside]
        sizes = f"{one.sizes_inside} of {len(one.sizes)}" if one.sizes else ""
        rows.append((f"  {one.group or 'all rows'}", short(one.flops, 2), _within(one.predicted), came, verdict, sizes))
    rows_of(console, rows, ("  group", "FLOPs", "predicted", "came", "", "sizes inside"))


def _within(found: Interval) -> str:
    return f"{found.value:.4g} [{found.low:.4g}, {found.high:.4g}]"


def _or_nothing(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _p(value: float) -> str:
    return "<.001" if value < 0.001 else f"{value:.3f}"
