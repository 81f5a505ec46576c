"""The words and the small table that end a run in the terminal."""

from __future__ import annotations

import shlex
import sys

from rich.console import Console
from rich.text import Text

from pdebench.data.nouns import called, plural
from pdebench.errors import printable
from pdebench.metrics.metric import Score
from pdebench.results.store import Results
from pdebench.run.slurm.submit import Submitted
from pdebench.run.sweep import RunOutcome, failed_before
from pdebench.suite.labels import labels
from pdebench.tasks.scores import scores_among
from pdebench.terminal.text_table import TextColumn, in_columns

MOST_ROWS = 40  # of the table: of more cells those that finished last, the others are in the report


def print_outcome(console: Console, outcome: RunOutcome, suite: str) -> None:
    """Say what a run did, what failed, and what to do next."""

    def say(text: str, style: str | None = None) -> None:
        console.print(printable(text), style=style, soft_wrap=True, highlight=False, markup=False)

    again = shlex.join(["pdebench", *sys.argv[1:]])
    if outcome.records:
        console.print(_table(outcome, console.width), soft_wrap=True)
        if (others := len(outcome.records) - MOST_ROWS) > 0:
            say(f"… and {plural(others, 'cell')} that finished before")
    for record in outcome.failed:
        say(f"{record['status']}: cell {record['cell']}: {record.get('message') or 'it left no message'}", "red")
        say(f"  log: {Results(outcome.folder).cell(record['cell']) / 'log.txt'}")
    for cell, why in outcome.lost.items():
        say(f"not done: cell {cell}: {why}", "red")
    if outcome.lost:
        say(f"to go on with them: {again}")
    if outcome.interrupted:
        done = "1 cell is" if outcome.done == 1 else f"{outcome.done} cells are"
        left = f"{outcome.missing} {'is' if outcome.missing == 1 else 'are'} left"
        say(f"interrupted: {done} done and kept, {left}; go on with: {again}")
    elif not outcome.ran and not outcome.failed:
        say(f"nothing to do: {'the one cell is' if outcome.done == 1 else f'all {outcome.done} cells are'} done")
    if failed_before(outcome.failed) and not outcome.interrupted:
        say(f"to run what failed again: {again}{'' if '--retry' in sys.argv else ' --retry failed'}")
    if outcome.records:
        say(f"report: {outcome.folder / 'report.html'}")
        say(f"tables: {outcome.folder / 'table.csv'} and table.parquet, one row a cell")


def print_submitted(console: Console, submitted: Submitted) -> None:
    """Say what was queued, what was under way, and what to do next."""

    def say(text: str) -> None:
        console.print(printable(text), soft_wrap=True, highlight=False, markup=False)

    for array in submitted.arrays:
        say(f"submitted job {array.job}: {plural(len(array.cells), 'cell')}")
    if submitted.under_way:
        say(f"not submitted again: {plural(len(submitted.under_way), 'cell')} under way")
    if submitted.left:
        say(f"how they stand: pdebench status {submitted.folder}")
        say(f"to stop them: pdebench cancel {submitted.folder}")
        say(f"tables and report of what is done by then: pdebench report {submitted.folder}")


def _table(outcome: RunOutcome, width: int) -> Text:
    """One line a cell: its loss, its first Frechet distance or else its task's first score, its speed."""
    names = labels(outcome.cells)
    last = {record["cell"] for record in sorted(outcome.records, key=lambda one: one["finished_at"])[-MOST_ROWS:]}
    found = {key for record in outcome.records for key in record}
    scores = scores_among(found)
    judged = next((score for score in scores if score.kind == "frechet"), None)
    judged = judged or next((score for score in scores if score.kind == "share"), None)
    heads = (
        "params",
        "val loss",
        *([_head(judged)] if judged else []),
        f"train {called(cell.data.frames for cell in outcome.cells).short}/s",
    )
    columns = [TextColumn("cell", least=32), *(TextColumn(head, right=True) for head in heads)]

    def number(record: dict[str, object], key: str, form: str, scale: float = 1) -> str:
        value = record.get(key)
        return "—" if not isinstance(value, int | float) else format(value / scale, form)

    rows = []
    for record in (one for one in outcome.records if one["cell"] in last):
        params = number(record, "params", ".2f", 1e6)
        told = [params if params == "—" else f"{params} M", number(record, "val_loss", ".4f")]
        if judged:
            told.append(number(record, judged.column, ".1%" if judged.kind == "share" else ".2f"))
        told.append(number(record, "train_images_per_s", ".0f"))
        rows.append([(text, "") for text in (names[record["cell"]], *told)])
    return in_columns(columns, rows, width)


def _head(score: Score) -> str:
    """What stands above a score: `FID`, `FD` of another extractor, `top1`."""
    if score.kind == "frechet":
        return "FID" if score.column == "fid" else "FD"
    return score.column
