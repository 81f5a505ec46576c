"""How every attack ended, by kind: `nox -s chaos` prints it when all is over."""

from __future__ import annotations

from collections import Counter

GOOD = ("survived", "refused")
BAD = ("lost", "accepted wrongly", "escaped", "hung")
_COUNTS: dict[str, Counter[str]] = {}


def note(kind: str, outcome: str, times: int = 1) -> None:
    """Count attacks of a kind that ended so.

    Args:
        kind: what was done, as a reader is to read it.
        outcome: one of GOOD or BAD.
    """
    assert outcome in (*GOOD, *BAD)
    _COUNTS.setdefault(kind, Counter())[outcome] += times


def table() -> str:
    """A line a kind, and one of all; empty where nothing was attacked."""
    if not _COUNTS:
        return ""
    rows = [("", "tried", *GOOD, *BAD)]
    total: Counter[str] = Counter()
    for kind, counts in _COUNTS.items():
        total += counts
        rows.append((kind, str(counts.total()), *(str(counts[one]) for one in (*GOOD, *BAD))))
    rows.append(("all", str(total.total()), *(str(total[one]) for one in (*GOOD, *BAD))))
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
