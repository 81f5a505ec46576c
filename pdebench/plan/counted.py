"""What was counted of a model's forward pass. Importing this imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from pdebench.plan.counting.kinds import KINDS, kind_of


@dataclass(frozen=True)
class CountedCost:
    """MACs of one forward pass for one image, by kind of operation, and what was left uncounted with its calls."""

    by_kind: dict[str, int]
    uncounted: dict[str, int]

    @property
    def macs(self) -> int:
        """All counted MACs of one image's forward pass."""
        return sum(self.by_kind.values())

    def of_kinds(self) -> dict[str, int]:
        """The MACs of every kind in KINDS: linear, attention, fft, scan, conv and pointwise."""
        found = dict.fromkeys(KINDS, 0)
        for name, macs in self.by_kind.items():
            found[kind_of(name)] += macs
        return found

    def flops_train_step(self, batch_size: int) -> int:
        """FLOPs of one optimiser step: 3 x 2 x MACs x batch (backward costs two forwards; no recomputation)."""
        return 3 * 2 * self.macs * batch_size
