"""Minutes of faults: `nox -s chaos`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import tally
from runs import wait_for
from storm import DIVERGES, HUNGRY, LEAVES, SLEEPY, Storm, small_disk

import pdebench

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds processes under /proc"),
]
FAULTS = ["KILL", "TERM", "SEGV"] * 3 + ["KILL", "TERM", "parent KILL", "parent KILL"]


def test_twelve_cells_in_a_storm(tmp_path: Path) -> None:
    """Killed, asked to end, crashed, starved, hung, orphaned and without a disk: every cell ends with a true status."""
    with small_disk(tmp_path / "disk", megabytes=900) as disk:
        storm = Storm(
            tmp_path, (disk or tmp_path) / "out", seed=1, families=["DiT", "PDE-SSM-DiT", "None-DiT"], seeds=[0, 1, 2],
            faulty=[HUNGRY, SLEEPY, DIVERGES, LEAVES], steps=300, seconds=25, options=("--workers", "2"),
        )  # fmt: skip
        faults = [*FAULTS, "disk full"]
        storm.random.shuffle(faults)
        for fault in faults:
            if fault != "disk full":
                storm.throw(fault)
            elif disk is not None:
                storm.fill_disk()
            else:
                print("\nskipped: disk full (this user cannot mount a tmpfs)")
        statuses = storm.settle()
        assert statuses == storm.expected, storm.output()
        print(f"\n{storm.summary()}")
        for fault, count in storm.injected.items():
            tally.note(fault if " " in fault else f"cell {fault}", "lost" if storm.witness.lost else "survived", count)
        wait_for(lambda: not storm.escaped(), 30)  # a warm server ends with its run, and not at once
        assert not storm.witness.lost
        assert "Traceback" not in storm.output()
        results = storm.results
        pd.testing.assert_frame_equal(pd.read_parquet(results / "table.parquet"), pdebench.load_results(results))
        assert not list(results.glob("cells/*/.*.tmp"))
        assert not list(results.glob("cells/*/lease"))
