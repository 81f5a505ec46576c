"""The study of the gate's error rates: a record whose truth is known, replayed; and the revisions that are slowed."""

from __future__ import annotations

import numpy as np

from benchmarks.gate.__main__ import table
from benchmarks.gate.record import FAMILIES, Block, read
from benchmarks.gate.replay import replay, summarise
from benchmarks.gate.slowdown import FAMILY, KINDS, LOOP
from pdebench.regress.samples import ABBA, BAAB, ProcessSample
from pdebench.stats.regression import Rule


def recorded(noise: float) -> list[Block]:
    """Blocks as `record` would leave them on a machine with such noise."""
    random, blocks = np.random.default_rng(0), []
    for turn in range(120):
        kind = list(KINDS)[turn % 4]
        for family in FAMILIES if kind == "same" else (FAMILY,):
            order = ABBA if random.random() < 0.5 else BAAB
            costs = [float(np.exp(random.normal(0, noise))) * (1 + KINDS[kind] * (side == "head")) for side in order]
            blocks.append(
                Block(kind, family, order, tuple(ProcessSample({"block_ms_median": cost}, 5.0) for cost in costs))
            )
    return blocks


def test_nights_from_a_quiet_record_find_what_is_slower_and_nothing_else() -> None:
    blocks, rule, found = recorded(0.01), Rule(), {}
    for kind in ("same", "5%", "10%"):
        nights = [replay(blocks, kind, seed, 10, rule) for seed in range(5)]
        assert all(night.seconds <= 600 for night in nights)
        found[kind] = summarise(kind, nights, blocks, rule)
    assert (found["same"].alarms, found["same"].passed) == (0, 5)
    assert found["5%"].alarms == found["10%"].alarms == 5
    assert found["10%"].elsewhere == 0
    assert abs(found["10%"].true - 0.1) < 0.01
    assert "| 10% | +" in table(list(found.values()))


def test_half_a_line_of_a_recording_that_was_killed_is_left_out(tmp_path) -> None:  # type: ignore[no-untyped-def]
    line = '{"at": 1, "kind": "same", "family": "DiT", "order": ["base", "head", "head", "base"], "units": []}\n'
    (tmp_path / "blocks.jsonl").write_text(line + line[:40])
    assert [block.kind for block in read(tmp_path / "blocks.jsonl")] == ["same"]


def test_the_loop_that_slows_a_block_is_code_of_the_block() -> None:
    from pathlib import Path

    from pdebench.models import backbone

    compile(Path(backbone.__file__).read_text() + LOOP.format(share=0.15), "slowed", "exec")
