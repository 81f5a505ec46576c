"""A share of trials that went well, and its 95% interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """`hits` of `trials`, of which there is one at least."""

    hits: int
    trials: int

    @property
    def value(self) -> float:
        """From 0 to 1."""
        return self.hits / self.trials

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's score interval of 95%: it has no width of 0 at shares of 0 and 1, as the normal one has."""
        from scipy.stats import binomtest  # takes longer to import than pandas

        found = binomtest(self.hits, self.trials).proportion_ci(confidence_level=0.95, method="wilson")
        return float(found.low), float(found.high)
