"""This machine's rates: there, positive, and of a magnitude that some machine has; nothing here depends on speed."""

from __future__ import annotations

import sys

import pytest
import torch

from pdebench.errors import CalibrationError
from pdebench.plan.probe import calibrate, this_device

SCANS = {"selective_scan", "ssd", "gated_linear_attention"}


def test_every_kind_is_measured() -> None:
    rates = calibrate("fp32", torch.device("cpu"), seconds=0.05)
    assert set(rates.flops) == {"linear", "attention", "fft", "conv", *SCANS}
    assert all(1e5 < rate < 1e17 for rate in rates.flops.values())
    assert 1e6 < rates.bandwidth < 1e15
    assert 0 < rates.latency < 1


def test_this_machine_is_calibrated_in_a_process_of_its_own() -> None:
    device = this_device(["auto"], memory=10**9)
    assert device.recorded_as in device.name
    assert set(device.rates) == {"auto", device.auto}
    assert device.about()["basis"].startswith("calibrated here")
    if not torch.cuda.is_available():
        assert device.memory < 10**9  # the limit, less what no model can use


def test_a_probe_that_fails_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(CalibrationError, match=r"cannot be calibrated .status 1.: name a device with --device"):
        this_device(["auto"])
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(CalibrationError, match=r"cannot be calibrated .*No such file"):
        this_device(["auto"])
