"""Runs whose mixers were measured in space, as the section and its charts show them."""

from __future__ import annotations

from dataclasses import dataclass

from pdebench.measure.spatial.findings import Survey

UNTRAINED = "untrained"


@dataclass(frozen=True)
class Seen:
    """One run and what its survey found.

    Attributes:
        family: its family.
        who: family and, where there are several, size.
        state: `untrained`, or `after 100 steps`, or `trained` where runs differ in that.
        place: data set and resolution, of clips also frames.
        found: its survey.
        gated: its task's blocks have adaLN-zero's gates.
    """

    family: str
    who: str
    state: str
    place: str
    found: Survey
    gated: bool

    @property
    def trained(self) -> bool:
        """Whether it has learned anything."""
        return self.state != UNTRAINED
