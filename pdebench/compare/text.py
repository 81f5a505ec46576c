"""A comparison in a terminal: what the sides are and how they differ, then a table, then what was not compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import get_args

from rich.console import Console

from pdebench.compare.judgement import QuantityDifference, Verdict
from pdebench.compare.sides import ComparedSide
from pdebench.compare.stored import StoredComparison
from pdebench.errors import printable
from pdebench.report import formatting
from pdebench.report.formatting import plural
from pdebench.stats.paired import FEWEST_PAIRS
from pdebench.terminal.prose import say
from pdebench.terminal.text_table import Cell, TextColumn, in_columns

ALL = "all"
_STYLES = {"A is better": "cyan", "B is better": "green", "differs": "yellow"}
_FAR = math.log(3)  # from where on a ratio is told as a factor
_FARTHEST = 700.0  # a logarithm whose exponential is still a float
_LONGEST_TITLE = 24
_MOST_PLACES = 4
_LONGEST = 11  # characters of a setting that stands in a table; longer ones are listed once, by numbers


def print_comparison(console: Console, found: StoredComparison) -> None:
    """Everything, in lines of the console's width."""
    for side in found.sides:
        say(console, _told(side, len(found.pairing.left[side.name])))
        for text in side.remarks:
            say(console, text, "dim", lead="   note: ")
    console.print()
    if found.differs:
        told = [[(printable(text), "") for text in (name, *values)] for name, values in found.differs.items()]
        columns = [TextColumn("they differ in", least=12), TextColumn("A", least=20), TextColumn("B", least=20)]
        console.print(in_columns(columns, told, console.width), soft_wrap=True)
    else:
        console.print("They differ in nothing that their records say.")
    names = _short(found.settings)
    if names != found.settings:
        console.print()
        for name, setting in zip(names, found.settings, strict=True):
            say(console, setting, lead=f"{name}  ")
    by_name = {**dict(zip(found.settings, names, strict=True)), "": ALL}
    if len(found.settings) == 1:
        for verdict in get_args(Verdict):
            rows = [(_short_title(one), one) for one in found.found if one.verdict == verdict != "equal"]
            if rows:
                console.print()
                say(console, verdict, _STYLES.get(verdict, "bold"))
                _table(console, "metric", rows, judged=False)
    else:
        for column in dict.fromkeys(one.quantity.column for one in found.found):
            own = [one for one in found.found if one.quantity.column == column]
            exact = own[0].quantity.kind == "exact"  # of these only what differs
            rows = [(by_name[one.setting], one) for one in own if not exact or one.verdict != "equal"]
            if any(one.verdict != "equal" for one in own):
                console.print()
                say(console, _heading(own), "bold")
                _table(console, "setting", rows)
    for text in _endings(found):
        console.print()
        say(console, text)


def _told(side: ComparedSide, unpaired: int) -> str:
    told = f"{side.name}  {side.path}: {plural(side.cells, 'cell')}"
    told += "" if side.done == side.cells else f", {side.done} of them done"
    return f"{told}, {unpaired} without a counterpart" if unpaired else told


def _short(settings: Sequence[str]) -> list[str]:
    """The settings as they stand in the tables: themselves, or numbers where one is too long."""
    if max(map(len, settings)) <= _LONGEST or len(settings) == 1:
        return list(settings)
    return [str(place) for place in range(1, len(settings) + 1)]


def _titled(one: QuantityDifference) -> str:
    """A title with an arrow that says which way is better."""
    arrow = {True: " ↓", False: " ↑", None: ""}[one.quantity.lower]
    return f"{one.quantity.title}{arrow}"


def _short_title(one: QuantityDifference) -> str:
    title = _titled(one)
    return title if len(title) <= _LONGEST_TITLE else title.replace(one.quantity.title, one.quantity.column)


def _heading(own: Sequence[QuantityDifference]) -> str:
    """`val_loss ↓: B is better in 1, A in none of 6 settings`."""
    settings = [one for one in own if one.setting]
    counts = {side: sum(one.verdict == f"{side} is better" for one in settings) for side in ("A", "B")}
    if not any(one.p_value is not None for one in settings):
        return _titled(own[0])
    more, less = sorted(counts, key=lambda side: -counts[side])
    told = (
        f"{more} is better in {counts[more]}, {less} in {counts[less] or 'none'}"
        if counts[more]
        else "neither is better in any"
    )
    return f"{_titled(own[0])}: {told} of {plural(len(settings), 'setting')}"


def _table(console: Console, head: str, rows: Sequence[tuple[str, QuantityDifference]], *, judged: bool = True) -> None:
    """Rows of numbers under their heads; `judged`: each with its verdict."""
    columns = [
        TextColumn(head, least=_LONGEST),
        *(TextColumn(side, right=True) for side in ("A", "B")),
        TextColumn("B against A", least=17),
        TextColumn("n", right=True),
        TextColumn(""),
    ]
    shown = len(columns) if judged else -1
    lines = [_line(name, one)[:shown] for name, one in rows]
    console.print(in_columns(columns[:shown], lines, console.width))


def _line(name: str, one: QuantityDifference) -> list[Cell]:
    values = (_value(one, value) for value in (one.a, one.b))
    texts = [printable(name), *values, _change(one), str(one.pairs)]
    return [*((text, "") for text in texts), (one.verdict, _STYLES.get(one.verdict, ""))]


def _value(one: QuantityDifference, value: float) -> str:
    if math.isnan(value):
        return ""
    if one.quantity.kind == "exact" and value.is_integer():
        return f"{value:,.0f}"
    return formatting.size(value) if one.quantity.unit == "bytes" else formatting.number(value)


def _change(one: QuantityDifference) -> str:
    """`+1.2% [−0.3, +2.7]`, `3.2× [2.9×, 3.5×]`, `+0.0031 [−0.0002, +0.0064]`."""
    ends = [] if one.low is None or one.high is None else [one.low, one.high]
    if one.by_difference:
        told, *rest = _signed([one.change, *ends])
    elif abs(one.change) > _FAR:
        told, *rest = (formatting.times(math.exp(min(x, _FARTHEST))) for x in (one.change, *ends))
    else:
        told, *rest = _signed([100 * math.expm1(min(x, _FARTHEST)) for x in (one.change, *ends)])
        told += "%"
    return f"{told} [{rest[0]}, {rest[1]}]" if rest else told


def _signed(values: Sequence[float]) -> list[str]:
    """Numbers with their signs, in the digits that show two of the largest; from 1 on, one place."""
    largest = max(map(abs, values))
    places = 1 if largest == 0 or largest >= 1 else 1 - math.floor(math.log10(largest))
    kind = f"{places}f" if places <= _MOST_PLACES else "0e"
    return [f"{value:+.{kind}}".replace("-", "−") for value in values]


def _endings(found: StoredComparison) -> Iterator[str]:
    """What is equal, what was not compared and why, and how to read the rest."""
    alike = [title for title, own in _by_title(found.found).items() if all(one.verdict == "equal" for one in own)]
    if alike:
        yield f"Equal: {', '.join(alike)}."
    reasons: dict[str, list[str]] = {}
    for one in found.refused:
        where = "" if len(one.settings) == len(found.settings) else f" ({plural(len(one.settings), 'setting')})"
        if one.reason != "only one side has it" or where:
            reasons.setdefault(one.reason, []).append(f"{one.quantity.title}{where}")
    for reason, titles in reasons.items():
        hint = "; name one with --metric to see it all the same" if "machines" in reason or "batch" in reason else ""
        yield f"Not compared, since {reason}: {', '.join(titles)}{hint}."
    one_sided = [one.quantity.title for one in found.refused
                 if one.reason == "only one side has it" and len(one.settings) == len(found.settings)]  # fmt: skip
    if one_sided:
        yield f"Only one side has: {', '.join(one_sided)}."
    if found.pairing.ambiguous:
        yield f"{plural(found.pairing.ambiguous, 'cell')} have several counterparts, and are left out."
    verdicts = {one.verdict for one in found.found}
    told = []
    if any(one.p_value is not None for one in found.found):
        several = len(found.settings) > 1
        tests = sum(one.p_value is not None for one in found.found)
        told.append(
            f"In brackets 95% intervals over n seeds in pairs{', of all over settings' if several else ''}. Better is "
            f"what {plural(tests, 'test')} together let one say at 5% (Benjamini and Hochberg)."
        )
    if "no interval" in verdicts:
        told.append(f"No interval: it takes {FEWEST_PAIRS} seeds that both have.")
    if "within one process" in verdicts:
        told.append("Within one process: the next one may differ by more, so nothing is said; see `pdebench regress`.")
    if not found.machines and any(one.quantity.kind == "cost" for one in found.found):
        told.append("Timings and memory are of different machines.")
    if told:
        yield " ".join(told)


def _by_title(found: Sequence[QuantityDifference]) -> dict[str, list[QuantityDifference]]:
    titles: dict[str, list[QuantityDifference]] = {}
    for one in found:
        titles.setdefault(one.quantity.title, []).append(one)
    return titles
