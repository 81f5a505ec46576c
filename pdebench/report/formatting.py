"""Numbers as a reader wants them. A missing number is an em dash, never 0."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from pdebench.data.nouns import plural as plural
from pdebench.stats.digits import short

MISSING = "—"


def missing(value: Any) -> bool:
    """Whether there is nothing to show."""
    if value is None or (isinstance(value, str) and not value):
        return True
    if isinstance(value, list | tuple | dict):
        return False
    return bool(pd.isna(value)) if pd.api.types.is_scalar(value) else False


def number(value: Any, digits: int = 4) -> str:
    """A number in few digits: 0.2116, 85.3, 1,204, 3.1e-5, 2.4e12."""
    if missing(value):
        return MISSING
    value = float(value)
    if not math.isfinite(value):
        return str(value)
    if value.is_integer() and abs(value) < 1e10:
        return f"{int(value):,}".replace("-", "−")
    if abs(value) >= 1e7 or abs(value) < 1e-3:
        return short(value, digits - 1).replace("-", "−")
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}".replace("-", "−")


def amount(value: Any, unit: str = "") -> str:
    """A number with an SI prefix: 412 k, 3.2 T."""
    if missing(value):
        return MISSING
    value = float(value)
    for power, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= power:
            return f"{value / power:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}".strip()


def size(value: Any) -> str:
    """Bytes as MiB or GiB."""
    if missing(value):
        return MISSING
    mebi = float(value) / 2**20
    return f"{mebi / 1024:.2f} GiB" if mebi >= 1024 else f"{mebi:.0f} MiB" if mebi >= 10 else f"{mebi:.1f} MiB"


def flops(value: float) -> str:
    """A budget: `1e12 FLOPs`, in as few digits as tell it to 1.5%, since it is met to half a step."""
    texts = [f"{value:.{digits}e}" for digits in range(3)]
    text = next((one for one in texts if abs(float(one) / value - 1) < 0.015), texts[-1])
    return f"{text.replace('e+', 'e')} FLOPs"


def percent(ratio: float) -> str:
    """A ratio as a signed change: 1.04 is `+4.0%`."""
    return f"{(ratio - 1) * 100:+.1f}%".replace("-", "−")


def times(ratio: float) -> str:
    """A ratio as a factor: 1.5 is `1.5×`, 12.3 is `12×`."""
    return f"{ratio:.3g}×" if ratio < 10 else f"{ratio:.0f}×"


def listed(words: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
