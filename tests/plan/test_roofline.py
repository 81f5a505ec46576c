"""Predicted times by hand, and what is written down of the devices."""

from __future__ import annotations

import json

import pytest

from pdebench.plan.devices import DATASHEETS, EFFICIENCY
from pdebench.plan.roofline import Rates, seconds_by_kind
from pdebench.plan.trace import Operation

RATES = Rates({"linear": 100.0, "scan": 10.0, "ssd": 40.0}, bandwidth=50.0, latency=0.5)


@pytest.mark.parametrize(
    ("operation", "seconds"),
    [
        (Operation("linear", "mm", 1000.0, 100), 10.0),  # bound by arithmetic
        (Operation("linear", "mm", 100.0, 1000), 20.0),  # by memory
        (Operation("linear", "mm", 1.0, 1), 0.5),  # by its launch
        (Operation("pointwise", "add", 1e9, 100), 2.0),  # a kind without a rate: by memory alone
        (Operation("scan", "selective_scan", 100.0, 1), 10.0),
        (Operation("scan", "ssd", 100.0, 1), 2.5),  # a rate of its own goes before its kind's
    ],
)
def test_the_slowest_of_three_bounds_an_operation(operation: Operation, seconds: float) -> None:
    assert RATES.seconds(operation) == seconds


def test_operations_follow_one_another() -> None:
    work = {Operation("linear", "mm", 1000.0, 1): 3, Operation("pointwise", "add", 0.0, 100): 2}
    assert seconds_by_kind(work, RATES) == {"linear": 30.0, "pointwise": 4.0}


@pytest.mark.parametrize("key", DATASHEETS)
def test_a_device_says_what_its_rates_rest_on(key: str) -> None:
    sheet, device = DATASHEETS[key], DATASHEETS[key].device(key)
    about = json.loads(json.dumps(device.about()))
    assert about["datasheet"]["source"]
    assert about["efficiency"] == EFFICIENCY
    assert device.rates["auto"] == device.rates["bf16"]
    for rates, peak in ((device.rates["bf16"], sheet.bf16), (device.rates["fp32"], sheet.fp32)):
        assert rates.flops["linear"] == pytest.approx(EFFICIENCY["linear"] * peak)
        assert max(rates.flops.values()) < peak
        assert rates.flops["selective_scan"] * 9 == pytest.approx(rates.flops["scan"] * 6)  # uncounted: the decays
        assert rates.bandwidth < sheet.bandwidth
    assert device.memory < sheet.memory


def test_peaks_are_dense() -> None:
    """The datasheets' headline figures, with sparsity, are twice these."""
    assert {key: round(sheet.bf16 / 1e12) for key, sheet in DATASHEETS.items()} == {
        "h100": 990,
        "h200": 990,
        "a100": 312,
        "l40s": 362,
        "4090": 165,
    }
