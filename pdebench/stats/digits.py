"""How many digits a number is written with."""

from __future__ import annotations

from decimal import Decimal


def decimals(value: float) -> int:
    """Digits behind the point, as many as it takes to write a finite value."""
    exponent = Decimal(repr(float(value))).normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
