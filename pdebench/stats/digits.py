"""How a number is written: with how many digits, and in how few."""

from __future__ import annotations

import re
from decimal import Decimal


def decimals(value: float) -> int:
    """Digits behind the point, as many as it takes to write a finite value."""
    exponent = Decimal(repr(float(value))).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def short(value: float, digits: int) -> str:
    """A number in so many digits or fewer, a power of ten as people type it: `3e11`, not `3e+11`."""
    return re.sub(r"e\+?(-?)0*", r"e\1", f"{value:.{digits}g}")
