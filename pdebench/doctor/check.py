"""One thing that `pdebench doctor` looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what was looked at.
        state: `ok`, `warning`: there, but not as it should be, `missing`, or `broken`: installed, and it fails.
        detail: what was found.
        remedy: what to do about it; empty where there is nothing to do.
        essential: without it no suite runs.
    """

    name: str
    state: Literal["ok", "warning", "missing", "broken"]
    detail: str
    remedy: str = ""
    essential: bool = False

    @property
    def fatal(self) -> bool:
        """No suite runs before this is mended."""
        return self.essential and self.state == "missing"
