"""A history: a line a run, and a sentence for each step in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pdebench.errors import ResultsError
from pdebench.measure.timing_stability import TimingStability
from pdebench.regress.history import append, found_steps, levels, read
from pdebench.regress.outcome import GateOutcome
from pdebench.stats.regression import Rule

KEY = "DiT-XXS/4: block_ms_median"


def run(level: float, commit: str, machine: str = "here") -> GateOutcome:
    return GateOutcome("nightly", {"commit": "a" * 40}, commit * 40, machine, [], levels={KEY: level})


def test_a_step_is_told_with_its_day_and_its_commits(tmp_path: Path) -> None:
    random, path = np.random.default_rng(0), tmp_path / "history.jsonl"
    for day in range(1, 21):
        slower = 0.08 if day > 12 else 0.0
        append(path, run(slower + random.normal(0, 0.005), "abcdef"[day % 6]), when=f"2026-11-{day:02}T02:00:00")
        append(path, run(random.normal(0, 3), "e", machine="elsewhere"), when=f"2026-11-{day:02}T02:00:00")
    assert len(read(path)) == 40
    (sentence,) = found_steps(path, run(0.08, "c"), Rule())
    assert sentence.startswith("DiT-XXS/4: block costs +8.")
    assert sentence.endswith("since the run of 2026-11-13, a regression (aaaaaaaaaaaa..bbbbbbbbbbbb)")


def test_an_improvement_is_called_one_and_a_step_without_a_commit_is_the_machines(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    for day in range(1, 17):
        append(path, run(-0.1 * (day > 8) + 0.001 * (day % 3), "c"), when=f"2026-11-{day:02}")
    (sentence,) = found_steps(path, run(-0.1, "c"), Rule())
    assert "an improvement (within cccccccccccc: the machine changed, not the code)" in sentence


def test_a_slower_day_is_taken_off_what_it_slowed() -> None:
    def day(slower: float) -> dict[str, float]:
        reading = TimingStability("a machine", {"matmul": [0.1 * slower], "bandwidth": [0.2 * slower]})
        units = [{"block_ms_median": ms * slower, "peak_memory_bytes": 1000} for ms in (99.0, 10.0, 10.2)]
        return levels({"DiT": units}, [reading, reading])

    assert day(1.3) == pytest.approx(day(1.0))
    assert levels({"DiT": [{"block_ms_median": 10.0}]}, []) == {}


@pytest.mark.parametrize("line", ["{", "[]", '{"night": "2026-11-01"}'])
def test_what_is_no_run_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "history.jsonl"
    append(path, run(0.0, "c"))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ResultsError, match=r"history.jsonl:2: is no run of a history"):
        read(path)


def test_a_run_after_a_line_without_an_end_is_a_line_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    append(path, run(0.1, "b"))
    path.write_text(path.read_text().rstrip("\n"))  # as some editors save it
    append(path, run(0.2, "c"))
    assert [one["head"] for one in read(path)] == ["b" * 40, "c" * 40]
