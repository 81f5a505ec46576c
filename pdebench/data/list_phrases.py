"""Lists in sentences: a few are named and the others counted, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

_NAMED = 5


def few(names: Iterable[str], count: int | None = None) -> str:
    """`a, b, c, d, e and 3 more`; `count` says how many there are where some of the names are known."""
    known = list(names)
    more = (len(known) if count is None else count) - len(known[:_NAMED])
    return ", ".join(known[:_NAMED]) + (f" and {more:,} more" if more else "")


def folders(names: Iterable[str]) -> str:
    """`a/, b/ and so on`, as `few` has it."""
    return few(f"{name}/" for name in names)


def by_reason(names: Mapping[str, Sequence[str]]) -> str:
    """A few names for each of the commonest reasons; how many there are of others."""
    common = sorted(names.items(), key=lambda item: -len(item[1]))
    told = [f"{few(these)} ({reason})" for reason, these in common[: 2 * _NAMED]]
    if rest := common[2 * _NAMED :]:
        told.append(f"{sum(len(these) for _, these in rest):,} more for {len(rest):,} other reasons")
    return "; ".join(told)
