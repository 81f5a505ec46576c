"""A night of interleaved processes: its order, its end, its rerun."""

from __future__ import annotations

import re

import numpy as np
import pytest
from fakes import Machine, keys

from pdebench.errors import PdebenchError
from pdebench.regress.revision_gate import make_plan
from pdebench.regress.sequential_test import SequentialTest, confirmed, run_sequential_test
from pdebench.stats.regression import Rule

RULE = Rule()


def spend(
    machine: Machine, minutes: float = 10, cells: tuple[str, ...] = ("DiT", "PDE"), **more: object
) -> SequentialTest:
    once = tuple(more.pop("once", ()))  # type: ignore[call-overload]
    return run_sequential_test(cells, once, machine.measure, RULE, seconds=60 * minutes, clock=machine.clock, **more)  # type: ignore[arg-type]


def test_processes_are_interleaved_and_their_order_is_a_coins() -> None:
    machine = Machine()
    spend(machine)
    blocks = ["".join(side[0] for side, _ in machine.ran[i : i + 4]) for i in range(4, len(machine.ran) - 3, 4)]
    assert set(blocks) == {"bhhb", "hbbh"}
    cells = [machine.ran[i][1] for i in range(4, len(machine.ran) - 3, 4)]
    assert cells[:4] == ["DiT", "PDE", "DiT", "PDE"]


def test_a_quiet_night_ends_early_and_passes() -> None:
    machine = Machine(noise=0.005)
    night = spend(machine, minutes=30)
    assert night.stopped == "clear"
    assert night.seconds < 15 * 60
    assert [judgement.verdict for judgement in night.judgements] == ["pass", "pass"]


def test_a_slow_cell_is_found_and_confirmed_by_a_rerun_within_the_time() -> None:
    machine = Machine(slower={"PDE": 0.08})
    night = spend(machine)
    assert [judgement.verdict for judgement in night.judgements] == ["pass", "regression"]
    assert night.seconds <= 10 * 60
    passed, slow = night.tests
    assert passed.confirmation is None
    assert confirmed(slow, RULE)
    assert slow.evidence.estimate == pytest.approx(0.077, abs=0.02)
    rerun = machine.ran[-12:]
    assert {cell for _, cell in rerun} == {"PDE"}


def test_where_there_is_nothing_to_confirm_its_time_goes_to_what_is_not_clear() -> None:
    machine = Machine(noise=0.08)
    night = spend(machine)
    assert night.stopped == "time"
    assert {judgement.verdict for judgement in night.judgements} == {"inconclusive"}
    assert 0.85 * 600 < night.seconds <= 600


def test_what_the_last_look_finds_is_rerun_within_the_time() -> None:
    found = 0
    for seed in range(40):
        machine = Machine(slower={"PDE": 0.05}, noise=0.035)
        machine.random = np.random.default_rng(seed)
        told: list[float] = []
        night = spend(
            machine, say=lambda text, told=told, machine=machine: told.append(machine.now * ("rerun" in text))
        )
        assert night.seconds <= 600
        if max(told) > 0.85 * 600:
            found += 1
            assert night.tests[1].confirmation is not None
    assert found >= 3


def test_what_the_rerun_does_not_see_is_not_confirmed() -> None:
    machine = Machine(slower={"DiT": 0.3})
    night = spend(machine, cells=("DiT",), say=lambda text: machine.slower.clear() if "rerun" in text else None)
    assert night.judgements[0].verdict == "regression"
    assert night.tests[0].confirmation is not None
    assert not confirmed(night.tests[0], RULE)


def test_a_night_that_is_too_short_is_inconclusive_and_keeps_its_time() -> None:
    machine = Machine(slower={"DiT": 0.5})
    night = spend(machine, minutes=1.5)
    assert night.stopped == "time"
    assert {judgement.verdict for judgement in night.judgements} == {"inconclusive"}
    assert night.seconds <= 90


def test_what_the_time_can_show_is_said_before_it_is_spent_and_is_about_right() -> None:
    machine, told = Machine(noise=0.08), []
    night = spend(machine, say=told.append)
    said = [text for text in told if "pairs of each cell fit" in text]
    assert len(said) == 2
    assert told.index(said[0]) == 1  # after the first cell
    fit = int(said[1].split()[1])
    assert fit == pytest.approx(max(len(cell.differences["block_ms_median"]) for cell in night.cells.values()), abs=3)
    effects = [float(part.split("%")[0]) for part in said[1].split("find is ")[1].split(", ")]
    assert 1 < effects[0] < effects[1]


def test_minutes_that_were_asked_for_instead_show_something() -> None:
    with pytest.raises(PdebenchError, match=r"--max-minutes 0\.5 ends before a pair is measured") as refused:
        spend(Machine(), minutes=0.5)
    needed = float(str(refused.value).split("give it ")[1].split(",")[0])
    told: list[str] = []
    night = spend(Machine(slower={"PDE": 1.0}, noise=0.001), minutes=needed, say=told.append)
    assert any("the smallest slowdown that so many find is" in text for text in told)
    assert "regression" in [judgement.verdict for judgement in night.judgements]


def test_estimate_interval_and_time_left_are_said_while_it_runs() -> None:
    told: list[str] = []
    spend(Machine(slower={"PDE": 0.08}), say=told.append)
    lines = [text for text in told if text.startswith("PDE: ") and "cells not clear yet" in text]
    found = re.search(r"PDE: (\d+) pairs, block \+(\d+\.\d)% \(\+(\d+\.\d)% to \+(\d+\.\d)%\)", lines[-1])
    assert found is not None
    estimate, low, high = (float(found[place]) for place in (2, 3, 4))
    assert low < estimate < high
    assert low < 8 < high
    left = [float(re.findall(r"([\d.]+) minutes left", text)[0]) for text in lines]
    assert left == sorted(left, reverse=True)


def test_a_failing_cell_is_measured_no_more_and_the_others_are() -> None:
    machine = Machine(failing=(("head", "DiT"),))
    night = spend(machine, cells=("DiT", "PDE"))
    assert night.cells["DiT"].failure == ("head", "oom: the machine's memory ran out")
    assert machine.ran.count(("head", "DiT")) == 1
    assert [(test.cell, verdict.verdict) for test, verdict in zip(night.tests, night.judgements, strict=True)] == [
        ("PDE", "pass")
    ]


def test_cells_of_further_seeds_run_once() -> None:
    machine = Machine()
    spend(machine, cells=("DiT",), once=("DiT seed 1",))
    assert [side for side, cell in machine.ran if cell == "DiT seed 1"] == ["base", "head"]


def test_a_column_that_says_more_is_better_is_judged_the_right_way_round() -> None:
    machine = Machine(columns={"base": {"sample_images_per_s": 100.0}, "head": {"sample_images_per_s": 80.0}})
    night = spend(machine, cells=("DiT",))
    verdicts = {test.column: v.verdict for test, v in zip(night.tests, night.judgements, strict=True)}
    assert verdicts == {"sample_images_per_s": "regression", "block_ms_median": "pass"}


def test_memory_that_was_measured_in_another_way_is_not_compared() -> None:
    def columns(head: str | None) -> set[str]:
        kinds = {
            "base": {"peak_memory_bytes": 100, "peak_memory_kind": "VmHWM"},
            "head": {"peak_memory_bytes": 900, "peak_memory_kind": head},
        }
        machine = Machine(columns=kinds)
        return {test.column for test in spend(machine, cells=("DiT",)).tests}

    assert columns("VmHWM less RssFile") == {"block_ms_median"}
    assert columns("VmHWM") == columns(None) == {"block_ms_median", "peak_memory_bytes"}


def test_cells_are_called_by_what_tells_them_apart() -> None:
    dit, pde = keys("DiT") | {"data.resolution": 32}, keys("PDE-SSM-DiT") | {"data.resolution": 32, "model.states": 1}
    cells = {"0": dit, "1": pde, "2": pde | {"data.resolution": 64}, "3": dit | {"model.heads": None}}
    plan = make_plan(cells, cells | {"4": keys("None-DiT", seed=1)})
    assert list(plan.labels.values())[:3] == [
        "DiT-XXS/8, seed 0, resolution 32",
        "PDE-SSM-DiT-XXS/8, seed 0, resolution 32",
        "PDE-SSM-DiT-XXS/8, seed 0, resolution 64",
    ]
    assert plan.only_head == ["None-DiT-XXS/8, seed 1"]
