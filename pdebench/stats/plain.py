"""Figures as JSON has them."""

from __future__ import annotations

import math
from typing import Any


def plain_json(value: Any) -> Any:
    """A value with lists in place of tuples, and null in place of NaN and infinity, for which JSON has no word."""
    if isinstance(value, dict):
        return {key: plain_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
