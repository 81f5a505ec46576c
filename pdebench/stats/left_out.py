"""Rows that no law is fitted to, by name: those that are left out, and those that repeat others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pdebench.data.nouns import plural

MOST_LEFT_OUT = 0.1
"""Share of a group's rows beyond which a law of the others is refused.

On a table of 5 budgets x 5 sizes x 2 seeds with .4% of noise no exponent left its 95% interval while up to one row in
ten was missing: not in 60 random draws at each share, nor where the largest or smallest sizes, budgets or losses were
those that were missing. Without 14%, the largest sizes at the largest budgets, alpha and `a` did.
"""

_SHOWN = 3


@dataclass(frozen=True)
class Left:
    """A row that was left out; `summary`: it is none of a run, but of averages or totals."""

    place: str
    why: str
    summary: bool = False


@dataclass(frozen=True)
class Repeat:
    """A row that has all numbers of another; `rounded`: its loss in fewer digits."""

    place: str
    of: str
    rounded: bool = False


def refusal(fitted: int, left: Sequence[Left], unfinished: Mapping[str, int]) -> str:
    """Why no law of a group's rows is believed; empty where nothing speaks against one.

    Args:
        fitted: rows that remain.
        left: rows that do not.
        unfinished: cells that are no runs, by their status.
    """
    lost = [one for one in left if not one.summary]
    rows = fitted + len(lost)
    if not fitted:
        if unfinished and not left:
            return f"insufficient data: no cell is done ({counted(unfinished)})"
        return "insufficient data: no row with all its numbers" + (f" ({listed(left)})" if left else "")
    if len(lost) <= MOST_LEFT_OUT * rows:
        return ""
    return (
        f"{len(lost)} of {rows} rows would be left out, more than one in ten, and the others may have another law "
        f"({listed(lost)}): give their numbers, or take these rows out if they are not to count"
    )


def sentence(left: Sequence[Left], rows: int) -> str:
    """How many rows of a group were left out, and the first few of them."""
    return f"{plural(len(left), 'row')} {'was' if len(left) == 1 else 'were'} left out of {rows}: {listed(left)}"


def listed(left: Sequence[Left]) -> str:
    """The first few of some rows and why each was left out."""
    return shortened([f"{one.place}: {one.why}" for one in left], "; ")


def shortened(told: Sequence[str], separator: str = ", ") -> str:
    """The first few of some words."""
    more = [f"and {len(told) - _SHOWN:,} more"] if len(told) > _SHOWN else []
    return separator.join([*told[:_SHOWN], *more])


def counted(counts: Mapping[str, int]) -> str:
    """`2 oom, 1 timeout`."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())
