"""What `pdebench anchors` prints: published results in lines of a terminal, a table for each family and data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from pdebench.anchors.schema import Anchor, Metric

if TYPE_CHECKING:
    from pdebench.terminal.text_table import TextColumn

SCORES: tuple[Metric, ...] = ("fid", "is", "kid")

SAMPLERS = {
    "ddpm": "DDPM",
    "euler": "Euler",
    "heun": "Heun",
    "dopri5": "dopri5",
    "euler_maruyama": "SDE",
    "dpm-solver": "DPM",
}
MISSING = "-"
LEGEND = (
    "cfg: guidance scale, 1 is none. SDE: Euler-Maruyama; behind a sampler its evaluations of the network. M: millions "
    f"of parameters, G: billions of operations of one image, as printed. {MISSING}: not read."
)


def print_anchors(found: Sequence[Anchor], metric: Metric | None = None) -> None:
    """The results, those of one family and data set together, in the order in which they are given.

    Under a table stand what others got for the same, what else is to be known, and where it was read, if elsewhere.
    """
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    from pdebench.terminal.text_table import in_columns

    console = Console(highlight=False)
    console.print(LEGEND)
    for (family, data), group in groupby(found, key=lambda one: (one.family, one.data)):
        rows = list(group)
        scores = [name for name in SCORES if metric in (None, name) and any(name in one.values for one in rows)]
        sources = dict.fromkeys((one.source.arxiv, one.source.repository) for one in rows)
        papers = "; ".join(" ".join(filter(None, [f"arXiv {arxiv}", code])) for arxiv, code in sources)
        console.print(Text.assemble("\n", (f"{family} on {data}", "bold"), f" ({papers})"))
        columns, texts = _columns(scores), [_line(one, scores) for one in rows]
        places = _by_number(columns, texts, console.width - 2)
        lines = [[(text, "") for text in line] for line in texts]
        told = [in_columns(columns, lines, console.width - 2)]
        told += [Text(f"[{number}] {place}", "dim") for place, number in places.items()]
        told += [Text(text, "dim") for text in _remarks(rows, scores)]
        for text in told:
            console.print(Padding(text, (0, 0, 0, 2), expand=False))


def _columns(scores: Sequence[Metric]) -> list[TextColumn]:
    from pdebench.terminal.text_table import TextColumn

    return [
        TextColumn("model"),
        *(TextColumn(head, right=True) for head in ("px", "steps", "cfg")),
        TextColumn("sampler"),
        *(TextColumn(name.upper(), right=True) for name in scores),
        *(TextColumn(head, right=True) for head in ("M", "G")),
        TextColumn("where"),
    ]


def _by_number(columns: Sequence[TextColumn], lines: list[list[str]], width: int) -> dict[str, int]:
    """Give the places a number in their column that are too long for it, and say which is which."""
    from pdebench.terminal.text_table import GAP

    taken = [max(len(column.head), *(len(line[place]) for line in lines)) for place, column in enumerate(columns[:-1])]
    room = width - sum(taken) - len(GAP) * len(taken)
    long = dict.fromkeys(line[-1] for line in lines if len(line[-1]) > room)
    numbers = {place: number for number, place in enumerate(long, 1)}
    for line in lines:
        line[-1] = f"[{numbers[line[-1]]}]" if line[-1] in numbers else line[-1]
    return numbers


def _remarks(rows: Sequence[Anchor], scores: Sequence[Metric]) -> Iterator[str]:
    for one in rows:
        for other in one.spread:
            if other.metric in scores:
                printed = f"{other.metric.upper()} {one.values[other.metric]}"
                yield f"{_which(one)}: {printed}, elsewhere {other.value}: {other.how}"
    for text, whose in _by_text(rows, lambda one: one.note):
        yield f"{whose}{text}"
    for text, whose in _by_text(rows, lambda one: one.source.read.removeprefix("the paper")):
        yield f"{whose}read in {text}"


def _by_text(rows: Sequence[Anchor], of: Callable[[Anchor], str]) -> Iterator[tuple[str, str]]:
    """Each text once, and the rows that have it, in words; empty where all have."""
    for text in dict.fromkeys(of(one) for one in rows if of(one)):
        have = [_which(one) for one in rows if of(one) == text]
        yield text, "" if len(have) == len(rows) else f"{', '.join(dict.fromkeys(have))}: "


def _which(one: Anchor) -> str:
    """A row in words: by its score where nothing else tells it from others."""
    parts = [_model(one), f"{one.resolution} px", _short_count(one.steps) if one.steps else ""]
    parts += [f"cfg {one.guidance:g}" if one.guidance not in (None, 1) else ""]
    said = " ".join(part for part in parts if part and part != MISSING)
    return said if one.steps else f"{said} {'/'.join(one.values.values())}"


def _model(one: Anchor) -> str:
    return one.name.removeprefix(f"{one.family}-").removeprefix(one.family) or MISSING


def _line(one: Anchor, scores: Sequence[Metric]) -> list[str]:
    sampler = " ".join(filter(None, [SAMPLERS.get(one.sampler or ""), str(one.nfe or "")])) or MISSING
    steps = _short_count(one.steps) if one.steps else f"{one.images}M im." if one.images else MISSING
    guidance = MISSING if one.guidance is None else f"{one.guidance:g}"
    values = [one.values.get(name, MISSING) for name in scores]
    cost = [one.params or MISSING, one.compute or MISSING]
    return [_model(one), str(one.resolution), steps, guidance, sampler, *values, *cost, one.source.where]


def _short_count(steps: int) -> str:
    return f"{steps / 1e6:g}M" if steps >= 1_000_000 and steps % 10_000 == 0 else f"{steps / 1e3:g}K"
