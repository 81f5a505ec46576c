"""A comparison in a terminal: what the sides are and how they differ, then a table, then what was not compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import get_args

from rich.console import Console

from pdebench.compare.judgement import QuantityDifference, Verdict
from pdebench.compare.quantities import can_be_named
from pdebench.compare.sides import ComparedSide
from pdebench.compare.stored import StoredComparison
from pdebench.errors import printable
from pdebench.report import formatting
from pdebench.report.formatting import listed, plural
from pdebench.report.frame import REVISION, SOURCE
from pdebench.stats.paired import FEWEST_PAIRS
from pdebench.terminal.prose import say
from pdebench.terminal.text_table import Cell, TextColumn, in_columns

ALL = "all"
_STYLES = {"A is better": "cyan", "B is better": "green", "differs": "yellow"}
_FAR = math.log(3)  # from where on a ratio is told as a factor
_FARTHEST = 700.0  # a logarithm whose exponential is still a float
_LONGEST_TITLE = 24
_MOST_PLACES = 6
_LEAST_PERCENT = 0.01  # a smaller change is told as less than this
_MOST_UNPAIRED = 6  # settings without a counterpart that are named
_KEYS = {REVISION: "revision of a family", SOURCE: "code of a family"}  # that no suite sets
_LONGEST = 11  # characters of a setting that stands in a table; longer ones are listed once, by numbers


def print_comparison(console: Console, found: StoredComparison) -> None:
    """Everything, in lines of the console's width."""
    say(console, _outcome(found), "bold")
    console.print()
    for side in found.sides:
        say(console, _told(side, len(found.pairing.left[side.name])))
        if unpaired := found.unpaired[side.name]:
            say(console, _named_few(unpaired), "dim", lead="   without a counterpart: ")
        for text in side.remarks:
            say(console, text, "dim", lead="   note: ")
    console.print()
    if found.differs:
        told = [
            [(printable(text), "") for text in (_KEYS.get(name, name), *values)]
            for name, values in found.differs.items()
        ]
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


def _outcome(found: StoredComparison) -> str:
    """`Of 12 numbers in 4 settings B is better in 2, A in none; 6 are equal and 4 not distinguishable.`"""
    own: list[str] = [one.verdict for one in found.found if one.setting]
    if not own:
        return "Nothing could be compared."
    judged = [f"B is {word} in {own.count(f'B is {word}') or 'none'}, A in {own.count(f'A is {word}') or 'none'}"
              for word in ("better", "higher") if {f"A is {word}", f"B is {word}"} & {*own}]  # fmt: skip
    rest = {
        "equal": own.count("equal"),
        "not distinguishable": own.count("not distinguishable"),
        "of too few seeds to be judged": own.count("no interval"),
        "of one process, which is no interval": own.count("within one process"),
    }
    told = [f"{count} {'are' if count > 1 else 'is'} {what}" for what, count in rest.items() if count]
    if differs := own.count("differs"):
        told.append(f"{plural(differs, 'count')} differ{'s' * (differs == 1)}")
    where = f"{plural(len(own), 'number')} in {plural(len(found.settings), 'setting')}"
    told = [*(judged or ["neither side is better in any"]), listed(told), *_over_all(found)]
    return f"Of {where} {'; '.join(filter(None, told))}."


def _over_all(found: StoredComparison) -> list[str]:
    """`over all settings together B is better in training throughput`, of either side."""
    together = [one for one in found.found if not one.setting]
    return [
        f"over all settings together {verdict} in {listed([one.quantity.title for one in sure])}"
        for verdict in get_args(Verdict)
        if verdict.startswith(("A is", "B is")) and (sure := [one for one in together if one.verdict == verdict])
    ]


def _named_few(unpaired: Sequence[tuple[str, int]]) -> str:
    """`vHeat-DiT (3 cells), DiCo (1 cell) and 2 more settings`."""
    told = [f"{label} ({plural(cells, 'cell')})" for label, cells in unpaired[:_MOST_UNPAIRED]]
    more = len(unpaired) - _MOST_UNPAIRED
    return listed([*told, f"{plural(more, 'more setting')}"] if more > 0 else told)


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
    last = _last_place([one for _, one in rows])
    lines = [_line(name, one, last)[:shown] for name, one in rows]
    console.print(in_columns(columns[:shown], lines, console.width))


def _last_place(rows: Sequence[QuantityDifference]) -> float:
    """The place of the last digit that is shown of the largest A or B: no difference below it can be seen."""
    largest = max((abs(x) for one in rows for x in (one.a, one.b) if math.isfinite(x)), default=0.0)
    return 10.0 ** (math.floor(math.log10(largest)) - 3) if largest else 0.0


def _line(name: str, one: QuantityDifference, last: float) -> list[Cell]:
    values = (_value(one, value) for value in (one.a, one.b))
    texts = [printable(name), *values, _change(one, last), str(one.pairs)]
    return [*((text, "") for text in texts), (one.verdict, _STYLES.get(one.verdict, ""))]


def _value(one: QuantityDifference, value: float) -> str:
    if math.isnan(value):
        return ""
    if one.quantity.kind == "exact" and value.is_integer():
        return f"{value:,.0f}"
    return formatting.size(value) if one.quantity.unit == "bytes" else formatting.number(value)


def _change(one: QuantityDifference, last: float) -> str:
    """`+1.2% [−0.3, +2.7]`, `3.2× [2.9×, 3.5×]`, `+0.0031 [−0.0002, +0.0064]`; what is smaller than shown `< 0.01%`."""
    ends = [] if one.low is None or one.high is None else [one.low, one.high]
    if not one.by_difference and abs(one.change) > _FAR:
        told, *rest = (formatting.times(math.exp(min(x, _FARTHEST))) for x in (one.change, *ends))
        return _with_interval(told, rest)
    values, least, unit = [one.change, *ends], last, ""
    if not one.by_difference:
        values, least, unit = [100 * math.expm1(min(x, _FARTHEST)) for x in values], _LEAST_PERCENT, "%"
    if 0 < max(map(abs, values)) < least:
        return f"< {least:g}{unit}"
    told, *rest = _signed(values)
    return _with_interval(told + unit, rest)


def _with_interval(told: str, ends: Sequence[str]) -> str:
    return f"{told} [{ends[0]}, {ends[1]}]" if ends else told


def _signed(values: Sequence[float]) -> list[str]:
    """Numbers with their signs, in the digits that show two of the largest; from 1 on, one place. 0 has no sign."""
    largest = max(map(abs, values))
    places = 1 if largest == 0 or largest >= 1 else 1 - math.floor(math.log10(largest))
    kind = f"{places}f" if places <= _MOST_PLACES else "0e"
    texts = [f"{value:+.{kind}}" for value in values]
    return [(text if float(text) else text[1:]).replace("-", "−") for text in texts]


def _endings(found: StoredComparison) -> Iterator[str]:
    """What is equal, what was not compared and why, and how to read the rest."""
    alike = [title for title, own in _by_title(found.found).items() if all(one.verdict == "equal" for one in own)]
    if alike:
        yield f"Equal: {', '.join(alike)}."
    reasons: dict[str, dict[str, str]] = {}
    for one in found.refused:
        where = "" if len(one.settings) == len(found.settings) else f" ({plural(len(one.settings), 'setting')})"
        if one.reason != "only one side has it" or where:
            reasons.setdefault(one.reason, {})[one.quantity.column] = f"{one.quantity.title}{where}"
    for reason, titles in reasons.items():
        hint = ""
        if can_be_named(reason):
            hint = f"; to see them all the same, add {' '.join(f'--metric {column}' for column in titles)}"
        yield f"Not compared, since {reason}: {', '.join(titles.values())}{hint}."
    one_sided = [one.quantity.title for one in found.refused
                 if one.reason == "only one side has it" and len(one.settings) == len(found.settings)]  # fmt: skip
    if one_sided:
        yield f"Only one side has: {', '.join(one_sided)}."
    if found.pairing.ambiguous:
        yield f"{plural(found.pairing.ambiguous, 'cell')} have several counterparts, and are left out."
    verdicts = {one.verdict for one in found.found}
    told = [
        "A and B are means over the n seeds, of what is compared by ratio geometric ones; `pdebench report` shows "
        "medians."
    ]
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
    yield " ".join(told)


def _by_title(found: Sequence[QuantityDifference]) -> dict[str, list[QuantityDifference]]:
    titles: dict[str, list[QuantityDifference]] = {}
    for one in found:
        titles.setdefault(one.quantity.title, []).append(one)
    return titles
