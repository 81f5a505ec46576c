"""The two probes beside a measurement, and how much of one is in half a second; nothing here depends on speed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pdebench.measure.timing_stability import SAMPLE, TimingStability, main


def test_both_probes_take_turns(capsys: pytest.CaptureFixture[str]) -> None:
    main(0.1)
    printed = json.loads(capsys.readouterr().out)
    found = TimingStability(printed["about"], printed["seconds"])
    assert list(found.seconds) == ["matmul", "bandwidth"]
    assert len({len(samples) for samples in found.seconds.values()}) == 1
    assert all(0 < second < 60 for samples in found.seconds.values() for second in samples)
    assert found.levels["matmul"] == pytest.approx(np.log(np.median(found.seconds["matmul"])))
    assert "thread" in found.about


def test_pairs_are_of_neighbouring_half_seconds() -> None:
    half = round(0.5 / SAMPLE)
    samples = [1.0] * half + [1.1] * half + [2.0] * half + [2.0] * half + [9.0]
    pairs = TimingStability("a machine", {"matmul": samples, "bandwidth": samples}).pairs()
    assert pairs == pytest.approx([np.log(1.1), 0, np.log(1.1), 0])
