"""A gate's outcome in a terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pdebench.data.nouns import plural
from pdebench.errors import printable
from pdebench.regress.metrics import words
from pdebench.regress.outcome import GateFinding, GateOutcome, Verdict, percent
from pdebench.terminal.prose import say

STYLES: dict[Verdict, str] = {
    "pass": "green",
    "regression": "bold red",
    "changed": "bold red",
    "failed": "red",
    "missing": "yellow",
    "inconclusive": "yellow",
}


def compared_with(outcome: GateOutcome) -> str:
    """What was compared with what, in a line."""
    revision = outcome.base.get("revision")
    commit = outcome.base.get("commit", "")[:12]
    base = (
        f"{revision} ({commit})" if revision and not commit.startswith(revision) else outcome.base.get("file") or commit
    )
    spent = f"{outcome.processes} processes, {outcome.seconds:.0f} s"
    return f"{outcome.suite}: HEAD ({outcome.head[:12]}) against {base}, {spent}"


def print_outcome(console: Console, outcome: GateOutcome, steps: Sequence[str] = ()) -> None:
    """One line a measured quantity, then a sentence for whatever did not simply pass."""
    say(console, compared_with(outcome))
    for cell in dict.fromkeys(finding.cell for finding in outcome.findings):
        console.print(Text(printable(cell) or "all cells", "bold"))
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
        table.add_column(width=14, no_wrap=True)
        table.add_column(width=12, no_wrap=True, overflow="ellipsis")
        table.add_column(overflow="fold")
        for finding in outcome.findings:
            if finding.cell == cell:
                what = words(finding.column) or {"exact": "exact", "cell": "cell"}.get(finding.kind, "")
                verdict = "better" if finding.improved and finding.verdict == "pass" else finding.verdict
                table.add_row(Text(f"  {verdict}", STYLES[finding.verdict]), what, printable(numbers(finding)))
        console.print(table)
    for text in [*outcome.notes, *steps]:
        say(console, text, "cyan")
    say(console, outcome.sentence(), STYLES[outcome.verdict])


def numbers(finding: GateFinding) -> str:
    """What a line of the table says: figures where they say it all, else the sentence."""
    if finding.kind != "speed":
        return finding.message
    if finding.change is None:
        return "no pair was measured: give it more time with --max-minutes"
    bounds = f"{percent(finding.low)} to {percent(finding.high)}" if finding.low or finding.high else "without bounds"
    interval = f"{percent(finding.change)} ({bounds})"
    could = "none" if finding.smallest is None else percent(finding.smallest)
    more = {"regression": "; confirmed by a rerun"}.get(finding.verdict, "")
    if "rerun" in finding.message and not more:
        more = f"; {finding.message.partition(', but ')[2]}"
    return f"{interval}, {plural(finding.observations, 'pair')}, would have found {could}{more}"


def markdown(outcome: GateOutcome, steps: Sequence[str] = ()) -> str:
    """A job's summary, or the body of an issue."""
    lines = [f"### {_cell(outcome.sentence())}", "", _cell(compared_with(outcome)), ""]
    lines += [
        "| verdict | cell | what | change | 95% bounds | would have found | pairs |",
        "|---|---|---|---|---|---|---|",
    ]
    for finding in outcome.findings:
        bounds = f"{percent(finding.low)} to {percent(finding.high)}" if finding.kind in ("speed", "quality") else ""
        row = (
            "**better**" if finding.improved else finding.verdict,
            finding.cell,
            words(finding.column) or finding.message,
            percent(finding.change) if finding.change is not None else "",
            bounds,
            percent(finding.smallest) if finding.smallest is not None else "",
            str(finding.observations or ""),
        )
        lines.append("| " + " | ".join(_cell(text) for text in row) + " |")
    lines += ["", *(f"- {_cell(f.cell)}: {_cell(f.message)}" for f in outcome.findings if f.verdict != "pass")]
    lines += [*(f"- better: {_cell(f.cell)}: {_cell(f.message)}" for f in outcome.improvements)]
    lines += ["", *(f"> {_cell(text)}\n" for text in [*outcome.notes, *steps])]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text that stays in its cell of a table, and is no link, picture, code or element there."""
    text = printable(text).replace("\n", " ")
    return "".join(f"\\{char}" if char in "\\`[<|" else char for char in text)
