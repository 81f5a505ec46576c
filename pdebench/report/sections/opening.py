"""What the page says before anything else, in three sentences: what was compared, what came out, and how sure it is.

They are for somebody who has not seen the project before. Who leads and where the subject is behind are said with these
words only where an interval excludes no difference; a worse number without one is called just that, never left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from pdebench.report import formatting
from pdebench.report.compare import ONE_SEED, Measure, Ranking, Verdict, seeds
from pdebench.report.comparisons import Comparison, Contender
from pdebench.report.frame import SEED, SUBJECT, families_in, finished, measured, noun_of, tasks_in
from pdebench.stats.paired import FEWEST_PAIRS

NAMED = 5  # families or comparisons that a sentence can name
TOLD = 3  # places at which a measure is told with its numbers


def opening(
    table: pd.DataFrame, rankings: Sequence[Sequence[Ranking]], beside: str = "", multiples: str = ""
) -> list[str]:
    """The sentences of a frame (see `frame.make_frame`) and the rankings of each measure.

    `beside` says, in words, which families are told from the subject in the measure that is told first. `multiples` is
    the outcome of a study at equal FLOPs, likewise; where it is told, no verdicts on costs are.
    """
    done = finished(table)
    if table.empty:
        return ["No cell has run yet: there is nothing to compare."]
    if done.empty:
        cells = formatting.plural(len(table), "cell")
        return [f"{_who(table)}: none of {cells} finished, so nothing can be compared."]
    known = [[one for one in of_measure if one.compared] for of_measure in rankings]
    known = [of_measure for of_measure in known if of_measure]
    compared = _compared(done, [ranking.comparison for ranking in rankings[0]] if rankings else [])
    if not known:
        none = (
            "How sure that is cannot be told: the sections below show medians, and of speeds the spread in a process."
        )
        return [f"{compared}.", _no_ranking(done, rankings), none]
    verdicts = [one for of_measure in known for ranking in of_measure if (one := ranking.verdict(SUBJECT))]
    head = headline(done, known)
    if multiples:
        verdicts = [one for one in verdicts if one.ranking.measure == head[0].measure]
        known = [head]
    others = [one for one in verdicts if not (beside and one.ranking.measure == head[0].measure)]
    outcome = "; ".join(filter(None, [_first(head), beside, _subject(others), multiples]))
    return [f"{compared}.", f"{outcome}.", f"{_sureness(known, verdicts)}."]


def _no_ranking(done: pd.DataFrame, rankings: Sequence[Sequence[Ranking]]) -> str:
    """Why nobody is ranked."""
    if len(families_in(done)) == 1:
        return "Nothing is compared: one family ran."
    if any(ranking.reason for of_measure in rankings for ranking in of_measure):
        return "No family is ranked, because no two were measured alike; the findings say in what they differ."
    return "No family is ranked: no loss, score or speed of whole networks was measured of two of them alike."


def _who(rows: pd.DataFrame) -> str:
    families = families_in(rows)
    if len(families) > NAMED:
        return f"{', '.join(families[: NAMED - 1])} and {len(families) - NAMED + 1} more"
    return formatting.listed(families)


def _compared(done: pd.DataFrame, fields: Sequence[Comparison]) -> str:
    """Families, size, what they learned, on what, for how long, and seeds."""
    count = len(families_in(done))
    who = f"Compared are {count} kinds of network that differ in how their tokens mix, " if count > 1 else "Shown is "
    who += f"{_who(done)}{_size(done)}"
    data = sorted({str(name).partition(" (")[0] for name in done["data.name"].dropna()})
    sides = [f"{value:g}" for value in sorted(done["data.resolution"].dropna().unique())]
    on = f" on {formatting.listed(data) if len(data) <= NAMED else f'{len(data)} data sets'}" if data else ""
    on += f" at {formatting.listed(sides)} px" if sides else ""
    steps = sorted(int(one) for one in done["train.steps"].dropna().unique())
    if steps == [0]:
        return f"{who}, timed{on} without training"
    text = f"{who}, trained{on}{_span(steps, fields)}"
    learnt = [task.summary.partition(",")[0].replace("images", noun_of(done).many) for task in tasks_in(done)]
    text += f" to give {formatting.listed(learnt)}" if learnt else ""
    of_each = {entry.seeds if entry.rows[SEED].notna().any() else 0 for one in fields for entry in one.entries}
    if (most := max(of_each, default=0)) == 0:
        return text
    few, word = min(of_each), "seed" if most == 1 else "seeds"
    each = " each" if count > 1 else ""
    return f"{text}, with {'one' if most == 1 else most if few == most else f'{few} to {most}'} {word}{each}"


def _span(steps: Sequence[int], fields: Sequence[Comparison]) -> str:
    """For how long; at equal FLOPs steps would say little."""
    flops = list(dict.fromkeys(one.flops for one in fields))
    if flops and all(flops):
        ends = [one.removesuffix(" FLOPs") for one in (flops[0], flops[-1])]
        return f" at equal training FLOPs, {' to '.join(dict.fromkeys(ends))},"
    if not steps:
        return ""
    return f" for {steps[0]:,} steps" if len(steps) == 1 else f" for {steps[0]:,} to {steps[-1]:,} steps"


def _size(done: pd.DataFrame) -> str:
    """` (size XXS, 1.16 M to 1.32 M parameters)`; empty where neither is known."""
    params = done["params"].dropna()
    of_size = done.dropna(subset=["model.size"]).groupby("model.size")["params"].median()
    sizes = [str(one) for one in of_size.sort_values(kind="stable").index]  # the smallest first
    told = [f"size{'s' * (len(sizes) > 1)} {formatting.listed(sizes)}"] if 0 < len(sizes) <= NAMED else []
    if len(params):
        ends = [formatting.amount(end) for end in (params.min(), params.max())]
        told.append(f"{' to '.join(dict.fromkeys(ends))} parameters")
    return f" ({', '.join(told)})" if told else ""


def headline(done: pd.DataFrame, known: Sequence[list[Ranking]]) -> list[Ranking]:
    """The measure that is told first: what a task is judged by, where it has scores of its own, else the loss."""
    own = measured(done, [score.column for task in tasks_in(done) for score in task.scores])
    return next((one for one in known if one[0].measure.column in own[:1]), known[0])


def _first(head: Sequence[Ranking]) -> str:
    """Who has the best number in the first measure, and who leads."""
    measure = head[0].measure
    title, end = name_of(measure), "lowest" if measure.lower else "highest"
    if len(head) > TOLD:
        best: dict[str, list[Ranking]] = {}
        for ranking in head:
            for family in ranking.leaders:
                best.setdefault(family, []).append(ranking)
        most = sorted(best.items(), key=lambda item: -len(item[1]))
        told = [
            f"{family} in {len(of_family)}"
            + (f" (told from all others in {sure})" if (sure := sum(map(_leads, of_family))) else "")
            for family, of_family in most[:NAMED]
        ]
        return f"Of {len(head)} comparisons the {end} {title} is that of {formatting.listed(told)}"
    texts: list[str] = []
    before: tuple[list[str], str] | None = None
    for ranking in head:
        who = (ranking.leaders, ranking.ahead)
        texts.append(_place(ranking, first=not texts, again=who == before))
        before = who
    return formatting.listed(texts)


def _leads(ranking: Ranking) -> bool:
    return bool(ranking.ahead)


def _place(ranking: Ranking, *, first: bool, again: bool) -> str:
    """`Mamba-DiT has the lowest validation loss at 32 px (0.4028; PDE-SSM-DiT 0.4095)`; `again`: from `at` on."""
    measure, best = ranking.measure, ranking.entries[0]
    value = _shown(measure, best)
    mine = next((one for one in ranking.entries if one.family == SUBJECT), None)
    other = mine if mine is not None and mine is not best else ranking.entries[1]
    told = f"at {ranking.comparison.label} ({value}; {other.family} {_shown(measure, other)})"
    title, end = name_of(measure), "lowest" if measure.lower else "highest"
    if len(ranking.leaders) > 1:
        told = f"{title} at {ranking.comparison.label} ({value}"
        rest = "" if mine is None or mine.family in ranking.leaders else f"; {SUBJECT} {_shown(measure, mine)}"
        return f"{formatting.listed(ranking.leaders)} tie in {told}{rest})"
    if again:
        return told
    if ranking.ahead:
        return f"{best.family} leads in {title} {told}"
    return f"{best.family} has the {end} {title if first else 'one'} {told}"


def _shown(measure: Measure, entry: Contender) -> str:
    return measure.show(entry.median(measure.column))


_WORDS = (  # of the subject beside the best other family, the bad news first
    ((False, True), "is behind in {}"),
    ((False, None), "has a worse number, without an interval, in {}"),
    ((False, False), "has a worse number that may be chance in {}"),
    ((True, True), "is ahead in {}"),
    ((True, None), "has a better number, without an interval, in {}"),
    ((True, False), "has a better number that may be chance in {}"),
    ((None, None), "is level in {}"),
)


def _subject(verdicts: Sequence[Verdict]) -> str:
    """In which measures the subject is behind, and ahead, of the best other family; empty without comparisons."""
    told = []
    of_measure: dict[str, int] = {}
    for one in verdicts:
        of_measure[one.ranking.measure.column] = of_measure.get(one.ranking.measure.column, 0) + 1
    for kind, words in _WORDS:
        found: dict[str, list[Ranking]] = {}
        for one in verdicts:
            if (one.better, one.apart) == kind:
                found.setdefault(one.ranking.measure.column, []).append(one.ranking)
        names = [_where(rankings, of_measure[column]) for column, rankings in found.items()]
        if names:
            told.append(words.format(formatting.listed(names)))
    return f"beside the best of the others {SUBJECT} {'; it '.join(told)}" if told else ""


def _where(rankings: Sequence[Ranking], of: int) -> str:
    """A measure, and at which of the places that it was compared at."""
    title, count = name_of(rankings[0].measure), len(rankings)
    if count == of:
        return title
    return f"{title} at {rankings[0].comparison.label}" if count == 1 and of <= TOLD else f"{title} ({count} of {of})"


def name_of(measure: Measure) -> str:
    """The title of a measure within a sentence: `validation loss`, `KID`."""
    title = measure.title.partition(" (")[0]
    word = title.partition(" ")[0]
    plain = word[1:] == word[1:].lower() and word != "Fréchet"
    return title[:1].lower() + title[1:] if plain else title


def _sureness(known: Sequence[list[Ranking]], verdicts: Sequence[Verdict]) -> str:
    """What intervals there are, over what, and what they cannot tell."""
    rankings = [ranking for of_measure in known for ranking in of_measure]
    rated = any(ranking.measure.kind == "rate" for ranking in rankings)
    unlike = sorted({one.name for ranking in rankings for one in ranking.comparison.unlike})
    but = f"; what is compared trained with different {formatting.listed(unlike)}, too" if unlike else ""
    if only_one_seed(rankings):
        hour = " (of speeds, timed within one process, another hour)" if rated else ""
        return (
            f"How sure: nobody can say, since with one seed there is no interval and another seed{hour} may turn any "
            f"of these orders{but}; so nobody is said to lead, and nothing is in bold"
        )
    told_of = verdicts or [one for ranking in rankings if (one := ranking.verdict(ranking.entries[0].family))]
    judged = [one for one in told_of if one.better is not None]  # of equal numbers nothing is to be told apart
    sure, alike = sum(one.apart is True for one in judged), sum(one.apart is False for one in judged)
    whom = f"{SUBJECT} from the best other family" if verdicts else "the best from the next"
    told = f"95% intervals over common seeds tell {whom} in {sure or 'none'} of {_comparisons(len(judged))}"
    told += f", {alike} {'is' if alike == 1 else 'are'} not distinguishable" if alike else ""
    if none := len(judged) - sure - alike:
        told += f", and {none} {'has' if none == 1 else 'have'} no interval for want of {FEWEST_PAIRS} common seeds"
    return (
        f"How sure: {told}{but}; an interval knows nothing of other data, sizes or learning rates, and one in "
        "twenty may be wrong by chance"
    )


def _comparisons(count: int) -> str:
    return formatting.plural(count, "comparison")


def only_one_seed(rankings: Sequence[Ranking]) -> bool:
    """Whether every number that is compared is of one seed, so that nothing has an interval."""
    return all(seeds(ranking.entries, ranking.measure.column) == ONE_SEED for ranking in rankings)
