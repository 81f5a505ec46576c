"""The storm of `tests/chaos` in short."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from runs import wait_for
from storm import DIVERGES, HUNGRY, LEAVES, Storm

import pdebench


@pytest.mark.exhaustive
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes under /proc")
def test_a_short_storm_loses_no_record(tmp_path: Path) -> None:
    storm = Storm(
        tmp_path, tmp_path / "out", seed=0, families=["DiT", "None-DiT"], seeds=[0], faulty=[HUNGRY, DIVERGES, LEAVES],
        steps=30, seconds=60, pause=1.0, isolations=["warm"],
    )  # fmt: skip
    for fault in ("KILL", "parent KILL"):
        storm.throw(fault)
    assert storm.settle() == ["done", "done", "oom", "diverged", "done"], storm.output()
    assert not storm.witness.lost
    wait_for(lambda: not storm.escaped(), 30)  # a warm server ends with its run, and not at once
    assert "Traceback" not in storm.output()
    table = pd.read_parquet(storm.results / "table.parquet")
    pd.testing.assert_frame_equal(table, pdebench.load_results(storm.results))
