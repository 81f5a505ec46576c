"""Fitted laws in the terminal, within 80 columns."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from pdebench.data.nouns import plural
from pdebench.errors import printable
from pdebench.stats.bootstrap import Interval
from pdebench.stats.digits import short
from pdebench.stats.holdout import Held
from pdebench.stats.isoflop import IsoFlop
from pdebench.stats.parametric import Parametric
from pdebench.stats.power_law import PowerLaw
from pdebench.stats.scaling import Scaling
from pdebench.terminal.prose import say


def print_fits(console: Console, fits: Sequence[Scaling], read: Sequence[str] = ()) -> None:
    """Say of each group what was fitted, how the largest budget was predicted, what was refused, and what to doubt.

    Args:
        console: to print to.
        fits: of all groups.
        read: what to know of how the table was read, said first.
    """
    for text in read:
        say(console, text, "yellow")
    for number, found in enumerate(fits):
        if number:
            console.print()
        runs = found.runs
        head = f"{found.group or 'all rows'}: {plural(runs.count, 'run')}"
        if runs.count:
            sizes = plural(len(runs.sizes), "size")
            head += f", {sizes}, {short(runs.flops.min(), 2)} to {short(runs.flops.max(), 2)} training FLOPs"
        say(console, head, "bold")
        if found.parametric is not None:
            _parametric(console, found.parametric)
            if found.held:
                _held(console, found.held)
        if found.isoflop is not None:
            _isoflop(console, found.isoflop)
        if found.envelope is not None:
            _envelope(console, found.envelope)
            if found.held_envelope is not None:
                _held(console, (found.held_envelope,))
        for name, why in found.refused:
            say(console, f"{name}: {why}", "yellow")
        for warning in found.warnings:
            say(console, f"warning: {warning}", "yellow")
    console.print()
    say(console, "Brackets are 95% intervals, from 1,000 bootstrap resamples of the runs.", "dim")


def _within(found: Interval) -> str:
    return f"{found.value:.3g} [{found.low:.3g}, {found.high:.3g}]"


def rows_of(console: Console, rows: Sequence[Sequence[str]], heads: Sequence[str] = ()) -> None:
    """Print rows of texts as columns."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=bool(heads), header_style="dim")
    for head in heads or [""] * len(rows[0]):
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(*map(printable, row))
    console.print(table)


def _parametric(console: Console, law: Parametric) -> None:
    say(console, f"L(N, D) = E + A N^-alpha + B D^-beta; residuals {law.spread:.2%}")
    names = ("E", "A", "B", "alpha", "beta")
    rows = [(f"  {name}", _within(getattr(law, name))) for name in names]
    rows += [("  best N ~ C^a, a", _within(law.a)), ("  best D ~ C^b, b", _within(law.b))]
    for best in law.allocations:
        rows.append((f"  best N at {short(best.flops, 2)} FLOPs", _within(best.n)))
        rows.append((f"  best D at {short(best.flops, 2)} FLOPs", _within(best.d)))
    rows_of(console, rows)


def _held(console: Console, held: Sequence[Held]) -> None:
    inside = sum(point.covered for point in held)
    say(console, f"  largest budget, held out and predicted: {inside} of {len(held)} in the interval")
    rows = [
        (f"  {short(point.n, 3)}", short(point.flops, 2), _within(point.predicted), f"{point.observed:.4g}")
        for point in held
    ]
    rows_of(console, rows, ("  N", "FLOPs", "predicted", "observed"))


def _isoflop(console: Console, found: IsoFlop) -> None:
    exponent = "" if found.a is None else f": best N ~ C^{_within(found.a)}"
    say(console, f"IsoFLOP profiles{exponent}")
    rows = [
        (f"  {short(one.flops, 2)}", str(len(one.n)), "edge of the sizes" if one.best is None else _within(one.best))
        for one in found.profiles
    ]
    rows_of(console, rows, ("  FLOPs", "sizes", "best N"))


def _envelope(console: Console, law: PowerLaw) -> None:
    form = "L = k C^-gamma" if law.floor is None else "L = E + k C^-gamma"
    say(console, f"Best of each budget: {form}, {law.why}")
    rows = [("  gamma", _within(law.gamma)), ("  k", _within(law.k))]
    rows_of(console, rows if law.floor is None else [*rows, ("  E", _within(law.floor))])
