"""Model FLOPs utilisation (MFU): the model's own FLOPs a second, over what its devices' maker says they can do.

The term is PaLM's (arXiv 2204.02311, appendix B): the FLOPs are those that the model needs, not those that were run, so
that recomputation does not count. Here they are the operators' own counts (`plan/cost.py`), not an estimate from the
number of parameters. Importing this imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pdebench.plan.devices import datasheet_of


@dataclass(frozen=True)
class Peak:
    """What the devices of a cell can do at most, dense, by their maker's figures.

    Attributes:
        flops: FLOP/s of one device.
        precision: of the products: `fp32` or `bf16`.
        source: of the figure.
        devices: how many there are.
    """

    flops: float
    precision: str
    source: str
    devices: int = 1

    def __str__(self) -> str:
        """`989.5 TFLOP/s bf16 dense, NVIDIA H200 datasheet`; of eight devices `8 × 989.5 TFLOP/s ...`."""
        many = f"{self.devices} × " if self.devices > 1 else ""
        return f"{many}{self.flops / 1e12:g} TFLOP/s {self.precision} dense, {self.source}"

    def share(self, flops: float, seconds: float) -> float:
        """The share of it that so many FLOPs in so many seconds are."""
        return flops / seconds / (self.flops * self.devices)


def peak_of(device: str, precision: str, devices: int, *, tf32: bool = False) -> Peak | None:
    """The peak of so many devices of a name; None where no datasheet is known to be its own.

    Args:
        device: as a record has it.
        precision: as a record has it, `precision_used`.
        devices: that share the cell.
        tf32: float32 products may run as TF32, which is neither of the two peaks.
    """
    sheet = datasheet_of(device)
    if sheet is None or (tf32 and precision == "fp32"):
        return None
    return Peak(sheet.peak(precision), precision, sheet.source, devices)


def mfu_columns(
    peak: Peak | None, row: Mapping[str, Any], sample_flops: float | None, classify_flops: float | None = None
) -> dict[str, Any]:
    """The columns `train_mfu`, `sample_mfu`, `classify_mfu` and `mfu_peak` of a record, each where there is a timing to
    tell it of.

    Args:
        peak: None: not known, and all are null.
        row: of the record, with what was timed.
        sample_flops: of one sample; None: not asked for.
        classify_flops: of one image that is classified, by one device; None: none was.
    """
    step, rate = row.get("train_step_ms_median"), row.get("sample_images_per_s")
    found: dict[str, Any] = {}
    if step is not None:
        found["train_mfu"] = None if peak is None else peak.share(row["flops_train_step"], step / 1000)
    if rate is not None:
        found["sample_mfu"] = None if peak is None or sample_flops is None else peak.share(sample_flops, 1 / rate)
    if (classified := row.get("classify_images_per_s")) is not None and classify_flops is not None:
        alone = None if peak is None else replace(peak, devices=1)
        found["classify_mfu"] = None if alone is None else alone.share(classify_flops, 1 / classified)
    return found | {"mfu_peak": None if peak is None else str(peak)} if found else {}
