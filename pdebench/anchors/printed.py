"""Numbers as a paper prints them: their digits are part of what it says."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated

from pydantic import Field

Printed = Annotated[str, Field(pattern=r"^\d+(\.\d+)?$", description="A number with the digits that are printed.")]


def agrees(printed: str, number: float) -> bool:
    """Whether a number is the printed one, rounded to its digits."""
    places = Decimal(1).scaleb(-len(printed.partition(".")[2]))
    return Decimal(printed) == Decimal(repr(float(number))).quantize(places, ROUND_HALF_UP)
