"""Time predicted from arithmetic, bytes and a device's rates: no operation is faster than the slowest of the three.

    seconds = sum over operations of max(FLOPs / rate of its kind, bytes / bandwidth, latency)

(the roofline of Williams, Waterman and Patterson 2009, one for each operation). Importing this imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Work(Protocol):
    """An operation, as `plan/trace.py` sees it."""

    @property
    def kind(self) -> str:
        """`linear`, `attention`, `fft`, `scan`, `conv` or `pointwise`."""

    @property
    def name(self) -> str:
        """Which one of its kind."""

    @property
    def flops(self) -> float:
        """Floating-point operations."""

    @property
    def bytes(self) -> int:
        """Bytes read and written."""


W = TypeVar("W", bound=Work)


@dataclass(frozen=True)
class Rates:
    """What a device reaches in one precision.

    Attributes:
        flops: FLOP/s by kind of operation, or by name where operations of a kind differ; kinds that are left out are
            bound by memory alone.
        bandwidth: bytes/s.
        latency: seconds that any operation takes at least.
    """

    flops: Mapping[str, float]
    bandwidth: float
    latency: float

    def seconds(self, work: Work) -> float:
        """Of one operation."""
        rate = self.flops.get(work.name) or self.flops.get(work.kind)
        arithmetic = work.flops / rate if rate else 0.0
        return max(arithmetic, work.bytes / self.bandwidth, self.latency)


def seconds_by_kind(operations: Mapping[W, int], rates: Rates) -> dict[str, float]:
    """Predicted seconds of operations with their counts, one after another, by kind."""
    total: dict[str, float] = {}
    for work, count in operations.items():
        total[work.kind] = total.get(work.kind, 0.0) + rates.seconds(work) * count
    return dict(sorted(total.items()))
