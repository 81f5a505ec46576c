"""What a gate found, one sentence each, and the exit status that it comes to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["pass", "regression", "changed", "inconclusive", "missing", "failed"]
Kind = Literal["exact", "speed", "quality", "cell"]

# An outcome comes to the first of these that some finding has: what is known to be bad before what is not known.
EXIT: dict[Verdict, int] = {"regression": 1, "changed": 1, "failed": 4, "missing": 3, "inconclusive": 3, "pass": 0}


@dataclass(frozen=True)
class GateFinding:
    """One thing that was looked at.

    Attributes:
        kind: `exact`, `speed` (and memory), `quality`, or `cell`: whether there is anything to compare at all.
        cell: its label; empty: of all cells.
        column: of the record.
        verdict: what it means.
        message: in a sentence.
        improved: it got better by more than the tolerance.
        change: head over base, as a share: .05 is 5% more, which is worse but of scores of which more is better. None
            where there is no such number.
        low: bound from below on the change, at 95%.
        high: bound from above, at 95%.
        smallest: the change that would have been found with 90% chance; None: no change could have been.
        observations: pairs behind it, or seeds.
    """

    kind: Kind
    cell: str
    column: str
    verdict: Verdict
    message: str
    improved: bool = False
    change: float | None = None
    low: float | None = None
    high: float | None = None
    smallest: float | None = None
    observations: int = 0


@dataclass(frozen=True)
class GateOutcome:
    """All of a gate's findings.

    Attributes:
        suite: its name.
        base: what was compared with: a revision and its commit, or a file.
        head: the commit that was judged.
        machine: fingerprint.
        findings: in the order of the cells.
        notes: sentences that belong to no finding.
        seconds: how long it took.
        processes: how many were run.
        levels: for a history: cell and column to the logarithm of what it costs, calibrated.
    """

    suite: str
    base: Mapping[str, str]
    head: str
    machine: str
    findings: Sequence[GateFinding]
    notes: Sequence[str] = ()
    seconds: float = 0.0
    processes: int = 0
    levels: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The first of EXIT's verdicts that some finding has."""
        found = {finding.verdict for finding in self.findings}
        return next((verdict for verdict in EXIT if verdict in found), "inconclusive")

    @property
    def exit_code(self) -> int:
        """0 pass, 1 regression or change, 3 inconclusive or not comparable, 4 a cell failed."""
        return EXIT[self.verdict]

    def having(self, *verdicts: Verdict) -> list[GateFinding]:
        """The findings of some verdicts."""
        return [finding for finding in self.findings if finding.verdict in verdicts]

    @property
    def improvements(self) -> list[GateFinding]:
        """What got better."""
        return [finding for finding in self.findings if finding.improved]

    def sentence(self) -> str:
        """The outcome in one line."""
        counts = {verdict: len(self.having(verdict)) for verdict in EXIT}
        said = ", ".join(f"{count} {_WORDS[verdict]}" for verdict, count in counts.items() if count)
        better = f"; {len(self.improvements)} better" if self.improvements else ""
        return f"{_HEADLINES[self.verdict]}: {said or 'nothing was compared'}{better}"

    def as_json(self) -> dict[str, Any]:
        """For programs; infinities are null."""
        found = {"verdict": self.verdict, "exit_code": self.exit_code, **asdict(self)}
        found["findings"] = [asdict(finding) for finding in self.findings]
        return found


_HEADLINES: dict[Verdict, str] = {
    "pass": "pass",
    "regression": "regression",
    "changed": "changed",
    "failed": "a cell failed to run",
    "missing": "not comparable",
    "inconclusive": "inconclusive",
}
_WORDS: dict[Verdict, str] = {
    "pass": "passed",
    "regression": "worse",
    "changed": "changed",
    "failed": "failed",
    "missing": "missing",
    "inconclusive": "inconclusive",
}


def share(shift: float) -> float | None:
    """A shift of logarithms as a share, `log 1.05` as .05; None where it is infinite."""
    return math.expm1(shift) if math.isfinite(shift) else None


def percent(value: float | None) -> str:
    """A share for reading: +5.0%."""
    return "—" if value is None else f"{100 * value:+.1f}%"
